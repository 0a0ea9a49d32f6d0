"""Volumes that the schema accepts and that Kubernetes would refuse in the Job, or whose files would hide each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from autohas_api.base.quantities import amount
from autohas_api.base.spec_errors import FieldError
from autohas_api.spec.trainer import Trainer
from autohas_api.spec.volume_sources import DownwardFiles, EphemeralSource, ProjectedObject, ProjectedSource

__all__ = ["find_volume_errors", "unmounted_volumes"]


def unmounted_volumes(trainer: Trainer) -> str | None:
    """A warning about volumes that no container of the search mounts; None without any.

    No error: a container that a webhook adds to the pod, such as the proxy of a service mesh, may mount them.
    """
    mounts = [
        *(trainer.volume_mounts or []),
        *(mount for container in trainer.init_containers or [] for mount in container.volume_mounts or []),
    ]
    mounted = {mount.name for mount in mounts}
    names = [volume.name for volume in trainer.volumes or [] if volume.name not in mounted]
    if not names:
        return None
    one, them = ("the volume", "it") if len(names) == 1 else ("the volumes", "them")
    return (
        f"no container mounts {one} {', '.join(names)} of spec.trainer.volumes: add {them} to spec.trainer.volumeMounts, or remove {them}"
    )


def find_volume_errors(trainer: Trainer) -> Iterator[FieldError]:
    """Errors of volumes, with a JSON path each."""
    for index, volume in enumerate(trainer.volumes or []):
        path = f"spec.trainer.volumes[{index}]"
        if volume.ephemeral is not None:
            yield from _find_empty_claim(volume.ephemeral, f"{path}.ephemeral")
        if volume.projected is not None:
            yield from _find_hidden_files(volume.projected, f"{path}.projected")


def _find_empty_claim(source: EphemeralSource, path: str) -> Iterator[FieldError]:
    """A claim of no size."""
    size = source.volume_claim_template.spec.resources.requests.storage
    if amount(size) == 0:
        place = f"{path}.volumeClaimTemplate.spec.resources.requests.storage"
        yield FieldError(path=place, message=f'Invalid value: "{size}": must be greater than 0')


def _find_hidden_files(source: ProjectedSource, path: str) -> Iterator[FieldError]:
    """Two files at one path, of which Kubernetes refuses the second; keys without `items` are known only to the node."""
    taken: dict[str, str] = {}
    for name, place in _list_files(source, path):
        if name in taken:
            yield FieldError(path=place, message=f'Invalid value: "{name}": must differ from {taken[name]}: a file can be there only once')
        taken.setdefault(name, place)


def _list_files(source: ProjectedSource, path: str) -> Iterator[tuple[str, str]]:
    """Path of each file that the source names, and where it is written."""
    for index, part in enumerate(source.sources):
        kinds: tuple[tuple[str, ProjectedObject | DownwardFiles | None], ...] = (
            ("configMap", part.config_map),
            ("secret", part.secret),
            ("downwardAPI", part.downward_api),
        )
        for kind, projected in kinds:
            paths = [item.path for item in projected.items or []] if projected is not None else []
            for position, name in enumerate(paths):
                yield name, f"{path}.sources[{index}].{kind}.items[{position}].path"
