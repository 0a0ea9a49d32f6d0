"""A folder for the Hugging Face hub: the files that `autohas.load` reads, with a config.json and a model card."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, Final

from autohas_api.base import yaml_file
from autohas_api.base.objective_metrics import metric_text
from autohas_trainer.atomic_file import replace_file, write_atomically
from autohas_trainer.data.preprocessing import PREPROCESSING_FILE
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.inference.folder import CONFIG_FILE, MODEL_FILE
from autohas_trainer.inference.trained_model import TrainedModel
from autohas_trainer.reporting.sinks.result_files import RESULT_FILE, FinishedSearch, read_result

__all__ = ["write_hub_folder"]

SEARCH_FILE: Final = "search.yaml"
_CARD: Final = """---
{metadata}
---

# {name}

Found by AutoHAS {version} at the cost of {trainings:.4g} trainings: {parameters:,} parameters,
{data}.

| Configuration | Test {metric} |
|---|---|
{scores}
{seeds}
## Use

```python
import autohas

model = autohas.load("path/of/this/folder")
answers = model.predict(examples)
```

`pip install 'autohas[trainer]'` installs what this needs.

## Configuration

| Decision | Choice |
|---|---|
{decisions}

## Repeat

```
autohas run {search_file}
autohas retrain {config_file} --seeds 5
```

The first command repeats the search, the second trains this configuration with five seeds. Both read the data from the path in the file.
"""
_KINDS: Final = {"table": "tabular", "images": "image", "pixels": "image"}


def write_hub_folder(model: TrainedModel, folder: Path, target: Path) -> list[Path]:
    """Write README.md (the model card), config.json, the search and copies of the model's files into `target`, empty or absent.

    Raises:
        ConfigurationError: `target` is not empty.
        DataError: `folder` has no result.json, from which the scores are.
        OSError: `target` cannot be written.
    """
    finished = read_result(folder)
    if finished is None:
        message = f"{folder} has no {RESULT_FILE}, from which a model card takes the scores; give the folder of a finished search"
        raise DataError(message)
    if target.is_dir() and next(target.iterdir(), None) is not None:
        message = f"{target} is not empty; choose another folder with --hf DIR"
        raise ConfigurationError(message)
    target.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, PREPROCESSING_FILE, MODEL_FILE):
        with replace_file(target / name) as temporary:
            shutil.copyfile(folder / name, temporary)
    texts = {
        SEARCH_FILE: yaml_file.dump(finished.search.to_json()),
        "config.json": json.dumps(_config(model, finished), indent=2, ensure_ascii=False) + "\n",
        "README.md": _card(model, finished),
    }
    for name, text in texts.items():
        write_atomically(target / name, text.encode())
    return [target / name for name in (CONFIG_FILE, PREPROCESSING_FILE, MODEL_FILE, *texts)]


def _config(model: TrainedModel, finished: FinishedSearch) -> dict[str, Any]:
    """Return what tools of the hub read of a model."""
    chosen = finished.search.spec.task.model
    return {
        "model_type": "autohas",
        "architectures": [chosen.template or chosen.entrypoint],
        "autohas_version": importlib.metadata.version("autohas"),
        "input_shape": list(model.input_shape),
        "torch_dtype": "float32",
        **({"id2label": dict(enumerate(model.classes)), "label2id": {c: i for i, c in enumerate(model.classes)}} if model.classes else {}),
        "configuration": dict(finished.outcome.configuration),
        "recipe": dict(finished.outcome.recipe),
    }


def _card(model: TrainedModel, finished: FinishedSearch) -> str:
    """Return the model card."""
    result = finished.outcome.result
    return _CARD.format(
        metadata=yaml_file.dump(_metadata(model, finished)).strip(),
        name=finished.search.metadata.name,
        version=finished.environment.autohas,
        trainings=result.trainings,
        parameters=result.parameters,
        data=_data_text(finished),
        metric=finished.search.spec.objective.metric_name,
        scores="\n".join(_score_rows(finished)),
        seeds=_seeds_text(finished),
        decisions="\n".join(f"| {decision} | {value} |" for decision, value in finished.outcome.configuration.items()),
        search_file=SEARCH_FILE,
        config_file=CONFIG_FILE,
    )


def _score_rows(finished: FinishedSearch) -> Iterator[str]:
    """Yield a row of the card's table for each configuration that was tested."""
    metric, result = finished.search.spec.objective.metric_name, finished.outcome.result
    yield f"| this model | {metric_text(metric, result.test_score)} |"
    if result.default_test_score is not None:
        yield f"| default configuration | {metric_text(metric, result.default_test_score)} |"


def _seeds_text(finished: FinishedSearch) -> str:
    """Return a paragraph about the test scores of several seeds; empty for one."""
    metric, result = finished.search.spec.objective.metric_name, finished.outcome.result
    if result.test_mean is None or result.test_standard_deviation is None:
        return ""
    mean, deviation = metric_text(metric, result.test_mean), metric_text(metric, result.test_standard_deviation)
    return f"\nOver {result.seeds} seeds: mean {mean}, standard deviation {deviation}.\n"


def _data_text(finished: FinishedSearch) -> str:
    """Return what the model was trained on, without the folders of a machine."""
    data = finished.search.spec.task.data
    name = data.label if data.path is None else f"{data.label} {PurePath(data.path).name}"
    return f"trained on {finished.num_train:,} examples of {name}" if finished.num_train else f"trained on {name}"


def _metadata(model: TrainedModel, finished: FinishedSearch) -> Mapping[str, Any]:
    """Return the head of the card: the hub shows task and score from it."""
    kind = _KINDS.get(str(model.preprocessing["data"].get("kind")))
    task = f"{kind}-{'classification' if model.classes else 'regression'}" if kind is not None else None
    metric, data = finished.search.spec.objective.metric_name, finished.search.spec.task.data
    name = data.label if data.path is None else PurePath(data.path).name
    score = {"type": metric, "value": finished.outcome.result.test_score, "name": f"test {metric}"}
    results = {
        **({"task": {"type": task}} if task is not None else {}),
        "dataset": {"type": data.label, "name": name, "split": "test"},
        "metrics": [score],
    }
    return {
        "library_name": "autohas",
        **({"pipeline_tag": task} if task is not None else {}),
        "tags": ["autohas", "hyperparameter-search", "neural-architecture-search"],
        "metrics": [metric],
        "model-index": [{"name": finished.search.metadata.name, "results": [results]}],
    }
