"""The test split, read once: the metric of finished trainings on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import CandidateError, DeviceError

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
    targets: list[Tensor] = []
    outputs: dict[str, list[Tensor]] = {name: [] for name in finished}
    for batch in search_task.splits.test():
        targets.append(batch.targets_B)
        for name, training in list(finished.items()):
            try:
                outputs[name].append(training.outputs(batch))
            except DeviceError:
                raise
            except CandidateError as error:
                del finished[name], outputs[name]
                on_failure(name, error)
            on_batch()
    targets_N = torch.cat(targets)
    joined = {name: torch.cat(parts) for name, parts in outputs.items()}
    return {name: search_task.task.measure(out_NK, targets_N).value for name, out_NK in joined.items() if bool(out_NK.isfinite().all())}
