"""The peers: one training per trial, by Optuna, on the same space, data, schedule and objective.

Each gets the default configuration as trial 0 and CPU seconds instead of a number of trials. Rungs are those of AutoHAS (1/9, 1/3, 1
of a training) and rank by the same number; a training continues from where it was compared. The best finished trial is tested.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import optuna
from benchmarks.quality.methods import Measurement, measure_training, problem_of
from benchmarks.quality.tasks import Task

from autohas_api.space.decisions import Configuration, Space
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training

__all__ = ["PEERS", "peer"]

_RUNGS = (1, 3, 9)
"""Ninths of a training: Optuna's resource."""
_STARTUP_TRIALS = 5
"""Trials that TPE draws at random first; its own default of 10 would be most of the budget."""

PEERS: dict[str, Callable[[int], tuple[optuna.samplers.BaseSampler, optuna.pruners.BasePruner]]] = {
    "random search": lambda seed: (optuna.samplers.RandomSampler(seed=seed), optuna.pruners.NopPruner()),
    "random + successive halving": lambda seed: (optuna.samplers.RandomSampler(seed=seed), _halving()),
    "TPE + successive halving": lambda seed: (
        optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS, multivariate=True),
        _halving(),
    ),
}


def _halving() -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)


def peer(task: Task, method: str, seed: int, cpu_budget_s: float) -> Measurement:
    """Trials until the seconds are used up (at least one is finished); the best on the selection split is tested."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler, pruner = PEERS[method](seed)
    search_task, begun = problem_of(task, seed, task.steps)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.enqueue_trial(search_task.space.as_mapping(search_task.space.default))
    best: tuple[float, int, Training] | None = None
    steps = number = 0

    def is_over() -> bool:
        return best is not None and time.process_time() - begun >= cpu_budget_s

    while not is_over():
        trial = study.ask()
        training = Training(search_task, _suggest(trial, search_task.space))
        score = _train(search_task, training, trial, is_over)
        steps += training.num_steps_done
        if score is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, score)
            if best is None or score > best[0]:
                best = (score, number, training)
        number += 1
    assert best is not None  # noqa: S101 - the loop ends with one
    winner = f"trial {best[1]} of {number}"
    return measure_training(search_task, best[2], method, begun=begun, winner=winner, trainings=steps / task.steps)


def _suggest(trial: optuna.Trial, space: Space) -> Configuration:
    values: dict[str, str] = {}
    for decision in space.decisions:
        is_free = decision.is_searched and space.is_active(decision, values)
        values[decision.name] = trial.suggest_categorical(decision.name, decision.choices) if is_free else decision.default
    return space.configuration(values)


def _train(search_task: SearchTask, training: Training, trial: optuna.Trial, is_over: Callable[[], bool]) -> float | None:
    """The finished training's score on the selection split; None when it was pruned, diverged or time ran out."""
    for rung, resource in enumerate(_RUNGS):
        while training.num_steps_done < training.rung(rung):
            training.step()
            if training.is_diverged or is_over():
                return None
        comparison = training.compare()
        if resource == _RUNGS[-1]:
            return None if training.is_diverged else comparison.score
        trial.report(comparison.key, resource)
        if trial.should_prune():
            return None
    raise RuntimeError(f"{search_task.spec.training.steps} steps ended before the last rung")
