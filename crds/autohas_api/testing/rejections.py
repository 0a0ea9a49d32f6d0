"""Builders and tables of wrong searches, for tests of both sides. Not used by any product code."""

from __future__ import annotations

from typing import Final

from autohas_api.testing import rejected_hyperparameters as hyperparameters
from autohas_api.testing.builders import Rejection, a_search, with_change
from autohas_api.testing.rejected_algorithms import ALGORITHM_REJECTED_BY_RULE, ALGORITHM_REJECTED_BY_SCHEMA, ALGORITHM_UNACCEPTABLE
from autohas_api.testing.rejected_comparisons import COMPARISON_REJECTED_BY_RULE, COMPARISON_REJECTED_BY_SCHEMA
from autohas_api.testing.rejected_data import DATA_REJECTED_BY_RULE, DATA_REJECTED_BY_SCHEMA, DATA_UNACCEPTABLE
from autohas_api.testing.rejected_pods import POD_REJECTED_BY_RULE, POD_REJECTED_BY_SCHEMA, POD_UNACCEPTABLE
from autohas_api.testing.rejected_recipes import RECIPE_REJECTED_BY_RULE, RECIPE_REJECTED_BY_SCHEMA, RECIPE_UNACCEPTABLE
from autohas_api.testing.rejected_tasks import TASK_REJECTED_BY_RULE, TASK_REJECTED_BY_SCHEMA, TASK_UNACCEPTABLE
from autohas_api.testing.rejected_trainers import TRAINER_REJECTED_BY_RULE, TRAINER_REJECTED_BY_SCHEMA

__all__ = ["REJECTED_BY_RULE", "REJECTED_BY_SCHEMA", "UNACCEPTABLE", "Rejection", "a_search", "with_change"]

_DECISIONS: Final = "spec.searchSpace.architecture.decisions"
_ONLY_HYPERPARAMETERS: Final = with_change(a_search(), "spec.searchSpace.architecture")
_ONLY_RATE: Final = with_change(
    _ONLY_HYPERPARAMETERS,
    "spec.searchSpace.hyperparameters",
    [h for h in _ONLY_HYPERPARAMETERS["spec"]["searchSpace"]["hyperparameters"] if h["name"] == "learning_rate"],
)
_ONLY_INACTIVE_CHOICES: Final = [
    {"name": name, "choices": [choice], "default": choice} for name, choice in (("depth", "1"), ("width_1", "32"), ("activation", "relu"))
]
_CLAIM_AND_EMPTY: Final = {"emptyDir": {}, "persistentVolumeClaim": {"claimName": "c"}}


