"""Wrong hyperparameters: rows of the tables in `autohas_api.testing.rejections`."""

from __future__ import annotations

from typing import Final

from autohas_api.spec.hyperparameters import KNOWN
from autohas_api.testing.builders import Rejection, a_search

_RATE: Final = "spec.searchSpace.hyperparameters[0]"
_LEARNING_RATE: Final = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "1"}}
_OPTIMIZERS: Final = KNOWN["optimizer"].choices
_TWO_OPTIMIZERS: Final = {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}}

REJECTED_BY_SCHEMA: Final = (
    Rejection(path=f"{_RATE}.continuous.topK", value=1, field=f"{_RATE}.continuous.topK", words="greater than or equal to 2"),
    Rejection(path=f"{_RATE}.continuous.derive", value="Mean", field=f"{_RATE}.continuous.derive", words='"Argmax", "Expectation"'),
    Rejection(
        path="spec.searchSpace.initialPoints",
        value=[{}],
        field="spec.searchSpace.initialPoints[0].values",
        words="Required value",
    ),
    Rejection(path=f"{_RATE}.rateFactors", value={"adam": "a lot"}, field=f"{_RATE}.rateFactors.adam", words="should match"),
    Rejection(path=f"{_RATE}.name", value="LearningRate", field=f"{_RATE}.name", words="should match"),
    Rejection(
        path=f"{_RATE}.integer",
        value={"min": 0, "max": 4},
        field=f"{_RATE}.integer.min",
        words="greater than or equal to 1",
    ),
    Rejection(path=f"{_RATE}.continuous.numBases", value=1, field=f"{_RATE}.continuous.numBases", words="greater than or equal to 2"),
    Rejection(path=f"{_RATE}.continuous.mixing", value="TopTwo", field=f"{_RATE}.continuous.mixing", words='"OneHot", "TopK", "Gaussian"'),
)

