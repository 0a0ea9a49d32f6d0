"""The resource itself: `Search` is one AutoHASSearch as a person writes it, `parse` reads one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints, ValidationError
from pydantic.fields import FieldInfo

from autohas_api.base.fields import without_nulls
from autohas_api.base.kube_types import KEY_IS, LabelValue, is_annotation_key, is_label_key
from autohas_api.base.model import Model, Rule, field_value, walk
from autohas_api.base.names import API_VERSION, KIND, MAX_NAME_LENGTH
from autohas_api.base.scoring import METRICS, TaskKind
from autohas_api.base.spec_errors import Problem, SpecError, problems_of, shown
from autohas_api.spec.hyperparameters import KNOWN, Role
from autohas_api.spec.run import Algorithm, Budget, Checkpoint, Cleanup, FailurePolicy, Monitoring, Training
from autohas_api.spec.search_space import SearchSpace
from autohas_api.spec.task import Objective, Task
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
)
"""Fields of spec.trainer that may change while the search is at rest, suspended or rejected: what runs, where and as whom, none of which
the result depends on by intention. Its others, as above, may not.

All that the platform's lists judge is among them: a list that becomes stricter must leave a begun search a way to continue.
"""


_NO_REGRESSION: Final = "!has(self.objective) || !has(self.objective.metric) || !(self.objective.metric in ['rmse', 'mae'])"


class Metadata(Model):
    """What the contract reads of an object's metadata; Kubernetes' other fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)] = Field()
    namespace: Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)] = Field(default="default")
    uid: str = Field(default="")
    generation: int = Field(default=0)
    labels: dict[str, LabelValue] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(message=f"keys of labels must be {KEY_IS}", field_path=".labels", holds=lambda m: all(map(is_label_key, m.labels))),
        Rule(
            message=f"keys of annotations must be {KEY_IS}",
            field_path=".annotations",
            holds=lambda m: all(map(is_annotation_key, m.annotations)),
        ),
    )


_TRAINING: Final = tuple(name for name, known in KNOWN.items() if known.role is Role.TRAINING)
_UPDATE_RULE: Final = tuple(name for name, known in KNOWN.items() if known.role is Role.UPDATE_RULE)
"""Hyperparameters that a reward one step ahead can see; all others, own ones too, it cannot."""


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _searches_training_hyperparameters(spec: Spec) -> bool:
    return any(h.name not in _UPDATE_RULE for h in spec.search_space.hyperparameters)


def _has_entrypoint(spec: Spec) -> bool:
    return spec.task.data.entrypoint is not None or spec.task.model.entrypoint is not None


def _mixes_bases(spec: Spec) -> bool:
    ranges = [h.continuous for h in spec.search_space.hyperparameters if h.continuous is not None]
    return any(c.mixing == "TopK" or c.derive == "Expectation" for c in ranges)


def _learns_hyperparameters(spec: Spec) -> bool:
    knobs = spec.algorithm.auto_has
    return spec.algorithm.name == "AutoHAS" and knobs is not None and knobs.strategy != "Lanes"


def _smooths_labels(spec: Spec) -> bool:
    searched = any(h.name == "label_smoothing" for h in spec.search_space.hyperparameters)
    return searched or float(spec.task.recipe.label_smoothing) > 0


def _is_regression(spec: Spec) -> bool:
    return METRICS[spec.objective.metric].kind is TaskKind.REGRESSION


def _trains_every_candidate(spec: Spec) -> bool:
    """Whether hyperparameters are compared by trainings (lanes, trials), not by a reward one step ahead."""
    knobs = spec.algorithm.auto_has
    lanes = spec.algorithm.name == "AutoHAS" and (knobs is None or knobs.strategy == "Lanes")
    return lanes or spec.algorithm.name == "RandomSearch"


