"""The test split, read once: the metric of finished trainings on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import CandidateError, DeviceError
from autohas_trainer.tasks import Statistics

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
    task = search_task.task
    statistics: dict[str, list[Statistics]] = {name: [] for name in finished}
    for batch in search_task.splits.test(search_task.evaluation_chunk):
        for name, training in list(finished.items()):
            try:
                outputs_BK = training.outputs(batch)
            except DeviceError:
                raise
            except CandidateError as error:
                del finished[name], statistics[name]
                on_failure(name, error)
            else:
                statistics[name].append(task.statistics(outputs_BK, batch.targets_B))
                if not bool(outputs_BK.isfinite().all()):
                    del finished[name], statistics[name]
            on_batch()
    return {name: task.summarise(parts).value for name, parts in statistics.items()}
