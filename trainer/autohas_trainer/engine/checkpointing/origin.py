"""What a search was begun with, held against what the process that continues it has.

Ours: other data end the resume, since candidates of one comparison would be scored on different examples. Another version or processor
does not: it changes the last digits only, and who resumes a search of days on another node wants its result; a notice says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autohas_trainer.engine.checkpointing.checkpoint import Checkpoint
from autohas_trainer.engine.training.compute import describe_compute
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.errors import DataError
from autohas_trainer.provenance import DataIdentity, Environment, digest_file

__all__ = ["Begun", "Origin", "environment_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Data and environment of the first process of a search."""

    data: DataIdentity
    environment: Environment
    pretrained: str = ""
    """Digest of the file of task.model.pretrained; empty without one, and where it was not recorded."""

    @classmethod
    def here(cls, search_task: SearchTask, *, threads: int) -> Begun:
        """What this process has."""
        field = search_task.spec.task.model.pretrained
        return cls(
            data=search_task.splits.identity,
            environment=environment_of(search_task, threads),
            pretrained="" if field is None else digest_file(Path(field.path).expanduser()),
        )

    def require_pretrained(self, here: Begun, path: str) -> None:
        """Refuse another file of pretrained weights than the one that `self` was begun with.

        Raises:
            DataError: `here` has another one at `path`.
        """
        if self.pretrained and here.pretrained != self.pretrained:
            message = (
                f"task.model.pretrained.path {path}: the file is not the one that this search began with (its digest was"
                f" {self.pretrained}, it is {here.pretrained}): restore the file and resume, or start in a new folder"
            )
            raise DataError(message)

    def to_json(self) -> dict[str, Any]:
        """JSON form, for the manifest of a checkpoint."""
        pretrained = {"pretrained": self.pretrained} if self.pretrained else {}
        return {"data": self.data.to_json(), "environment": asdict(self.environment), **pretrained}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Begun:
        """Read `to_json`."""
        data, environment = DataIdentity.from_json(record["data"]), Environment(**record["environment"])
        return cls(data=data, environment=environment, pretrained=record.get("pretrained", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the search was begun with, and the environment of this process."""

    begun: Begun
    environment: Environment

    @classmethod
    def of(cls, search_task: SearchTask, checkpoint: Checkpoint | None, *, threads: int) -> Origin:
        """Take this process's as the beginning, or compare it with that of a checkpoint.

        Raises:
            DataError: the data, or the pretrained weights, are not those that the search began with.
        """
        here = Begun.here(search_task, threads=threads)
        environment = here.environment
        if checkpoint is None:
            return cls(begun=here, environment=environment)
        begun = Begun.from_json(checkpoint.origin)
        if difference := here.data.difference(begun.data):
            message = (
                f"{search_task.splits.name}: the data are not those that this search began with ({difference});"
                " restore the files of task.data and resume, or start in a new folder"
            )
            raise DataError(message)
        if (field := search_task.spec.task.model.pretrained) is not None:
            begun.require_pretrained(here, field.path)
        return cls(begun=begun, environment=environment)

    def differences(self) -> list[str]:
        """Sentences about the environment; none where the search began here or in an equal one."""
        return self.environment.differences(self.begun.environment)


def environment_of(search_task: SearchTask, threads: int) -> Environment:
    """This process, with the code that the search's entrypoints name."""
    task = search_task.spec.task
    metric = search_task.spec.objective.custom_metric
    named = (
        task.data.entrypoint,
        task.data.train_transform,
        task.model.entrypoint,
        None if task.training is None else task.training.entrypoint,
        None if metric is None else metric.entrypoint,
    )
    entrypoints = [entrypoint for entrypoint in named if entrypoint is not None]
    return Environment.here(
        device=search_task.device.type, threads=threads, entrypoints=entrypoints, compute=describe_compute(search_task.spec)
    )
