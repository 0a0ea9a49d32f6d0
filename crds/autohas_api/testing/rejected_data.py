"""Wrong fields of `spec.task.data` about images, their augmentation and the roles of columns: rows of the tables in `rejections`."""

from __future__ import annotations

from typing import Any, Final

from autohas_api.testing.builders import Rejection, a_search

__all__ = ["DATA_REJECTED_BY_RULE", "DATA_REJECTED_BY_SCHEMA", "DATA_UNACCEPTABLE"]

_DATA: Final = "spec.task.data"
_CSV: Final = {"name": "csv", "path": "/data"}
_FOLDER: Final = {"name": "image-folder", "path": "/data"}


def _augmented(**augmentation: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Images with an augmentation."""
    return {**_FOLDER, "arguments": {"size": "32"}, "augmentation": augmentation}


DATA_REJECTED_BY_SCHEMA: Final = (
    Rejection(path=_DATA, value={**_FOLDER, "loading": "Lazy"}, field=f"{_DATA}.loading", words='"Resident", "Files"'),
    Rejection(path=_DATA, value={**_FOLDER, "trainTransform": "a.b"}, field=f"{_DATA}.trainTransform", words="should match"),
    Rejection(path=_DATA, value={**_FOLDER, "workers": 65}, field=f"{_DATA}.workers", words="less than or equal to 64"),
    Rejection(path=_DATA, value={**_FOLDER, "workers": -1}, field=f"{_DATA}.workers", words="greater than or equal to 0"),
    Rejection(
        path=_DATA,
        value=_augmented(randAugment={"magnitude": 31}),
        field=f"{_DATA}.augmentation.randAugment.magnitude",
        words="less than or equal to 30",
    ),
)

DATA_REJECTED_BY_RULE: Final = (
    *(
        Rejection(
            path=_DATA,
            value={"name": "digits", name: value},
            field=f"{_DATA}.{name}",
            words=f"{name} must not be given unless name is {data}",
        )
        for name, value, data in (
            ("loading", "Files", "image-folder or image-parquet"),
            ("workers", 2, "image-folder, image-parquet or idx"),
            ("augmentation", {}, "image-folder, image-parquet or idx"),
            ("trainTransform", "a.b:c", "image-folder, image-parquet or idx"),
        )
    ),
    Rejection(
        path=_DATA,
        value={"name": "image-parquet", "path": "/data"},
        field=f"{_DATA}.arguments",
        words="arguments.target must name the column to learn",
    ),
    Rejection(
        path=_DATA,
        value=_augmented(horizontalFlip="1.5"),
        field=f"{_DATA}.augmentation.horizontalFlip",
        words="horizontalFlip must be between 0 and 1",
    ),
    Rejection(
        path=_DATA,
        value=_augmented(cutMix="0"),
        field=f"{_DATA}.augmentation.cutMix",
        words="cutMix must be greater than 0 and at most 100",
    ),
    Rejection(
        path=_DATA,
        value=_augmented(randomResizedCrop={"minScale": "0"}),
        field=f"{_DATA}.augmentation.randomResizedCrop.minScale",
        words="minScale must be greater than 0 and at most 1",
    ),
)

DATA_UNACCEPTABLE: Final = (
    Rejection(
        path=_DATA,
        value={**_FOLDER, "arguments": {"size": "32", "fit": "pad"}},
        field=f"{_DATA}.arguments.fit",
        words="must be one of stretch, crop",
    ),
    Rejection(
        path=_DATA, value={**_FOLDER, "arguments": {"fit": "crop"}}, field=f"{_DATA}.arguments.fit", words="crop has no effect without size"
    ),
    Rejection(
        path=_DATA,
        value={**_FOLDER, "augmentation": {"randomResizedCrop": {}}},
        field=f"{_DATA}.augmentation.randomResizedCrop",
        words="needs arguments.size, the size of the crops",
    ),
    Rejection(
        path=_DATA,
        value={"name": "image-parquet", "path": "/data", "arguments": {"target": "y", "image": "y"}},
        field=f"{_DATA}.arguments.image",
        words='"y" is the target: name another column',
    ),
    Rejection(
        path=_DATA,
        value={"name": "image-parquet", "path": "/data", "arguments": {"target": "y"}, "augmentation": {"randomResizedCrop": {}}},
        field=f"{_DATA}.augmentation.randomResizedCrop",
        words="needs arguments.size, the size of the crops",
    ),
    *(
        Rejection(path=_DATA, value={**_CSV, "arguments": {"target": "y", name: value}}, field=f"{_DATA}.arguments.{name}", words=words)
        for name, value, words in (
            ("group", " ", "name of a column"),
            ("order", "", "name of a column"),
            ("group", "y", '"y" is the target: name another column'),
            ("order", "y", '"y" is the target: name another column'),
        )
    ),
    Rejection(
        path=_DATA,
        value={**_CSV, "arguments": {"target": "y", "group": "who", "order": "when"}},
        field=f"{_DATA}.arguments.group",
        words="must not be given together with order, which divides rows by time",
    ),
    Rejection(
        path="spec",
        value={
            **a_search()["spec"],
            "task": {"data": {**_FOLDER, "workers": 3}, "model": {"template": "mlp-small"}},
            "trainer": {"resources": {"limits": {"cpu": "2500m"}}},
        },
        field=f"{_DATA}.workers",
        words="3 must be at most the CPU limit of the trainer, which is 2500m: lower workers, or raise the limit",
    ),
)
