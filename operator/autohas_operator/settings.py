"""Every setting of the operator: meaning, unit, default, and the reason for the default.

The process reads them once, from the environment (`AUTOHAS_TRAINER_IMAGE`) and from flags (`--trainer-image`), which win. The
chart sets environment variables. This module knows no kopf, and of Kubernetes only the types of `spec.trainer`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from autohas_api.base.spec_errors import field_errors_of
from autohas_api.spec.search import broken_rules
from autohas_operator.errors import OperatorError
from autohas_operator.trainer_defaults import NO_DEFAULTS, TrainerDefaults

PREFIX: Final = "AUTOHAS_"
_BAD_INPUT: Final = "Input should be "
"""How pydantic's messages about a wrong value begin."""
_BOUND_ERRORS: Final = ("greater_than_equal", "less_than_equal")
_EXAMPLE: Final = '{"nodeSelector": {"pool": "training"}}'
_MAX_ID: Final = 2_147_483_647
"""Of a user or group: Kubernetes refuses pods with a greater one."""
_MAX_COUNT: Final = 10_000
"""Of workers and connections: each takes memory from the start, and one more digit is a slip of the finger."""


class SettingError(OperatorError):
    """A setting is invalid; the message names the variable or the flag, the value and what is allowed."""


def _split_at_commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _read_bool(value: object) -> object:
    """Only `true` and `false`: pydantic also takes yes, no, on, off, 1 and 0."""
    if not isinstance(value, str):
        return value
    if value.strip().lower() not in ("true", "false"):
        raise PydanticCustomError("bool_text", "Input should be true or false")
    return value.strip().lower() == "true"