class Spec(Model):
    """What is asked for."""

    suspend: bool = Field(
        default=False,
        description="True: the trainer is stopped, its checkpoint kept, and no pod runs until this is false again. A search may start so.",
    )
    task: Task = Field(description="What is trained.")
    objective: Objective = Field(default_factory=Objective, description="What is better.")
    search_space: SearchSpace = Field(description="What varies.")
    algorithm: Algorithm = Field(default_factory=Algorithm, description="Which search.")
    budget: Budget = Field(default_factory=Budget, description="What the search may cost.")
    training: Training = Field(description="The final training of the winner.")
    trainer: Trainer = Field(default_factory=Trainer, description="The pod that trains; ignored on a laptop.")
    checkpoint: Checkpoint = Field(default_factory=Checkpoint, description="How often and where state is kept.")
    failure_policy: FailurePolicy = Field(default_factory=FailurePolicy, description="What failures may cost.")
    cleanup: Cleanup = Field(default_factory=Cleanup, description="What becomes of Job and pods after the end.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="What the trainer shows of itself.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="!has(self.searchSpace.hyperparameters)"
            f" || !self.searchSpace.hyperparameters.exists(h, !(h.name in [{_quoted(_UPDATE_RULE)}]))"
            " || (has(self.algorithm) && has(self.algorithm.name) && self.algorithm.name == 'RandomSearch')"
            " || ((!has(self.algorithm) || !has(self.algorithm.name) || self.algorithm.name == 'AutoHAS')"
            " && (!has(self.algorithm) || !has(self.algorithm.autoHAS) || !has(self.algorithm.autoHAS.strategy)"
            " || self.algorithm.autoHAS.strategy == 'Lanes'))",
            message=f"{', '.join(_TRAINING)} and own hyperparameters cannot be seen by a one-step reward:"
            " search them with algorithm AutoHAS, strategy Lanes, or with RandomSearch, or remove them",
            field_path=".searchSpace.hyperparameters",
            holds=lambda s: not _searches_training_hyperparameters(s) or _trains_every_candidate(s),
        ),
        Rule(
            expression="!has(self.searchSpace.hyperparameters)"
            " || !self.searchSpace.hyperparameters.exists(h, has(h.continuous)"
            " && (h.continuous.mixing == 'TopK' || (has(h.continuous.derive) && h.continuous.derive == 'Expectation')))"
            " || (has(self.algorithm) && self.algorithm.name == 'AutoHAS' && has(self.algorithm.autoHAS)"
            " && self.algorithm.autoHAS.strategy != 'Lanes')",
            message="mixing TopK and derive Expectation need a controller that learns hyperparameters: algorithm AutoHAS with strategy"
            " OneStep or Paired",
            field_path=".searchSpace.hyperparameters",
            holds=lambda s: not _mixes_bases(s) or _learns_hyperparameters(s),
        ),
        Rule(
            expression="has(self.task.data.entrypoint) || has(self.task.model.entrypoint) || !has(self.searchSpace.hyperparameters)"
            f" || self.searchSpace.hyperparameters.all(h, h.name in [{_quoted(KNOWN)}])",
            message=f"every name must be one of {', '.join(KNOWN)}; own names need own data or an own model (entrypoint)",
            field_path=".searchSpace.hyperparameters",
            holds=lambda s: _has_entrypoint(s) or all(h.name in KNOWN for h in s.search_space.hyperparameters),
        ),
        Rule(
            expression="(!has(self.task.data.entrypoint) && !has(self.task.model.entrypoint)) || !has(self.searchSpace.hyperparameters)"
            f" || self.searchSpace.hyperparameters.all(h, has(h.default) || h.name in [{_quoted(KNOWN)}])",
            message="an own hyperparameter needs a default: the recipe has none for it",
            field_path=".searchSpace.hyperparameters",
            holds=lambda s: not _has_entrypoint(s) or all(h.default is not None or h.name in KNOWN for h in s.search_space.hyperparameters),
        ),
        Rule(
            expression=f"{_NO_REGRESSION} || ((!has(self.task.recipe) || !has(self.task.recipe.labelSmoothing)"
            " || double(self.task.recipe.labelSmoothing) == 0.0) && (!has(self.searchSpace.hyperparameters)"
            " || !self.searchSpace.hyperparameters.exists(h, h.name == 'label_smoothing')))",
            message="labels can be smoothed only where there are classes: remove labelSmoothing and label_smoothing when the metric is"
            " rmse or mae",
            field_path=".task.recipe.labelSmoothing",
            holds=lambda s: not _is_regression(s) or not _smooths_labels(s),
        ),
        Rule(
            expression=f"{_NO_REGRESSION} || !has(self.task.data.name) || self.task.data.name == 'csv'",
            message="rmse and mae need a target that is a number, which of the built-in data only csv has:"
            " use accuracy, f1, auc or log_loss",
            field_path=".objective.metric",
            holds=lambda s: not _is_regression(s) or s.task.data.name in (None, "csv"),
        ),
        Rule(
            expression=f"{_NO_REGRESSION} || !has(self.task.recipe) || !has(self.task.recipe.classWeights)"
            " || self.task.recipe.classWeights == 'Uniform'",
            message="classWeights must be Uniform when the metric is rmse or mae: there are no classes",
            field_path=".task.recipe.classWeights",
            holds=lambda s: not _is_regression(s) or s.task.recipe.class_weights == "Uniform",
        ),
    )


class Search(Model):
    """One AutoHASSearch: what a person writes, without status."""

    model_config = ConfigDict(extra="forbid")

    api_version: Literal["autohas.dev/v1alpha1"]
    kind: Literal["AutoHASSearch"]
    metadata: Metadata
    spec: Spec

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression=f"self.metadata.name.matches('{NAME_PATTERN}') && self.metadata.name.size() <= {MAX_NAME_LENGTH}",
            message=f"metadata.name must be a DNS label of at most {MAX_NAME_LENGTH} characters",
            blamed="metadata.name",
            telling=lambda s: (
                f"Invalid value: {shown(s.metadata.name)}: must be a DNS label of at most {MAX_NAME_LENGTH} characters:"
                " lower-case letters, digits and -, a letter or digit at both ends"
            ),
            field_path=".metadata.name",
            holds=lambda s: re.fullmatch(NAME_PATTERN, s.metadata.name) is not None and len(s.metadata.name) <= MAX_NAME_LENGTH,
        ),
    )


