"""`autohas retrain`: one configuration trained with several seeds, each tested once. Seed 0 is the search's own final training."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_trainer.engine.checkpointing.origin import Begun
from autohas_trainer.engine.outcome import save_model, save_preprocessing
from autohas_trainer.engine.training.compute import apply_compute
from autohas_trainer.engine.training.final_scores import compute_test_scores
from autohas_trainer.engine.training.own_training import begin_training
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.errors import CandidateError, Interrupted
from autohas_trainer.events import StopRequest
from autohas_trainer.seeding import make_deterministic

__all__ = ["SeedScore", "SeedTrainer", "Spread", "spread_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedScore:
    """One seed: `test` and `selection` in the metric's unit, None when the training diverged."""

    seed: int
    test: float | None
    selection: float | None
    model_digest: str | None
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and sample standard deviation of the test scores; the deviation is None for one score."""

    num_scores: int
    mean: float
    standard_deviation: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedTrainer:
    """Trains the default configuration of a space with one seed at a time; weights go to `model-<seed>.safetensors` in `folder`.

    preprocessing.json next to them holds for every seed: the data are divided alike.
    """

    search: Search
    space: Space
    folder: Path
    device: str
    threads: int
    on_note: Callable[[str], None]
    """Takes a sentence for the user."""

    def train(self, seed: int, stop: StopRequest, on_step: Callable[[int, int], None], judge: Callable[[Begun], None]) -> SeedScore:
        """Train and test one seed; the data are read again, since the test split opens once per seed.

        `on_step` is given the number of steps done and that of all steps.
        `judge` is given the data and the environment before the first step, and raises where they are not what they must be.

        Raises:
            DataError, ConfigurationError: as for a search.
            Interrupted: `stop` was requested; this seed starts again the next time.
            OSError: the folder cannot be written.
        """
        make_deterministic(self.threads)
        search_task = SearchTask.load(self.search.spec, self.space, torch.device(self.device), is_search=False)
        torch.set_num_threads(search_task.useful_threads(self.threads))
        apply_compute(search_task.spec, search_task.device)
        judge(Begun.here(search_task, threads=torch.get_num_threads()))
        training = begin_training(search_task, self.space.default, seed)
        while not training.is_finished and not training.is_diverged:
            training.step()
            on_step(training.num_steps_done, training.recipe.steps)
            if stop.is_requested:
                raise Interrupted(f"stopped on request at step {training.num_steps_done} of seed {seed}; finished seeds are kept")
        if training.compile_fault is not None:
            self.on_note(f"seed {seed} is trained without compilation: {training.compile_fault}")
        selection = training.compare().metric  # may find that the finished weights give no finite loss
        test = compute_test_scores(search_task, {"model": training}, on_batch=lambda: None, on_failure=_end).get("model")
        if training.is_diverged or test is None:
            return SeedScore(seed=seed, test=None, selection=None, model_digest=None, steps=training.num_steps_done)
        save_preprocessing(search_task, self.folder)
        return SeedScore(
            seed=seed,
            test=test,
            selection=selection,
            model_digest=save_model(training, self.folder / f"model-{seed}.safetensors"),
            steps=training.num_steps_done,
        )


def _end(name: str, error: CandidateError) -> None:  # noqa: ARG001 - the callback's form
    """There is one configuration here: what it raises is the end."""
    raise error


def spread_of(scores: Sequence[SeedScore]) -> Spread | None:
    """Mean and deviation over the seeds that did not diverge; None when all did."""
    values = [score.test for score in scores if score.test is not None]
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(num_scores=len(values), mean=statistics.fmean(values), standard_deviation=deviation)
