"""The test split, read once: the metric of finished trainings on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autohas_trainer.data import TestBatch
from autohas_trainer.engine.training.own_training import OwnTraining
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import CandidateError, ConfigurationError, DeviceError
from autohas_trainer.tasks import Statistics, Task
from autohas_trainer.templates import OwnNetworks

__all__ = ["compute_test_scores"]


def compute_test_scores(
    search_task: SearchTask,
    trainings: Mapping[str, Training],
    on_batch: Callable[[], None],
    on_failure: Callable[[str, CandidateError], None],
) -> dict[str, float]:
    """The metric of every finished training, by name; all of them see the same pass over the split.

    Those that diverged are left out, and so are those whose outputs are not finite here although they are on the selection split: the
    test inputs lie where no training example does. `on_batch` is called after every batch of each, `on_failure` for one that raises.

    Raises:
        DeviceError: the device failed; nothing more can be tested in this process.
    """
    finished = {name: training for name, training in trainings.items() if training.is_finished and not training.is_diverged}
    if isinstance(search_task.template, OwnNetworks):
        return _measure_own(search_task, finished, on_batch, on_failure)
    task = search_task.task
    statistics: dict[str, list[Statistics]] = {name: [] for name in finished}
    for batch in search_task.splits.test(search_task.evaluation_chunk):
        for name, training in list(finished.items()):
            part = None
            try:
                part = _measure_batch(task, training, batch)
            except DeviceError:
                raise
            except CandidateError as error:
                on_failure(name, error)
            if part is None:
                del finished[name], statistics[name]
            else:
                statistics[name].append(part)
            on_batch()
    return _summarise(task, statistics, on_failure)


def _measure_batch(task: Task, training: Training, batch: TestBatch) -> Statistics | None:
    """Return the statistics of a batch; None: some output is not finite.

    Raises:
        CandidateError: The training or its metric raises.
        DeviceError: As `compute_test_scores`.
    """
    outputs_BK = training.outputs(batch)
    if not bool(outputs_BK.isfinite().all()):
        return None
    try:
        return task.statistics(outputs_BK, batch.targets_B)
    except ConfigurationError as error:
        message = f"the test: {error}"
        raise CandidateError(message) from error


def _measure_own(
    search_task: SearchTask,
    trainings: Mapping[str, Training],
    on_batch: Callable[[], None],
    on_failure: Callable[[str, CandidateError], None],
) -> dict[str, float]:
    """The metric of each own training by its own `evaluate`; each passes over the split by itself."""
    begin_pass, scores = search_task.splits.test_passes(search_task.evaluation_chunk), {}
    for name, training in trainings.items():
        assert isinstance(training, OwnTraining)  # noqa: S101 - `begin_training` makes no others
        try:
            scores[name] = training.test_metric(begin_pass(), on_batch)
        except DeviceError:
            raise
        except CandidateError as error:
            on_failure(name, error)
    return scores


def _summarise(
    task: Task, statistics: Mapping[str, list[Statistics]], on_failure: Callable[[str, CandidateError], None]
) -> dict[str, float]:
    """The metric of each training; a custom metric may refuse what one of them answers."""
    scores = {}
    for name, parts in statistics.items():
        try:
            scores[name] = task.summarise(parts).value
        except ConfigurationError as error:
            on_failure(name, CandidateError(f"the test: {error}"))
    return scores