REJECTED_BY_RULE: Final = (
    Rejection(
        path=_RATE,
        value={"name": "learning_rate", "integer": {"min": 1, "max": 4}},
        field=f"{_RATE}.name",
        words="the range must be given as continuous",
    ),
    Rejection(path=f"{_RATE}.continuous.topK", value=2, field=f"{_RATE}.continuous.topK", words="must not be given unless mixing is TopK"),
    Rejection(
        path=f"{_RATE}.continuous",
        value={"min": "0.1", "max": "1", "numBases": 3, "mixing": "TopK", "topK": 4},
        field=f"{_RATE}.continuous.topK",
        words="must be at most numBases",
    ),
    Rejection(
        path=f"{_RATE}.continuous",
        value={"min": "0.1", "max": "1", "mixing": "TopK", "derive": "Argmax"},
        field=f"{_RATE}.continuous.derive",
        words="must not be Argmax when mixing is TopK",
    ),
    *(
        Rejection(
            path=f"{_RATE}.continuous",
            value={"min": "0.1", "max": "1", "derive": "Argmax"} | mixing,
            field=f"{_RATE}.continuous.derive",
            words="must not be given unless mixing is OneHot or TopK",
        )
        for mixing in ({}, {"mixing": "Gaussian"})
    ),
    Rejection(
        path=f"{_RATE}.continuous.mixing",
        value="Gaussian",
        field="spec.searchSpace.hyperparameters",
        words="need a controller that learns hyperparameters",
    ),
    Rejection(
        path=f"{_RATE}.continuous.mixing",
        value="TopK",
        field="spec.searchSpace.hyperparameters",
        words="need a controller that learns hyperparameters",
    ),
    Rejection(
        path=f"{_RATE}.continuous",
        value={"min": "0.1", "max": "1", "mixing": "OneHot", "derive": "Expectation"},
        field="spec.searchSpace.hyperparameters",
        words="need a controller that learns hyperparameters",
    ),
    Rejection(path=f"{_RATE}.continuous.max", value="0.03", field=f"{_RATE}.continuous.max", words="max must be greater than min"),
    Rejection(path=f"{_RATE}.continuous.min", value="0", field=f"{_RATE}.continuous.min", words="greater than 0 when scale is Log"),
    Rejection(
        path=f"{_RATE}.continuous",
        value={"min": "-1", "max": "1"},
        field=f"{_RATE}.continuous.min",
        words="must not be negative",
    ),
    Rejection(path=f"{_RATE}.default", value="4", field=f"{_RATE}.default", words="between continuous.min and continuous.max"),
    Rejection(path=f"{_RATE}.default", value="fast", field=f"{_RATE}.default", words="must be a decimal"),
    Rejection(path=f"{_RATE}.name", value="rate", field="spec.searchSpace.hyperparameters", words="must be one of learning_rate"),
    Rejection(path=f"{_RATE}.name", value="batch_size", field=f"{_RATE}.name", words="must be given as integer"),
    Rejection(path=f"{_RATE}.name", value="optimizer", field=f"{_RATE}.name", words="must be given as categorical"),
    Rejection(path=f"{_RATE}.name", value="dropout", field=f"{_RATE}.continuous.max", words="must be less than 1"),
    Rejection(
        path=_RATE,
        value={"name": "momentum", "continuous": {"min": "0", "max": "0.9999999"}},
        field=f"{_RATE}.continuous.max",
        words="at most 0.999999",
    ),
    Rejection(
        path=_RATE,
        value={"name": "mixup", "continuous": {"min": "0", "max": "101"}},
        field=f"{_RATE}.continuous.max",
        words="max of mixup must be at most 100",
    ),
    Rejection(path=f"{_RATE}.integer", value={"min": 2, "max": 4}, field=_RATE, words="exactly one of continuous, integer and categorical"),
    Rejection(path=_RATE, value={"name": "batch_size", "integer": {"min": 1, "max": 4}}, field=f"{_RATE}.integer.min", words="at least 2"),
    Rejection(
        path=_RATE,
        value={"name": "batch_size", "integer": {"min": 8, "max": 8}},
        field=f"{_RATE}.integer.max",
        words="max must be greater than min",
    ),
    Rejection(
        path=_RATE,
        value={"name": "batch_size", "integer": {"min": 8, "max": 64, "scale": "Log"}},
        field=f"{_RATE}.integer.step",
        words="at least 2 when scale is Log",
    ),
    Rejection(
        path=_RATE,
        value={"name": "batch_size", "integer": {"min": 8, "max": 64}},
        field=f"{_RATE}.integer.step",
        words="at most 32 values",
    ),
    *(
        Rejection(
            path=_RATE,
            value={"name": "batch_size", "integer": {"min": 8, "max": 9, "step": 5, **scale}},
            field=f"{_RATE}.integer.step",
            words="only min itself is in the range",
        )
        for scale in ({}, {"scale": "Log"})
    ),
    Rejection(
        path=_RATE,
        value={"name": "batch_size", "integer": {"min": 8, "max": 100_000, "step": 8, "scale": "Log"}},
        field=f"{_RATE}.integer.max",
        words="max of batch_size must be at most 65536",
    ),
    Rejection(
        path=f"{_RATE}.continuous",
        value={"min": "1", "max": "1.0000000001"},
        field=f"{_RATE}.continuous.max",
        words="too narrow for different bases",
    ),
    Rejection(
        path=_RATE,
        value={"name": "batch_size", "integer": {"min": 8, "max": 64, "step": 8}, "default": "65"},
        field=f"{_RATE}.default",
        words="whole number between integer.min and integer.max",
    ),
    Rejection(
        path=_RATE,
        value={"name": "optimizer", "categorical": {"choices": ["sgd", "lamb"]}},
        field=f"{_RATE}.categorical.choices",
        words="must be among sgd, rmsprop, adam",
    ),
    Rejection(
        path=_RATE,
        value={"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}, "default": "rmsprop"},
        field=f"{_RATE}.default",
        words="must be one of categorical.choices",
    ),
    Rejection(
        path=f"{_RATE}.when",
        value={"decision": "learning_rate", "values": ["1"]},
        field=f"{_RATE}.when.decision",
        words="must not depend on itself",
    ),
    *(
        Rejection(
            path=f"{_RATE}.rateFactors",
            value={name: "0.01"},
            field="spec.searchSpace.hyperparameters",
            words=f"must not have {name} unless it is a choice of the searched optimizer",
        )
        for name in _OPTIMIZERS
    ),
    Rejection(
        path="spec.searchSpace.hyperparameters",
        value=[{**_LEARNING_RATE, "rateFactors": {"rmsprop": "0.01"}}, _TWO_OPTIMIZERS],
        field="spec.searchSpace.hyperparameters",
        words="must not have rmsprop unless it is a choice of the searched optimizer",
    ),
    *(
        Rejection(
            path=f"{_RATE}.rateFactors",
            value={name: "0"},
            field=f"{_RATE}.rateFactors.{name}",
            words=f"{name} must be greater than 0",
        )
        for name in _OPTIMIZERS
    ),
    Rejection(
        path="spec.searchSpace.hyperparameters",
        value=[{"name": "weight_decay", "continuous": {"min": "0", "max": "1"}, "rateFactors": {"adam": "0.01"}}, _TWO_OPTIMIZERS],
        field=f"{_RATE}.rateFactors",
        words="must not be given unless name is learning_rate",
    ),
)

_MOMENTUM: Final = {"name": "momentum", "continuous": {"min": "0", "max": "0.9"}}
_OPTIMIZER: Final = {"name": "optimizer", "categorical": {"choices": ["sgd", "adam", "rmsprop"]}}
_CONDITIONAL: Final = {
    "hyperparameters": [_OPTIMIZER, {**_MOMENTUM, "when": {"decision": "optimizer", "values": ["sgd"]}}],
    "architecture": {},
}
_INITIAL: Final = "spec.searchSpace.initialPoints"

UNACCEPTABLE: Final = (
    Rejection(
        path="spec.searchSpace.architecture.decisions",
        value=[{"name": "depth", "choices": ["1"]}, {"name": "width_2", "choices": ["16", "32"]}],
        field="spec.searchSpace.architecture.decisions[1]",
        words='"width_2" has no effect: depth is never 2 or 3 in this space; remove it',
    ),
    Rejection(
        path="spec.searchSpace",
        value={
            "hyperparameters": [{**_MOMENTUM, "when": {"decision": "depth", "values": ["3"]}}],
            "architecture": {"decisions": [{"name": "depth", "choices": ["1", "2"]}]},
        },
        field="spec.searchSpace.hyperparameters[0]",
        words='"momentum" has no effect: depth is never 3 in this space',
    ),
    *(
        Rejection(path="spec.searchSpace", value={**_CONDITIONAL, "initialPoints": given}, field=f"{_INITIAL}{place}", words=words)
        for given, place, words in (
            (
                [{"values": {"optimizer": "adam", "momentum": "0.45"}}],
                "[0].values.momentum",
                '"0.45" has no effect: momentum is searched only where optimizer is sgd',
            ),
            ([{"values": {"depth": "1", "width_2": "16"}}], "[0].values.width_2", "width_2 is searched only where depth is 2 or 3"),
            ([{"values": {"optimizer": "adam", "momentum": "0.9"}}], "[0].values.momentum", "has no effect"),
            ([{"values": {}}], "[0]", "is the default configuration, which is always tried: remove it"),
            (
                [{"values": {"optimizer": "adam"}}, {"values": {"depth": "1"}}, {"values": {"optimizer": "adam"}}],
                "[2]",
                "is the same as initialPoints[0]: remove it",
            ),
        )
    ),
    *(
        Rejection(
            path="spec",
            value={**a_search()["spec"], **task, "searchSpace": {"hyperparameters": given}},
            field=f"spec.searchSpace.hyperparameters[{index}].name",
            words='"momentum" has no effect: it is searched where the optimizer is rmsprop, which has none',
        )
        for task, given, index in (
            ({"task": {**a_search()["spec"]["task"], "recipe": {"optimizer": "rmsprop"}}}, [_MOMENTUM], 0),
            ({}, [_OPTIMIZER, {**_MOMENTUM, "when": {"decision": "optimizer", "values": ["rmsprop"]}}], 1),
        )
    ),
    Rejection(path=_INITIAL, value=[{"values": {"rate": "1"}}], field=f"{_INITIAL}[0].values.rate", words="must be one of learning_rate"),
    Rejection(
        path=_INITIAL,
        value=[{"values": {"depth": "1"}}, {"values": {"learning_rate": "9"}}],
        field=f"{_INITIAL}[1].values.learning_rate",
        words="must be a decimal in the range",
    ),
    Rejection(path=_INITIAL, value=[{"values": {"depth": "7"}}], field=f"{_INITIAL}[0].values.depth", words="must be one of 1, 2, 3"),
    Rejection(
        path=f"{_RATE}.when",
        value={"decision": "kernel", "values": ["3"]},
        field=f"{_RATE}.when.decision",
        words="must be one of depth",
    ),
    Rejection(
        path=f"{_RATE}.when",
        value={"decision": "weight_decay", "values": ["1e-5"]},
        field=f"{_RATE}.when.decision",
        words="must be one of depth",
    ),
    Rejection(
        path=f"{_RATE}.when",
        value={"decision": "depth", "values": ["1", "7"]},
        field=f"{_RATE}.when.values[1]",
        words="must be one of 1, 2, 3",
    ),
    Rejection(
        path="spec.searchSpace.hyperparameters",
        value=[
            {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}, "when": {"decision": "batch_size", "values": ["8"]}},
            {"name": "batch_size", "integer": {"min": 8, "max": 9}, "when": {"decision": "optimizer", "values": ["sgd"]}},
        ],
        field="spec.searchSpace.hyperparameters[0].when.decision",
        words="must not form a cycle",
    ),
)
