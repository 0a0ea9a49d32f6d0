"""The resource: `Search` is one AutoHASSearch without its status, `parse` reads one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints, ValidationError
from pydantic.fields import FieldInfo

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec
from autohas_api.algorithms.table import ALGORITHM_ROWS
from autohas_api.base.expressions import choose, field, variable
from autohas_api.base.field_lookup import without_nulls
from autohas_api.base.kube_types import ANNOTATION_KEY_PATTERN, KEY_IS, LABEL_KEY_PATTERN, LabelValue
from autohas_api.base.model import Model, Rule, field_value, walk
from autohas_api.base.names import API_VERSION, KIND, MAX_NAME_LENGTH
from autohas_api.base.objective_metrics import METRICS, TaskKind
from autohas_api.base.rules import rule
from autohas_api.base.spec_errors import FieldError, SpecError, field_errors_of, format_value
from autohas_api.spec.algorithm import Algorithm, is_one_of, name_algorithms
from autohas_api.spec.budget import Budget, Training
from autohas_api.spec.data import TABLES, TEXTS
from autohas_api.spec.hyperparameters import KNOWN, Role
from autohas_api.spec.objective import Objective, is_metric_in
from autohas_api.spec.operation import Checkpoint, Cleanup, FailurePolicy, Monitoring
from autohas_api.spec.search_space import SearchSpace
from autohas_api.spec.task import Task
from autohas_api.spec.trainer import Trainer

NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_OBJECT_META: Final = (
    *("annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName", "generation"),
    *("labels", "managedFields", "name", "namespace", "ownerReferences", "resourceVersion", "selfLink", "uid"),
)
"""The fields of Kubernetes' ObjectMeta."""
IMMUTABLE_ONCE_STARTED: Final = (
    "task",
    "objective",
    "searchSpace",
    "algorithm",
    "budget",
    "training",
    "checkpoint",
)
"""Fields of the spec that may change only until the first attempt exists."""
MUTABLE_WHILE_SUSPENDED: Final = (
    "image",
    "imagePullSecrets",
    "serviceAccountName",
    "resources",
    "resourceClaims",
    "nodeSelector",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "priorityClassName",
    "schedulerName",
    "runtimeClassName",
    "volumes",
    "initContainers",
    "shmSize",
    "scratchSize",
)
"""Fields of spec.trainer that may change while the search is at rest, suspended or rejected: what runs, where, as whom and with how much
room, none of which the result depends on by intention. Its others, as above, may not.

All that the platform's lists judge is among them: a list that becomes stricter must leave a begun search a way to continue.
"""