REJECTED_BY_SCHEMA: Final = (
    *ALGORITHM_REJECTED_BY_SCHEMA,
    *COMPARISON_REJECTED_BY_SCHEMA,
    *TRAINER_REJECTED_BY_SCHEMA,
    *POD_REJECTED_BY_SCHEMA,
    *hyperparameters.REJECTED_BY_SCHEMA,
    *TASK_REJECTED_BY_SCHEMA,
    *RECIPE_REJECTED_BY_SCHEMA,
    *DATA_REJECTED_BY_SCHEMA,
    Rejection(path="spec.typo", value=1, field="spec.typo", words="unknown field"),
    Rejection(path="spec.task.recipe.batchSize", value=1, field="spec.task.recipe.batchSize", words="greater than or equal to 2"),
    Rejection(path="spec.task.recipe.batchSize", value="64", field="spec.task.recipe.batchSize", words="must be of type integer"),
    Rejection(path="spec.task.recipe.learningRate", value=0.1, field="spec.task.recipe.learningRate", words="must be of type string"),
    Rejection(path="spec.task.recipe.learningRate", value="fast", field="spec.task.recipe.learningRate", words="should match"),
    Rejection(path="spec.task.recipe.learningRate", value="1e400", field="spec.task.recipe.learningRate", words="should match"),
    Rejection(path="spec.task.recipe.schedule", value="cosine", field="spec.task.recipe.schedule", words='"Cosine", "Constant"'),
    Rejection(path=_DECISIONS, value=[{"name": "Depth"}], field=f"{_DECISIONS}[0].name", words="should match"),
    Rejection(path="spec.budget.trainings", value=5, field="spec.budget.trainings", words="must be of type string"),
    Rejection(path="spec.budget.maxActiveSeconds", value=0, field="spec.budget.maxActiveSeconds", words="greater than or equal to 1"),
    Rejection(
        path="spec.budget.earlyStopping",
        value={"plateauSteps": 0},
        field="spec.budget.earlyStopping.plateauSteps",
        words="greater than or equal to 1",
    ),
    Rejection(
        path="spec.objective.cost",
        value={"metric": "flops", "target": "9"},
        field="spec.objective.cost.metric",
        words='"parameters", "macs", "latencyMilliseconds"',
    ),
    Rejection(path="spec.objective.goal", value=0.9, field="spec.objective.goal", words="must be of type string"),
    Rejection(path="spec.training.steps", value=8, field="spec.training.steps", words="greater than or equal to 9"),
    Rejection(path="spec.training", value={"epochs": 8}, field="spec.training.epochs", words="must be of type string"),
    Rejection(path="spec.training.seeds", value=21, field="spec.training.seeds", words="less than or equal to 20"),
    Rejection(path="spec.trainer.device", value="TPU", field="spec.trainer.device", words='"Auto", "CPU", "CUDA"'),
    Rejection(path="spec.checkpoint.periodSeconds", value=0, field="spec.checkpoint.periodSeconds", words="greater than or equal to 1"),
    Rejection(path="spec.checkpoint.keepLast", value=1, field="spec.checkpoint.keepLast", words="greater than or equal to 2"),
    Rejection(path="spec.monitoring.metricsPort", value=80, field="spec.monitoring.metricsPort", words="greater than or equal to 1024"),
    Rejection(
        path="spec.monitoring.perChoiceLimit", value=2001, field="spec.monitoring.perChoiceLimit", words="less than or equal to 2000"
    ),
    Rejection(path="spec.monitoring.profileSteps", value=0, field="spec.monitoring.profileSteps", words="greater than or equal to 1"),
    Rejection(path="spec.failurePolicy.backoffLimit", value=51, field="spec.failurePolicy.backoffLimit", words="less than or equal to 50"),
)
"""Refused by the schema itself; in the same words offline."""