def transition_rules() -> tuple[tuple[str, str, str], ...]:
    """CEL rules on the root that compare old and new: (expression, message, field path)."""
    frozen = "must not change once the search has started; create a new search instead"
    fixed = [alias for name, field in Trainer.model_fields.items() if (alias := field.alias or name) not in MUTABLE_WHILE_SUSPENDED]
    unchanged = " && ".join(_unchanged("spec.trainer", name) for name in fixed)
    is_suspended = "has(oldSelf.spec.suspend) && oldSelf.spec.suspend && oldSelf.status.phase == 'Suspended'"
    at_rest = f"(has(oldSelf.status.phase) && (oldSelf.status.phase == 'Rejected' || ({is_suspended})))"
    return (
        *((_once_started(_unchanged("spec", name)), f"{name} {frozen}", f".spec.{name}") for name in IMMUTABLE_ONCE_STARTED),
        (_once_started(f"has(self.spec.trainer) && has(oldSelf.spec.trainer) && {unchanged}"), f"trainer {frozen}", ".spec.trainer"),
        *(
            (
                _once_started(f"{at_rest} || {_unchanged('spec.trainer', name)}"),
                f"{name} must not change while the search runs: set spec.suspend to true and wait for the phase Suspended",
                f".spec.trainer.{name}",
            )
            for name in MUTABLE_WHILE_SUSPENDED
        ),
    )


def _once_started(expression: str) -> str:
    return f"!has(oldSelf.status) || !has(oldSelf.status.attempt) || ({expression})"


def _unchanged(parent: str, name: str) -> str:
    """Equal, or absent in both; a required field cannot be asked whether it is there."""
    new, old = f"self.{parent}.{name}", f"oldSelf.{parent}.{name}"
    if (parent, name) in (("spec", "task"), ("spec", "searchSpace"), ("spec", "training")):
        return f"{new} == {old}"
    return f"(has({new}) == has({old}) && (!has({new}) || {new} == {old}))"


def broken_rules(model: Model, path: str = "") -> tuple[Problem, ...]:
    """Rules that do not hold anywhere inside `model`, outermost first."""
    found = []
    for inner, inner_path in walk(model, path):
        for rule in inner.rules:
            if not rule.holds(inner):
                blamed = f"{inner_path}{rule.field_path or rule.blamed}".lstrip(".")
                found.append(Problem(path=blamed, message=_with_value(rule, inner)))
        found += _duplicates(inner, inner_path)
    return tuple(found)


def _with_value(rule: Rule, model: Model) -> str:
    """The message of a broken rule after the blamed value, where that is a scalar; a message with a value of its own stands alone."""
    value: Any = model
    for part in rule.field_path.split(".")[1:]:
        value = field_value(value, part)
    is_shown = rule.telling is None and isinstance(value, str | int | float)
    return f"Invalid value: {shown(value)}: {rule.message}" if is_shown else rule.says(model)


def _duplicates(model: Model, path: str) -> list[Problem]:
    """Items of a set, or of a list with keys, that an earlier one equals, as the API server words it."""
    found = []
    for name, alias, keys in _keyed_lists(type(model)):
        seen: set[str] = set()
        for index, item in enumerate(getattr(model, name) or []):
            value = {key: item.to_json().get(key) for key in keys} if isinstance(item, Model) else item
            identity = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
            if identity in seen:
                message = f"Duplicate value: {identity}"
                found.append(Problem(path=f"{path}.{alias}[{index}]".lstrip("."), message=message))
            seen.add(identity)
    return found


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
    return next((found for inner in inside if (found := _identity_of(inner)) is not None), None)


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
    wanted = {key: value for key, value in without_nulls(document, Search).items() if key != "status"}
    missing = [
        Problem(path=key, message=f"Required value: must be {value!r}".replace("'", '"'))
        for key, value in (("apiVersion", API_VERSION), ("kind", KIND))
        if key not in wanted
    ]
    if missing:
        raise SpecError(missing)
    unknown = _unknown_metadata(wanted.get("metadata"))
    try:
        search = Search.model_validate(wanted)
    except ValidationError as error:
        raise SpecError([*unknown, *problems_of(error, Search)]) from error
    if unknown:
        raise SpecError(unknown)
    return search


def _unknown_metadata(metadata: Any) -> list[Problem]:  # noqa: ANN401 - any JSON value
    """Fields that Kubernetes' metadata does not have."""
    names = [] if not isinstance(metadata, Mapping) else [str(name) for name in metadata if name not in _OBJECT_META]
    return [Problem(path=f"metadata.{name}", message=f"unknown field; known are {', '.join(_OBJECT_META)}") for name in names]