class Metadata(Model):
    """The metadata that the contract reads; other fields of Kubernetes are ignored."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)] = Field()
    namespace: Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)] = Field(default="default")
    uid: str = Field(default="")
    generation: int = Field(default=0)
    labels: dict[str, LabelValue] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(field("labels").every("k", variable("k").matches(LABEL_KEY_PATTERN)), f"keys of labels must be {KEY_IS}", at=".labels"),
        rule(
            field("annotations").every("k", variable("k").matches(ANNOTATION_KEY_PATTERN)),
            f"keys of annotations must be {KEY_IS}",
            at=".annotations",
        ),
    )


_TRAINING: Final = tuple(name for name, known in KNOWN.items() if known.role is Role.TRAINING)
_REGRESSION: Final = tuple(name for name, metric in METRICS.items() if metric.kind is TaskKind.REGRESSION)
_UPDATE_RULE: Final = tuple(name for name, known in KNOWN.items() if known.role is Role.UPDATE_RULE)
"""Hyperparameters that a reward one step ahead can see; all others, own ones too, it cannot."""


_HYPERPARAMETERS, _HYPERPARAMETER = field("searchSpace.hyperparameters"), field("name", of="h")
_MIXES_INPUTS: Final = (field("task.recipe.mixup").number > 0) | _HYPERPARAMETERS.some("h", _HYPERPARAMETER.equals("mixup"))
_MIXING, _DERIVE = field("continuous.mixing", of="h"), field("continuous.derive", of="h")
_NEEDS_CONTROLLER: Final = field("continuous", of="h").is_given & (
    (_MIXING.is_given & _MIXING.differs("OneHot")) | (_DERIVE.is_given & _DERIVE.equals("Expectation"))
)
_OWN_TRAINING = field("task.training")
_HAS_ENTRYPOINT: Final = (
    field("task.data.entrypoint").is_given
    | field("task.data.trainTransform").is_given
    | _OWN_TRAINING.is_given
    | (field("task.model").is_given & field("task.model.entrypoint").is_given)
)
_CUSTOM_METRIC = field("objective.customMetric")
_METRIC_NAME = field("objective.customMetric.name")
_IS_CLASSIFICATION: Final = ~is_metric_in(_REGRESSION, "objective.") & (
    ~_CUSTOM_METRIC.is_given | field("objective.customMetric.targets").equals("Classes")
)
_SMOOTHS_LABELS: Final = (field("task.recipe.labelSmoothing").number > 0) | _HYPERPARAMETERS.some(
    "h", _HYPERPARAMETER.equals("label_smoothing")
)
BY_TRAININGS: Final = [row for row in ALGORITHM_ROWS if row.searches_training_hyperparameters]
"""Algorithms that compare hyperparameters by trainings, not by a reward one step ahead."""
_BY_CONTROLLER: Final = [row for row in ALGORITHM_ROWS if row.learns_hyperparameters]


class Spec(Model):
    """Desired state of a search."""

    suspend: bool = Field(
        default=False,
        description="Whether the search is suspended. The operator stops the trainer of a suspended search after a "
        "checkpoint and runs no pod until suspend is false; a search may be created suspended.",
    )
    task: Task = Field(description="Data, model, default recipe and data splits.")
    objective: Objective = Field(default_factory=Objective, description="Metric to optimise, and an optional cost penalty.")
    search_space: SearchSpace = Field(description="Hyperparameters and architecture decisions to search.")
    algorithm: Algorithm = Field(default_factory=Algorithm, description="Search algorithm and its settings.")
    budget: Budget = Field(default_factory=Budget, description="Limits of what the search may cost.")
    training: Training = Field(
        description="Length of a full training, which is the unit of the budget, and number of trainings of the winner."
    )
    trainer: Trainer = Field(
        default_factory=Trainer, description="Pod that runs the search. `autohas run` takes device, compute and determinism."
    )
    checkpoint: Checkpoint = Field(default_factory=Checkpoint, description="Interval, number and storage of checkpoints.")
    failure_policy: FailurePolicy = Field(default_factory=FailurePolicy, description="Retry limits and stall timeout of the trainer.")
    cleanup: Cleanup = Field(default_factory=Cleanup, description="Deletion of the Job and its pods after the search has finished.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="Metrics port, cardinality limit and profile of the trainer.")

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            ~_OWN_TRAINING.is_given | is_one_of(BY_TRAININGS),
            f"task.training has no shared weights for a supernet: use algorithm {name_algorithms(BY_TRAININGS)}",
            at=".algorithm",
        ),
        rule(
            ~_OWN_TRAINING.is_given | ~field("searchSpace.architecture").is_given,
            "architecture must not be given with task.training, which has no shared weights: search its choices as hyperparameters",
            at=".searchSpace.architecture",
        ),
        rule(
            ~_OWN_TRAINING.is_given
            | ~field("trainer.compute").is_given
            | (field("trainer.compute.compile").equals("None") & ~field("trainer.compute.channelsLast")),
            "compile and channelsLast must not be set with task.training: compile and lay out the module in its build",
            at=".trainer.compute",
        ),
        rule(
            ~_CUSTOM_METRIC.is_given | choose(_OWN_TRAINING.is_given, _METRIC_NAME.is_given, ~_METRIC_NAME.is_given),
            "with task.training, whose evaluate measures, customMetric must have a name; without it, an entrypoint",
            at=".objective.customMetric",
        ),
        rule(
            _HYPERPARAMETERS.every("h", _HYPERPARAMETER.is_in(_UPDATE_RULE)) | is_one_of(BY_TRAININGS),
            f"{', '.join(_TRAINING)} and custom hyperparameters cannot be seen by a one-step reward:"
            f" search them with algorithm {name_algorithms(BY_TRAININGS)}, or remove them",
            at=".searchSpace.hyperparameters",
        ),
        rule(
            ~_HYPERPARAMETERS.some("h", _NEEDS_CONTROLLER) | is_one_of(_BY_CONTROLLER),
            "mixing TopK, mixing Gaussian and derive Expectation need a controller that learns hyperparameters: algorithm"
            f" {name_algorithms(_BY_CONTROLLER)}",
            at=".searchSpace.hyperparameters",
        ),
        rule(
            _HAS_ENTRYPOINT | _HYPERPARAMETERS.every("h", _HYPERPARAMETER.is_in(tuple(KNOWN))),
            f"every name must be one of {', '.join(KNOWN)}; custom names need custom data, a custom model, own training or trainTransform",
            at=".searchSpace.hyperparameters",
        ),
        rule(
            ~_HAS_ENTRYPOINT | _HYPERPARAMETERS.every("h", field("default", of="h").is_given | _HYPERPARAMETER.is_in(tuple(KNOWN))),
            "a custom hyperparameter needs a default: the recipe has none for it",
            at=".searchSpace.hyperparameters",
        ),
        rule(
            ~field("algorithm.compare").is_given | field("training.seeds").equals(1),
            "seeds must be 1 with algorithm.compare, which trains with seeds of its own",
            at=".training.seeds",
        ),
        rule(
            _IS_CLASSIFICATION | ~_SMOOTHS_LABELS,
            "labels can be smoothed only where there are classes: remove labelSmoothing and label_smoothing when the metric is rmse, mae"
            " or r2, or customMetric.targets is Numbers",
            at=".task.recipe.labelSmoothing",
        ),
        rule(
            _IS_CLASSIFICATION | ~field("task.data.name").is_given | field("task.data.name").is_in(TABLES),
            "rmse, mae, r2 and customMetric.targets Numbers need a target that is a number, which of the built-in data only csv and parquet"
            " have: use accuracy, f1, auc"
            " or log_loss",
            at=".objective.metric",
        ),
        rule(
            _IS_CLASSIFICATION | field("task.recipe.classWeights").equals("Uniform"),
            "classWeights must be Uniform when the metric is rmse, mae or r2, or customMetric.targets is Numbers: there are no classes",
            at=".task.recipe.classWeights",
        ),
        rule(
            _IS_CLASSIFICATION | ~field("task.recipe.weightByClass").is_given,
            "weightByClass must not be given when the metric is rmse, mae or r2, or customMetric.targets is Numbers: there are no classes",
            at=".task.recipe.weightByClass",
        ),
        rule(
            ~is_metric_in(("bpb",), "objective.") | ~field("task.data.name").is_given | field("task.data.name").is_in(TEXTS),
            "bpb is measured per byte of text, which of the built-in data only text and tokens have: use log_loss",
            at=".objective.metric",
        ),
        rule(
            ~field("task.data.name").is_given | ~field("task.data.name").is_in(TEXTS) | ~_MIXES_INPUTS,
            "mixup must not be set or searched when task.data.name is text or tokens, whose inputs are integers that cannot be mixed",
            at=".task.recipe.mixup",
        ),
        rule(
            ~field("task.data.name").is_given
            | ~field("task.data.name").is_in(TEXTS)
            | field("objective.metric").is_in(("accuracy", "top5", "log_loss", "perplexity", "bpb")),
            "the next token is judged by accuracy, top5, log_loss, perplexity or bpb",
            at=".objective.metric",
        ),
    )

    @property
    def row(self) -> AlgorithmSpec:
        """What the table says about the algorithm with its settings and with the purpose of the budget."""
        row = self.algorithm.row
        return row.for_model if self.budget.is_for_model and row.for_model is not None else row


class Search(Model):
    """One AutoHASSearch without its status."""

    model_config = ConfigDict(extra="forbid")

    api_version: Literal["autohas.dev/v1alpha1"]
    kind: Literal["AutoHASSearch"]
    metadata: Metadata
    spec: Spec

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            field("metadata.name").matches(NAME_PATTERN) & (field("metadata.name").size <= MAX_NAME_LENGTH),
            f"must be a DNS label of at most {MAX_NAME_LENGTH} characters: lower-case letters, digits and -, a letter or digit at both"
            " ends",
            at=".metadata.name",
        ),
    )


def transition_rules() -> tuple[tuple[str, str, str], ...]:
    """CEL rules on the root that compare old and new: (expression, message, field path)."""
    frozen = "must not change once the search has started; create a new search instead"
    fixed = [alias for name, field in Trainer.model_fields.items() if (alias := field.alias or name) not in MUTABLE_WHILE_SUSPENDED]
    unchanged = " && ".join(_is_unchanged("spec.trainer", name) for name in fixed)
    is_suspended = "has(oldSelf.spec.suspend) && oldSelf.spec.suspend && oldSelf.status.phase == 'Suspended'"
    at_rest = f"(has(oldSelf.status.phase) && (oldSelf.status.phase == 'Rejected' || ({is_suspended})))"
    return (
        *((_allow_before_start(_is_unchanged("spec", name)), f"{name} {frozen}", f".spec.{name}") for name in IMMUTABLE_ONCE_STARTED),
        (_allow_before_start(f"has(self.spec.trainer) && has(oldSelf.spec.trainer) && {unchanged}"), f"trainer {frozen}", ".spec.trainer"),
        *(
            (
                _allow_before_start(f"{at_rest} || {_is_unchanged('spec.trainer', name)}"),
                f"{name} must not change while the search runs: set spec.suspend to true and wait for the phase Suspended",
                f".spec.trainer.{name}",
            )
            for name in MUTABLE_WHILE_SUSPENDED
        ),
    )


def _allow_before_start(expression: str) -> str:
    return f"!has(oldSelf.status) || !has(oldSelf.status.attempt) || ({expression})"


def _is_unchanged(parent: str, name: str) -> str:
    """Equal, or absent in both: even a required field may be, in what was stored before it was in the schema."""
    new, old = f"self.{parent}.{name}", f"oldSelf.{parent}.{name}"
    return f"(has({new}) == has({old}) && (!has({new}) || {new} == {old}))"


def broken_rules(model: Model, path: str = "") -> tuple[FieldError, ...]:
    """Rules that do not hold anywhere inside `model`, outermost first."""
    field_errors: list[FieldError] = []
    for inner, inner_path in walk(model, path):
        for broken in (each for each in inner.rules if not each.holds(inner)):
            path_of_field = f"{inner_path}{broken.field_path}".lstrip(".")
            field_errors.append(FieldError(path=path_of_field, message=_with_value(broken, inner)))
        field_errors += _duplicates(inner, inner_path)
    return tuple(field_errors)


def _with_value(broken: Rule, model: Model) -> str:
    """The message of a broken rule, after the value if that is a scalar; a message that repeats a value stands alone."""
    value: Any = model
    for part in broken.field_path.split(".")[1:]:
        value = field_value(value, part)
    is_shown = broken.message_of is None and isinstance(value, str | int | float)
    return f"Invalid value: {format_value(value)}: {broken.message}" if is_shown else broken.says(model)


def _duplicates(model: Model, path: str) -> list[FieldError]:
    """Items of a set, or of a list with keys, that equal an earlier item, in the words of the API server."""
    duplicates = []
    for name, alias, keys in _keyed_lists(type(model)):
        seen: set[str] = set()
        for index, item in enumerate(getattr(model, name) or []):
            value = {key: item.to_json().get(key) for key in keys} if isinstance(item, Model) else item
            identity = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
            if identity in seen:
                message = f"Duplicate value: {identity}"
                duplicates.append(FieldError(path=f"{path}.{alias}[{index}]".lstrip("."), message=message))
            seen.add(identity)
    return duplicates


@cache
def _keyed_lists(model: type[Model]) -> tuple[tuple[str, str, list[str]], ...]:
    """Name, name of the wire and keys of each list whose items must differ."""
    fields = ((name, field.alias or name, _identity_of(field)) for name, field in model.model_fields.items())
    return tuple((name, alias, keys) for name, alias, keys in fields if keys is not None)


def _identity_of(part: Any) -> list[str] | None:  # noqa: ANN401 - a field, or a part of its type
    """Keys by which the items of a list differ; empty in a set, whose items themselves must; None where items may be equal."""
    extra = getattr(part, "json_schema_extra", None)
    if isinstance(extra, dict):
        kind, keys = extra.get("x-kubernetes-list-type"), extra.get("x-kubernetes-list-map-keys")
        if kind == "set":
            return []
        if kind == "map" and isinstance(keys, list):
            return [str(key) for key in keys]
    annotation = part.annotation if isinstance(part, FieldInfo) else part
    inside = (*get_args(annotation), *getattr(annotation, "__metadata__", ()))
    return next((keys for inner in inside if (keys := _identity_of(inner)) is not None), None)


def parse(document: Mapping[str, Any]) -> Search:
    """Read one resource as kubectl would send it; `status` and foreign metadata are ignored.

    Raises:
        SpecError: schema or rules are violated; every problem names its field.
    """
    search = read(document)
    if problems := broken_rules(search):
        raise SpecError(problems)
    return search


def read(document: Mapping[str, Any]) -> Search:
    """As `parse`, without the rules: for what was accepted once, perhaps by a version with fewer of them.

    Raises:
        SpecError: the schema is violated.
    """
    resource = {key: value for key, value in without_nulls(document, Search).items() if key != "status"}
    missing = [
        FieldError(path=key, message=f"Required value: must be {value!r}".replace("'", '"'))
        for key, value in (("apiVersion", API_VERSION), ("kind", KIND))
        if key not in resource
    ]
    if missing:
        raise SpecError(missing)
    unknown = _unknown_metadata(resource.get("metadata"))
    try:
        search = Search.model_validate(resource)
    except ValidationError as error:
        raise SpecError([*unknown, *field_errors_of(error, Search)]) from error
    if unknown:
        raise SpecError(unknown)
    return search


def _unknown_metadata(metadata: Any) -> list[FieldError]:  # noqa: ANN401 - any JSON value
    """Fields that Kubernetes' metadata does not have."""
    names = [] if not isinstance(metadata, Mapping) else [str(name) for name in metadata if name not in _OBJECT_META]
    return [FieldError(path=f"metadata.{name}", message=f"unknown field; known are {', '.join(_OBJECT_META)}") for name in names]
