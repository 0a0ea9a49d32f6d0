"""Wrong `spec.task` and `spec.objective`: rows of the tables in `autohas_api.testing.rejections`."""

from __future__ import annotations

from typing import Any, Final

from autohas_api.testing.builders import Rejection, a_search, own_training_search, with_change

__all__ = ["TASK_REJECTED_BY_RULE", "TASK_REJECTED_BY_SCHEMA", "TASK_UNACCEPTABLE"]

_DECISIONS: Final = "spec.searchSpace.architecture.decisions"
_CSV: Final = {"name": "csv", "path": "/data", "arguments": {"target": "y"}}
_WHOLE_BATCH: Final = "must not be given with training, whose code computes the loss of the whole batch"
_CUT_IMAGES: Final = {"name": "idx", "path": "/data", "augmentation": {"cutMix": "1"}}
_MIXUP: Final = {"name": "mixup", "continuous": {"min": "0", "max": "1"}}
_LANES: Final = {"name": "AutoHAS", "autoHAS": {"strategy": "Lanes"}}
_TEXT: Final = {"name": "text", "path": "/data", "arguments": {"length": "8"}}
_REGRESSION_WITH_CLASS_WEIGHTS: Final = {
    "task": {"data": _CSV, "model": {"template": "mlp-small"}, "recipe": {"classWeights": "Balanced"}},
    "objective": {"metric": "rmse"},
    "searchSpace": {"architecture": {}},
    "training": {"steps": 27},
}


def _regression_with_goal(metric: str) -> dict[str, Any]:
    """A spec whose goal no error can reach."""
    return {
        **_REGRESSION_WITH_CLASS_WEIGHTS,
        "task": {"data": _CSV, "model": {"template": "mlp-small"}},
        "objective": {"metric": metric, "goal": "-0.1"},
    }


_METRIC: Final = {"entrypoint": "a.b:cost", "direction": "Minimize"}
_OWN: Final = {"entrypoint": "a.b:C"}
_WIDTH: Final = {"name": "width", "choices": ["8", "16"], "default": "8"}


def _custom_model(decisions: object) -> dict[str, Any]:
    """A spec with an entrypoint's model and these decisions."""
    return {**a_search()["spec"], "task": {"data": {"name": "digits"}, "model": {"entrypoint": "a.b:C"}}} | {
        "searchSpace": {"architecture": {"decisions": decisions}}
    }


TASK_REJECTED_BY_SCHEMA: Final = (
    Rejection(path="spec.task.data.name", value="tables", field="spec.task.data.name", words='"digits", "idx", "csv", "parquet"'),
    Rejection(
        path="spec.task.model.template", value="vgg", field="spec.task.model.template", words='"mlp", "mlp-small", "conv-small", "resnet"'
    ),
    Rejection(path="spec.task.model", value={"entrypoint": "a.b"}, field="spec.task.model.entrypoint", words="should match"),
    Rejection(path="spec.task.data", value={"entrypoint": "a b:C"}, field="spec.task.data.entrypoint", words="should match"),
    Rejection(path="spec.objective.metric", value="bleu", field="spec.objective.metric", words='"accuracy", "f1", "auc", "top5"'),
    Rejection(path="spec.objective.direction", value="minimize", field="spec.objective.direction", words='"Maximize", "Minimize"'),
    *(
        Rejection(
            path="spec.task.recipe.weightByClass", value={"3": weight}, field="spec.task.recipe.weightByClass.3", words="should match"
        )
        for weight in ("0", "0.0", "-1", "two", "1e3")
    ),
    Rejection(path="spec.task.recipe.classWeights", value="on", field="spec.task.recipe.classWeights", words='"Uniform", "Balanced"'),
)