def _read_empty_as_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _read_text(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise PydanticCustomError("empty_text", "Input should be a text that is not empty")
    return value


def _read_defaults(value: object) -> object:
    """Fields of `spec.trainer` from JSON, judged as those of a search; the message lists all problems."""
    if not isinstance(value, str):
        return value
    try:
        defaults = TrainerDefaults.model_validate_json(value or "{}")
    except ValidationError as error:
        if not error.errors()[0]["loc"]:  # of the whole text
            raise PydanticCustomError("no_object", "Input should be a JSON object, as {example}", {"example": _EXAMPLE}) from error
        problems = field_errors_of(error, TrainerDefaults)
    else:
        problems = broken_rules(defaults)
        if not problems:
            return defaults
    raise PydanticCustomError("trainer_defaults", "{problems}", {"problems": "; ".join(map(str, problems))})


Text = Annotated[str, BeforeValidator(_read_text)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split_at_commas)]
"""Several names, separated by commas."""
Bool = Annotated[bool, BeforeValidator(_read_bool)]
Id = Annotated[Annotated[int, Field(ge=1, le=_MAX_ID)] | None, BeforeValidator(_read_empty_as_none)]
"""A numeric user or group; empty: none."""
Count = Annotated[int, Field(ge=1, le=_MAX_COUNT)]
Seconds = Annotated[float, Field(ge=0.1, allow_inf_nan=False)]
PerSecond = Annotated[float, Field(ge=0.1, allow_inf_nan=False)]
Burst = Annotated[float, Field(ge=1, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """The settings that shape trainer pods."""

    image: str
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    run_as_user: int | None
    fs_group: int | None
    service_accounts: tuple[str, ...] = ()
    allowed_images: tuple[str, ...] = ()
    csi_drivers: tuple[str, ...] = ()
    priority_classes: tuple[str, ...] = ()
    runtime_classes: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    injected_mounts: tuple[str, ...] = ()
    defaults: TrainerDefaults = NO_DEFAULTS


class Settings(BaseModel):
    """All settings. The environment, the flags and the chart have them flat, so this model has them flat as well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kubeconfig: str = Field(default="", description="File with the API server's address and credentials. Empty: the pod's service account.")
    namespaces: Names = Field(
        default=(), description="Namespaces to serve, separated by commas. Empty: all, which needs a ClusterRoleBinding."
    )
    identity: Text = Field(
        default="autohas-operator",
        description="Name in the Leases of the namespaces served: the same after a restart, another one for each release.",
    )
    trainer_image: Text = Field(default="autohas-trainer:0.1.0", description="Image of the trainer for searches that name none.")
    trainer_image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="Pull policy of the trainer: Always, IfNotPresent or Never."
    )
    trainer_image_pull_secrets: Names = Field(
        default=(), description="Pull secrets of trainer pods, which must be in the namespace of the search."
    )
    trainer_run_as_user: Id = Field(
        default=65532, description="Numeric user and group of trainer pods. Empty: the cluster assigns one (OpenShift)."
    )
    trainer_fs_group: Id = Field(default=65532, description="Group that owns the files of a claim. Empty: the cluster assigns one.")
    trainer_service_accounts: Names = Field(
        default=(),
        description="Service accounts that searches may name. Kubernetes does not check whether the author of a search may use them.",
    )
    trainer_allowed_images: Names = Field(
        default=(), description="Prefixes, one of which an image that a search names must have. Empty: any image."
    )
    trainer_csi_drivers: Names = Field(
        default=(),
        description="CSI drivers whose inline volumes searches may name. Kubernetes does not check whether the author of a search may.",
    )
    trainer_priority_classes: Names = Field(
        default=(), description="Priority classes that searches may name, never system-*. Empty: any class."
    )
    trainer_runtime_classes: Names = Field(default=(), description="Runtime classes that searches may name. Empty: any class.")
    trainer_schedulers: Names = Field(default=(), description="Schedulers that searches may name. Empty: any scheduler.")
    trainer_injected_mounts: Names = Field(
        default=(),
        description="Folders where webhooks may mount volumes in trainer containers. Tokens under /var/run/secrets are always allowed.",
    )
    trainer_defaults: Annotated[TrainerDefaults, BeforeValidator(_read_defaults)] = Field(
        default=NO_DEFAULTS,
        description="Fields of spec.trainer for searches without them, as JSON: resources, nodeSelector, tolerations and the class names.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log line that is written: debug, info, warning or error."
    )
    listen_address: str = Field(
        default="0.0.0.0",  # noqa: S104 - probes and Prometheus connect from outside the pod
        description="Address of /healthz, /readyz and /metrics.",
    )
    listen_port: int = Field(default=8080, ge=0, le=65535, description="TCP port of /healthz, /readyz and /metrics. 0: any free port.")
    per_search_metrics: Bool = Field(
        default=True,
        description="Export phase and conditions of every search; false spares Prometheus beyond some thousand searches.",
    )
    workers: Count = Field(
        default=20, description="Searches reconciled at the same time. 20 workers stay within the limit of writes per second."
    )
    writes_per_second: PerSecond = Field(
        default=20.0, description="Writes to the API server, long-term mean. 20 is far below what API priority and fairness grants."
    )
    writes_burst: Burst = Field(default=40.0, description="Writes that may follow each other without a pause.")
    events_per_second: PerSecond = Field(
        default=5.0, description="Events posted, long-term mean. A quarter of the writes: Jobs and statuses come first."
    )
    events_burst: Burst = Field(default=100.0, description="Events that may follow each other without a pause.")
    request_timeout_s: Seconds = Field(default=30.0, description="Timeout of a request to the API server, in seconds.")
    resync_period_s: Seconds = Field(
        default=600.0, description="Seconds in which the operator reconciles every search once even when nothing has changed."
    )
    poll_period_s: Seconds = Field(
        default=15.0, description="Seconds between two reads of a trainer's progress; longer when there are many trainers."
    )
    poll_timeout_s: Seconds = Field(default=2.0, description="Seconds for one whole read of /progress, however slowly it arrives.")
    poll_concurrency: Count = Field(default=50, description="Reads of /progress at the same time.")

    @property
    def pods(self) -> PodSettings:
        """The settings that shape trainer pods."""
        return PodSettings(
            image=self.trainer_image,
            image_pull_policy=self.trainer_image_pull_policy,
            image_pull_secrets=self.trainer_image_pull_secrets,
            run_as_user=self.trainer_run_as_user,
            fs_group=self.trainer_fs_group,
            service_accounts=self.trainer_service_accounts,
            allowed_images=self.trainer_allowed_images,
            csi_drivers=self.trainer_csi_drivers,
            priority_classes=self.trainer_priority_classes,
            runtime_classes=self.trainer_runtime_classes,
            schedulers=self.trainer_schedulers,
            injected_mounts=self.trainer_injected_mounts,
            defaults=self.trainer_defaults,
        )


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """The settings of this process.

    Raises:
        SettingError: a value has the wrong type or is out of its bounds.
    """
    flags = {name: text for name, text in vars(_parser().parse_args(arguments)).items() if text is not None}
    variables = {name: environment[_variable(name)] for name in Settings.model_fields if _variable(name) in environment}
    try:
        return Settings.model_validate(variables | flags)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise SettingError("; ".join(_explain(problem, from_flag=str(problem["loc"][0]) in flags) for problem in problems)) from error


def _parser() -> argparse.ArgumentParser:
    """One flag for each setting; argparse passes texts on, and pydantic converts and judges them."""
    parser = argparse.ArgumentParser(
        prog="python -m autohas_operator", description="Operator of AutoHASSearch resources.", allow_abbrev=False
    )
    for name, field in Settings.model_fields.items():
        help_text = f"{field.description} [{_variable(name)}, default {_default_text(field.default)}]"
        parser.add_argument(_flag(name), help=help_text.replace("%", "%%"))
    return parser


def _default_text(default: object) -> str:
    """A default as a variable or flag would give it."""
    if isinstance(default, BaseModel):
        return default.model_dump_json(exclude_none=True)
    if default is None or default in ((), ""):
        return "empty"
    return str(default).lower() if isinstance(default, bool) else str(default)


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _explain(problem: ErrorDetails, *, from_flag: bool) -> str:
    """Variable or flag, value, and what is allowed."""
    name = str(problem["loc"][0])
    source = _flag(name) if from_flag else _variable(name)
    if problem["type"] in _BOUND_ERRORS:
        return f'{source} is "{problem["input"]}" and must be {_describe_bounds(name, problem["ctx"])}'
    if problem["msg"].startswith(_BAD_INPUT):
        allowed, _, _ = problem["msg"].removeprefix(_BAD_INPUT).partition(", unable to parse")
        return f'{source} is "{problem["input"]}" and must be {allowed}'
    return f"{source}: {problem['msg']}"


def _describe_bounds(name: str, broken: Mapping[str, Any]) -> str:
    """Every bound of a number: pydantic names the broken one only, and a field may have both."""
    bounds: dict[str, Any] = {
        key: getattr(part, key) for part in Settings.model_fields[name].metadata for key in ("ge", "le") if hasattr(part, key)
    }
    texts = {key: f"{bound:g}" if isinstance(bound, float) else str(bound) for key, bound in {**bounds, **broken}.items()}
    if len(texts) > 1:
        return f"from {texts['ge']} to {texts['le']}"
    return f"at least {texts['ge']}" if "ge" in texts else f"at most {texts['le']}"