REJECTED_BY_RULE: Final = (
    *ALGORITHM_REJECTED_BY_RULE,
    *COMPARISON_REJECTED_BY_RULE,
    *TRAINER_REJECTED_BY_RULE,
    *POD_REJECTED_BY_RULE,
    *hyperparameters.REJECTED_BY_RULE,
    *TASK_REJECTED_BY_RULE,
    *RECIPE_REJECTED_BY_RULE,
    *DATA_REJECTED_BY_RULE,
    Rejection(path="metadata.name", value="a" * 47, field="metadata.name", words="DNS label of at most 46 characters"),
    Rejection(path="metadata.name", value="a.b", field="metadata.name", words="DNS label of at most 46 characters"),
    Rejection(path="spec.task.recipe.learningRate", value="0", field="spec.task.recipe.learningRate", words="greater than 0"),
    *(
        Rejection(
            path="spec.trainer",
            value={"compute": {"compile": "Default"}, **determinism},
            field="spec.trainer.compute.compile",
            words="compile needs determinism Relaxed",
        )
        for determinism in ({}, {"determinism": "Strict"})
    ),
    Rejection(path="spec.task.recipe.momentum", value="1", field="spec.task.recipe.momentum", words="less than 1"),
    Rejection(path="spec.task.recipe.momentum", value="0.9999999", field="spec.task.recipe.momentum", words="at most 0.999999"),
    Rejection(path="spec.task.recipe.dropout", value="0.9999999", field="spec.task.recipe.dropout", words="at most 0.999999"),
    Rejection(path="spec.task.recipe.warmupFraction", value="0.6", field="spec.task.recipe.warmupFraction", words="between 0 and 0.5"),
    Rejection(path="spec.task.recipe.weightDecay", value="-1", field="spec.task.recipe.weightDecay", words="must not be negative"),
    Rejection(path="spec.task.splits.reward", value="0", field="spec.task.splits.reward", words="greater than 0 and less than 0.5"),
    Rejection(path="spec.task.splits.selection", value="0.5", field="spec.task.splits.selection", words="less than 0.5"),
    Rejection(path="spec.objective.cost", value={"target": "0"}, field="spec.objective.cost.target", words="greater than 0"),
    *(
        Rejection(
            path="spec.objective.cost", value={"target": "9", "weight": weight}, field="spec.objective.cost.weight", words="less than 0"
        )
        for weight in ("1", "0", "-10.1", "-400")
    ),
    Rejection(path="spec.searchSpace", value={}, field="spec.searchSpace", words="nothing to search"),
    Rejection(path="spec.task.recipe.dropout", value="1", field="spec.task.recipe.dropout", words="less than 1"),
    Rejection(path="spec.task.recipe.labelSmoothing", value="1", field="spec.task.recipe.labelSmoothing", words="less than 1"),
    Rejection(path="spec.task.recipe.mixup", value="-1", field="spec.task.recipe.mixup", words="between 0 and 100"),
    Rejection(
        path=_DECISIONS,
        value=[{"name": "depth", "choices": ["1"], "default": "2"}],
        field=f"{_DECISIONS}[0].default",
        words="default must be one of choices",
    ),
    Rejection(
        path=_DECISIONS,
        value=[{"name": "depth", "when": {"decision": "depth", "values": ["1"]}}],
        field=f"{_DECISIONS}[0].when.decision",
        words="must not depend on itself",
    ),
    Rejection(path="spec.training", value={}, field="spec.training", words="exactly one of steps and epochs"),
    Rejection(path="spec.training.epochs", value="8", field="spec.training", words="exactly one of steps and epochs"),
    *(
        Rejection(
            path="spec.training",
            value={"epochs": epochs},
            field="spec.training.epochs",
            words="epochs must be greater than 0 and at most 1000000",
        )
        for epochs in ("0", "1000001")
    ),
    Rejection(path="spec.budget.trainings", value="0.5", field="spec.budget.trainings", words="between 1 and 10000"),
    Rejection(path="spec.budget.earlyStopping", value={}, field="spec.budget.earlyStopping", words="at least one of plateauSteps"),
    Rejection(
        path="spec.budget.earlyStopping",
        value={"minDelta": "0.1", "normalizedEntropyBelow": "0.1"},
        field="spec.budget.earlyStopping.minDelta",
        words="must not be given unless plateauSteps is",
    ),
    Rejection(
        path="spec.budget.earlyStopping",
        value={"minDelta": "-0.1", "plateauSteps": 9},
        field="spec.budget.earlyStopping.minDelta",
        words="must not be negative",
    ),
    Rejection(
        path="spec.budget.earlyStopping",
        value={"normalizedEntropyBelow": "1"},
        field="spec.budget.earlyStopping.normalizedEntropyBelow",
        words="greater than 0 and less than 1",
    ),
    Rejection(path="spec.checkpoint.storage", value={}, field="spec.checkpoint.storage", words="exactly one of"),
    Rejection(path="spec.checkpoint.storage", value=_CLAIM_AND_EMPTY, field="spec.checkpoint.storage", words="exactly one of"),
    Rejection(
        path="spec.trainer.initContainers",
        value=[{"name": "fetch", "volumeMounts": [{"name": "absent", "mountPath": "/data"}]}],
        field="spec.trainer.initContainers",
        words="every volumeMount of an init container must name one of volumes",
    ),
    Rejection(
        path="spec.trainer.initContainers",
        value=[{"name": "trainer", "command": ["fetch"]}],
        field="spec.trainer.initContainers[0].name",
        words="the name trainer is that of the operator's own container",
    ),
    Rejection(
        path="spec.trainer.initContainers",
        value=[{"name": "autohas-x", "command": ["fetch"]}],
        field="spec.trainer.initContainers[0].name",
        words="names that start with autohas- are the operator's",
    ),
    Rejection(
        path="spec.trainer.volumes",
        value=[{"name": "p", "projected": {"sources": [{}]}}],
        field="spec.trainer.volumes[0].projected.sources[0]",
        words="exactly one of configMap, secret and downwardAPI",
    ),
    Rejection(
        path="spec.trainer.volumes", value=[{"name": "data"}], field="spec.trainer.volumes[0]", words="exactly one of persistentVolumeClaim"
    ),
    Rejection(
        path="spec.trainer",
        value={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        field="spec.trainer.volumeMounts",
        words="must name one of volumes",
    ),
    Rejection(
        path="spec.trainer",
        value={
            "volumes": [{"name": "data", "emptyDir": {}}],
            "volumeMounts": [{"name": "data", "mountPath": "/etc/autohas/x"}],
        },
        field="spec.trainer.volumeMounts[0].mountPath",
        words="these are the operator's or the image's own",
    ),
)
"""Refused by a CEL rule on the server and by its Python twin offline, with the same message."""

UNACCEPTABLE: Final = (
    *ALGORITHM_UNACCEPTABLE,
    *hyperparameters.UNACCEPTABLE,
    *TASK_UNACCEPTABLE,
    *RECIPE_UNACCEPTABLE,
    *DATA_UNACCEPTABLE,
    *POD_UNACCEPTABLE,
    Rejection(path=_DECISIONS, value=[{"name": "kernel"}], field=f"{_DECISIONS}[0].name", words="must be one of depth"),
    Rejection(
        path=_DECISIONS,
        value=[{"name": "depth", "choices": ["1", "9"]}],
        field=f"{_DECISIONS}[0].choices[1]",
        words="must be one of 1, 2, 3",
    ),
    Rejection(
        path=_DECISIONS,
        value=[{"name": "width_2", "when": {"decision": "depth", "values": ["3"]}}],
        field=f"{_DECISIONS}[0].when",
        words="already has a condition",
    ),
    Rejection(
        path=_DECISIONS,
        value=[
            {"name": "activation", "when": {"decision": "width_1", "values": ["16"]}},
            {"name": "width_1", "when": {"decision": "activation", "values": ["relu"]}},
        ],
        field=f"{_DECISIONS}[0].when.decision",
        words="must not form a cycle",
    ),
    Rejection(
        path="spec",
        value=with_change(_ONLY_HYPERPARAMETERS, "spec.objective", {"cost": {"target": "9000"}})["spec"],
        field="spec.objective.cost",
        words="every network costs the same",
    ),
    Rejection(
        path="spec",
        value=with_change(_ONLY_HYPERPARAMETERS, "spec.budget.earlyStopping", {"plateauSteps": 9})["spec"],
        field="spec.budget.earlyStopping",
        words="rewards of a controller after the warm-up",
    ),
    Rejection(
        path="spec",
        value=with_change(_ONLY_RATE, "spec.budget.earlyStopping", {"plateauSteps": 9})["spec"]
        | {"algorithm": {"name": "AutoHAS", "autoHAS": {"strategy": "Paired"}}},
        field="spec.budget.earlyStopping",
        words="rewards of a controller after the warm-up",
    ),
    Rejection(
        path="spec",
        value=with_change(_ONLY_RATE, "spec.budget.earlyStopping", {"plateauSteps": 90})["spec"]
        | {"algorithm": {"name": "AutoHAS", "autoHAS": {"strategy": "OneStep"}}},
        field="spec.budget.earlyStopping.plateauSteps",
        words="could never come true: 18 steps are rewarded after the warm-up",
    ),
    Rejection(
        path="spec.searchSpace",
        value={"architecture": {"decisions": _ONLY_INACTIVE_CHOICES}},
        field="spec.searchSpace",
        words="every decision that can be active has one choice",
    ),
    Rejection(path="spec.training.seeds", value=3, field="spec.budget.trainings", words="must be at least"),
    Rejection(path="spec.budget.trainings", value="2", field="spec.budget.trainings", words="must be at least"),
)
"""Accepted by the API server; refused by `autohas_api.accept.acceptance`, so Accepted=False in the cluster."""