TASK_REJECTED_BY_RULE: Final = (
    Rejection(
        path="spec",
        value={
            **_REGRESSION_WITH_CLASS_WEIGHTS,
            "task": {"data": _CSV, "model": {"template": "mlp-small"}, "recipe": {"labelSmoothing": "0.1"}},
        },
        field="spec.task.recipe.labelSmoothing",
        words="labels can be smoothed only where there are classes",
    ),
    Rejection(path="spec.task.data", value={"name": "idx"}, field="spec.task.data.path", words="path must be given unless name is digits"),
    Rejection(path="spec.task.data.path", value="/data", field="spec.task.data.path", words="must not be given when name is digits"),
    Rejection(
        path="spec.task.data",
        value={"name": "csv", "path": "/data"},
        field="spec.task.data.arguments",
        words="arguments.target must name the column",
    ),
    Rejection(
        path="spec.task",
        value={"data": {"name": "csv", "path": "/data", "arguments": {"target": "y"}}, "model": {"template": "conv-small"}},
        field="spec.task.model.template",
        words="cannot take: use mlp or mlp-small",
    ),
    Rejection(
        path="spec.objective.metric",
        value="rmse",
        field="spec.objective.metric",
        words="which of the built-in data only csv and parquet have",
    ),
    Rejection(
        path="spec.objective.customMetric", value={**_METRIC, "name": "bleu"}, field="spec.objective.customMetric", words="exactly one of"
    ),
    Rejection(
        path="spec.objective",
        value={"metric": "f1", "customMetric": _METRIC},
        field="spec.objective.metric",
        words="metric must not be given together with customMetric",
    ),
    Rejection(
        path="spec.objective",
        value={"direction": "Maximize", "customMetric": _METRIC},
        field="spec.objective.direction",
        words="direction must not be given together with customMetric",
    ),
    Rejection(
        path="spec.objective",
        value={"customMetric": _METRIC, "cost": {"target": "100", "form": "Soft"}},
        field="spec.objective.cost.form",
        words="form must be Absolute with customMetric",
    ),
    Rejection(
        path="spec.objective.customMetric",
        value={**_METRIC, "entrypoint": "a.b:accuracy"},
        field="spec.objective.customMetric.entrypoint",
        words="must not have the name of a built-in metric",
    ),
    Rejection(
        path="spec.objective.customMetric",
        value={**_METRIC, "targets": "Numbers"},
        field="spec.objective.metric",
        words="which of the built-in data only csv and parquet have",
    ),
    Rejection(
        path="spec.objective.customMetric",
        value={"name": "f1", "direction": "Maximize"},
        field="spec.objective.customMetric.name",
        words="must not have the name of a built-in metric",
    ),
    Rejection(
        path="spec.objective.customMetric",
        value={"name": "bleu", "direction": "Maximize"},
        field="spec.objective.customMetric",
        words="with task.training, whose evaluate measures, customMetric must have a name; without it, an entrypoint",
    ),
    Rejection(path="spec.task.training", value=_OWN, field="spec.task", words="exactly one of model and training"),
    *(
        Rejection(path="spec", value=with_change(own_training_search(), path, value)["spec"], field=field, words=words)
        for path, value, field, words in (
            ("spec.task.recipe", {"accumulate": 2}, "spec.task.training", _WHOLE_BATCH),
            ("spec.task.recipe", {"classWeights": "Balanced"}, "spec.task.training", _WHOLE_BATCH),
            ("spec.task.recipe", {"weightByClass": {"0": "2"}}, "spec.task.training", _WHOLE_BATCH),
            ("spec.task.data", _CUT_IMAGES, "spec.task.training", _WHOLE_BATCH),
            ("spec.algorithm", {"name": "RandomSharing"}, "spec.algorithm", "has no shared weights for a supernet: use algorithm AutoHAS"),
            ("spec.searchSpace.architecture", {}, "spec.searchSpace.architecture", "search its choices as hyperparameters"),
            (
                "spec.trainer",
                {"determinism": "Relaxed", "compute": {"compile": "Default"}},
                "spec.trainer.compute",
                "compile and channelsLast must not be set with task.training",
            ),
            ("spec.trainer.compute", {"channelsLast": True}, "spec.trainer.compute", "compile and channelsLast must not be set"),
        )
    ),
    *(
        Rejection(
            path="spec",
            value={**a_search()["spec"], **change, "task": {"data": data, "model": {"template": "transformer"}, "recipe": recipe}},
            field="spec.task.recipe.mixup",
            words="mixup must not be set or searched when task.data.name is text or tokens",
        )
        for data, recipe, change in (
            (_TEXT, {"mixup": "0.2"}, {}),
            ({**_TEXT, "name": "tokens", "arguments": {"length": "8", "vocabulary": "256"}}, {"mixup": "0.2"}, {}),
            (_TEXT, {}, {"searchSpace": {"hyperparameters": [_MIXUP]}, "algorithm": _LANES}),
        )
    ),
    Rejection(path="spec.objective.metric", value="bpb", field="spec.objective.metric", words="bpb is measured per byte of text"),
    Rejection(
        path="spec.task.data",
        value={"name": "tokens", "path": "/data", "arguments": {"length": "8"}},
        field="spec.task.data.arguments",
        words="arguments.vocabulary must be the number of different tokens when name is tokens",
    ),
    Rejection(
        path="spec",
        value={**a_search()["spec"], "objective": {"metric": "bpb"}, "task": {"data": _TEXT, "model": {"template": "mlp"}}},
        field="spec.task.model.template",
        words="text and tokens give tokens, which template",
    ),
    Rejection(
        path="spec",
        value={**a_search()["spec"], "objective": {"metric": "f1"}, "task": {"data": _TEXT, "model": {"entrypoint": "a.b:C"}}},
        field="spec.objective.metric",
        words="the next token is judged by accuracy, top5, log_loss, perplexity or bpb",
    ),
    Rejection(
        path="spec",
        value={**a_search()["spec"], "task": {"data": {**_TEXT, "arguments": {}}, "model": {"entrypoint": "a.b:C"}}},
        field="spec.task.data.arguments",
        words="arguments.length must be the number of tokens of an example",
    ),
    Rejection(path="spec.task.data", value={}, field="spec.task.data", words="exactly one of name and entrypoint"),
    Rejection(path="spec.task.data.entrypoint", value="a.b:C", field="spec.task.data", words="exactly one of name and entrypoint"),
    Rejection(path="spec.task.model", value={}, field="spec.task.model", words="exactly one of template and entrypoint"),
    Rejection(path="spec.task.model.entrypoint", value="a.b:C", field="spec.task.model", words="exactly one of template and entrypoint"),
    Rejection(
        path="spec",
        value={
            **a_search()["spec"],
            "task": {"data": {"entrypoint": "a.b:C"}, "model": {"template": "mlp-small"}},
            "searchSpace": {"hyperparameters": [{"name": "noise", "continuous": {"min": "0", "max": "1"}}]},
        },
        field="spec.searchSpace.hyperparameters",
        words="a custom hyperparameter needs a default",
    ),
    Rejection(path="spec.task.model.arguments", value={"a": "1"}, field="spec.task.model.arguments", words="templates take none"),
    Rejection(
        path="spec.task.model.pretrained",
        value={"path": "/data/weights.safetensors"},
        field="spec.task.model.pretrained",
        words="templates start from random weights",
    ),
    Rejection(
        path="spec",
        value={
            **_REGRESSION_WITH_CLASS_WEIGHTS,
            "task": {"data": _CSV, "model": {"template": "mlp-small"}, "recipe": {"weightByClass": {"a": "2"}}},
        },
        field="spec.task.recipe.weightByClass",
        words="weightByClass must not be given when the metric is rmse",
    ),
    Rejection(
        path="spec.task.recipe",
        value={"classWeights": "Balanced", "weightByClass": {"3": "2"}},
        field="spec.task.recipe.weightByClass",
        words="must not be given with classWeights Balanced",
    ),
    Rejection(
        path="spec",
        value=_REGRESSION_WITH_CLASS_WEIGHTS,
        field="spec.task.recipe.classWeights",
        words="there are no classes",
    ),
    Rejection(path="spec.objective.direction", value="Minimize", field="spec.objective.direction", words="must be the metric's own"),
    Rejection(
        path="spec.objective",
        value={"metric": "log_loss", "direction": "Maximize"},
        field="spec.objective.direction",
        words="Minimize for log_loss",
    ),
    *(
        Rejection(
            path="spec.objective.cost",
            value={"metric": metric, "target": "0.5"},
            field="spec.objective.cost.target",
            words="at least 1 when metric is parameters or macs",
        )
        for metric in ("parameters", "macs")
    ),
    *(
        Rejection(path="spec.objective", value={"metric": metric, "goal": goal}, field="spec.objective.goal", words=words)
        for metric, goal, words in (
            ("accuracy", "95", '95 is more than 1: accuracy is a share, write 95 % as "0.95"'),
            ("f1", "1.5", '1.5 is more than 1: f1 is a share, write 95 % as "0.95"'),
            ("auc", "100", "100 is more than 1: auc is a share"),
            ("top5", "2", "2 is more than 1: top5 is a share"),
            ("accuracy", "0", "0 must be greater than 0: every candidate reaches it"),
            ("auc", "-0.5", "-0.5 must be greater than 0: every candidate reaches it"),
            ("log_loss", "-1", "-1 must be greater than 0: no candidate reaches it, log_loss, perplexity, bpb, rmse, mae are never less"),
            ("log_loss", "0", "0 must be greater than 0: no candidate reaches it"),
        )
    ),
    *(
        Rejection(
            path="spec",
            value=_regression_with_goal(metric),
            field="spec.objective.goal",
            words="-0.1 must be greater than 0: no candidate reaches it",
        )
        for metric in ("rmse", "mae")
    ),
    Rejection(
        path="spec",
        value={**_regression_with_goal("r2"), "objective": {"metric": "r2", "goal": "1.5"}},
        field="spec.objective.goal",
        words="1.5 is more than 1: r2 is the explained share of the variance",
    ),
)

TASK_UNACCEPTABLE: Final = (
    Rejection(
        path="spec.task.data.arguments",
        value={"shift": "1"},
        field="spec.task.data.arguments.shift",
        words="unknown argument of data digits",
    ),
    Rejection(
        path="spec.task.data",
        value={"name": "idx", "path": "/data", "arguments": {"trainLimit": "many"}},
        field="spec.task.data.arguments.trainLimit",
        words="positive integer",
    ),
    *(
        Rejection(
            path="spec.task.data",
            value={**_CSV, "arguments": {"target": "y", name: value}},
            field=f"spec.task.data.arguments.{name}",
            words=words,
        )
        for name, value, words in (
            ("target", " ", "name of a column"),
            ("categorical", "a,,b", "names separated by commas"),
            ("missing", "drop", "must be one of error, impute"),
            ("numeric", ",", "names separated by commas"),
            ("delimiter", "::", "one character, or tab"),
            ("header", "no", "must be one of true, false"),
            ("testFile", "../test.csv", "next to the training file"),
            ("testFraction", "0.9", "at most 0.5"),
        )
    ),
    *(
        Rejection(
            path="spec.task.data",
            value={"name": "image-folder", "path": "/data", "arguments": {name: value}},
            field=f"spec.task.data.arguments.{name}",
            words=words,
        )
        for name, value, words in (
            ("size", "0", "side in px"),
            ("size", "3x4x5", "side in px"),
            ("grayscale", "yes", "one of true, false"),
            ("background", "transparent", "white, black or a colour"),
            ("testFolder", "../val", "name of a folder next to train"),
        )
    ),
    Rejection(
        path="spec.task.data",
        value={**_CSV, "arguments": {"target": "y", "testFile": "t.csv", "testFraction": "0.2"}},
        field="spec.task.data.arguments.testFraction",
        words="must not be given together with testFile",
    ),
    *(
        Rejection(
            path="spec.task.data",
            value={**_CSV, "arguments": {"target": "y", name: "a, y"}},
            field=f"spec.task.data.arguments.{name}",
            words='"y" is the target, which is no input: leave it out',
        )
        for name in ("categorical", "numeric", "ignore")
    ),
    Rejection(
        path="spec.task.data",
        value={**_CSV, "arguments": {"target": "y", "categorical": "city,zip", "numeric": "zip"}},
        field="spec.task.data.arguments.numeric",
        words='"zip" is named in categorical too: choose one',
    ),
    Rejection(
        path="spec.task.data",
        value={"entrypoint": "a.b:C", "arguments": {"path": "/data"}},
        field="spec.task.data.arguments.path",
        words="cannot be a keyword",
    ),
    Rejection(
        path="spec.task.model",
        value={"entrypoint": "a.b:C", "arguments": {"in-width": "3"}},
        field="spec.task.model.arguments.in-width",
        words="cannot be a keyword",
    ),
    Rejection(
        path="spec",
        value=_custom_model([{**_WIDTH, "name": "dropout"}]),
        field=f"{_DECISIONS}[0].name",
        words="is the name of a hyperparameter",
    ),
    *(
        Rejection(path="spec", value=_custom_model(decisions), field=f"{_DECISIONS}[0].{field}", words=words)
        for decisions, field, words in (
            ([{"name": "width", "default": "8"}], "choices", "Required value: an entrypoint's decisions are listed whole"),
            ([{"name": "width", "choices": ["8", "16"]}], "default", "Required value: an entrypoint's decisions are listed whole"),
            ([{**_WIDTH, "when": {"decision": "depth", "values": ["2"]}}], "when.decision", "must be one of width"),
        )
    ),
)
