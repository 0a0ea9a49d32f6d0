"""Every setting of the operator: meaning, unit, default, and why that default.

Read once from the environment (`AUTOHAS_TRAINER_IMAGE`) or from flags (`--trainer-image`), which win. The chart sets
the former. Knows nothing of kopf; of Kubernetes only what `spec.trainer` knows.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final

from pydantic import ValidationError

from autohas_api.base.spec_errors import problems_of
from autohas_api.spec.search import broken_rules
from autohas_operator.errors import OperatorError
from autohas_operator.trainer_defaults import NO_DEFAULTS, TrainerDefaults

PREFIX: Final = "AUTOHAS_"
_LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")


class SettingError(OperatorError):
    """A setting cannot be read; the text names it and says what is allowed."""


def _setting(default: Any, help: str, **bounds: Any) -> Any:  # noqa: A002, ANN401 - argparse's word; a dataclass field stands for any type
    """A field; `bounds` are `least`, `most` of a number or `choices` of a text."""
    return field(default=default, metadata={"help": help, **bounds})


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """What the chart decides about trainer pods."""

    image: str
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    run_as_user: int | None
    fs_group: int | None
    service_accounts: tuple[str, ...] = ()
    allowed_images: tuple[str, ...] = ()
    priority_classes: tuple[str, ...] = ()
    runtime_classes: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    injected_mounts: tuple[str, ...] = ()
    defaults: TrainerDefaults = NO_DEFAULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, flat, as environment and flags have them."""

    kubeconfig: str = _setting("", "File with the API server's address and credentials. Empty: the pod's service account.")
    namespaces: tuple[str, ...] = _setting((), "Namespaces to serve, separated by commas. Empty: all, which needs a ClusterRoleBinding.")
    identity: str = _setting(
        "autohas-operator",
        "Name in the Leases of the namespaces served: the same after a restart, another for each release.",
    )
    trainer_image: str = _setting("autohas-trainer:0.1.0", "Image of the trainer for searches that name none.")
    trainer_image_pull_policy: str = _setting(
        "IfNotPresent", "Pull policy of the trainer: Always, IfNotPresent or Never.", choices=_PULL_POLICIES
    )
    trainer_image_pull_secrets: tuple[str, ...] = _setting((), "Pull secrets of trainer pods, which must be in the search's namespace.")
    trainer_run_as_user: int | None = _setting(
        65532, "Numeric user and group of trainer pods. Empty: the cluster assigns one (OpenShift).", least=1
    )
    trainer_fs_group: int | None = _setting(65532, "Group that owns the files of a claim. Empty: the cluster assigns one.", least=1)
    trainer_service_accounts: tuple[str, ...] = _setting(
        (),
        "Service accounts that searches may name. Kubernetes does not ask whether the author of a search may use them.",
    )
    trainer_allowed_images: tuple[str, ...] = _setting((), "What the images that searches name must begin with. Empty: any image.")
    trainer_priority_classes: tuple[str, ...] = _setting((), "Priority classes that searches may name, never system-*. Empty: any.")
    trainer_runtime_classes: tuple[str, ...] = _setting((), "Runtime classes that searches may name. Empty: any.")
    trainer_schedulers: tuple[str, ...] = _setting((), "Schedulers that searches may name. Empty: any.")
    trainer_injected_mounts: tuple[str, ...] = _setting(
        (), "Folders where webhooks may mount something in trainer containers. Tokens under /var/run/secrets are allowed without it."
    )
    trainer_defaults: TrainerDefaults = _setting(  # noqa: RUF009 - frozen, which ruff does not see
        NO_DEFAULTS, "Fields of spec.trainer for searches without them, as JSON: resources, nodeSelector, tolerations and the class names."
    )
    log_level: str = _setting("info", "Least severe log line written: debug, info, warning or error.", choices=_LOG_LEVELS)
    listen_address: str = _setting("0.0.0.0", "Address of /healthz, /readyz and /metrics.")  # noqa: S104 - probes come from outside
    listen_port: int = _setting(8080, "TCP port of /healthz, /readyz and /metrics. 0: any free one.", least=0, most=65535)
    per_search_metrics: bool = _setting(
        True,  # noqa: FBT003 - the default
        "Export phase and conditions of every search; switch off beyond some thousand searches to spare Prometheus.",
    )
    workers: int = _setting(20, "Searches reconciled at the same time. 20 keeps the write rate below busy.", least=1)
    writes_per_second: float = _setting(
        20.0, "Writes to the API server, long-term mean. 20 is far below what API priority and fairness grants.", least=0.1
    )
    writes_burst: float = _setting(40.0, "Writes that may follow each other without a pause.", least=1)
    events_per_second: float = _setting(
        5.0,
        "Events posted, long-term mean. A quarter of the writes: Jobs and statuses come first.",
        least=0.1,
    )
    events_burst: float = _setting(100.0, "Events that may follow each other without a pause.", least=1)
    request_timeout_s: float = _setting(30.0, "Seconds after which a request to the API server counts as lost.", least=0.1)
    resync_period_s: float = _setting(600.0, "Seconds in which every search is looked at once even when nothing happened.", least=0.1)
    poll_period_s: float = _setting(
        15.0, "Seconds between two reads of a trainer's progress; longer when there are many trainers.", least=0.1
    )
    poll_timeout_s: float = _setting(2.0, "Seconds for one whole read of /progress, however slowly it drips.", least=0.1)
    poll_concurrency: int = _setting(50, "Reads of /progress at the same time.", least=1)

    @property
    def pods(self) -> PodSettings:
        """The part that manifests are made of."""
        return PodSettings(
            image=self.trainer_image,
            image_pull_policy=self.trainer_image_pull_policy,
            image_pull_secrets=self.trainer_image_pull_secrets,
            run_as_user=self.trainer_run_as_user,
            fs_group=self.trainer_fs_group,
            service_accounts=self.trainer_service_accounts,
            allowed_images=self.trainer_allowed_images,
            priority_classes=self.trainer_priority_classes,
            runtime_classes=self.trainer_runtime_classes,
            schedulers=self.trainer_schedulers,
            injected_mounts=self.trainer_injected_mounts,
            defaults=self.trainer_defaults,
        )


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Settings of this process.

    Raises:
        SettingError: a value is not of its setting's type, or out of its bounds.
    """
    parser = argparse.ArgumentParser(prog="python -m autohas_operator", description="Operator of AutoHASSearch resources.")
    for setting in fields(Settings):
        help_text = f"{setting.metadata['help']} [{_variable(setting)}, default {setting.default!r}]"
        parser.add_argument(f"--{setting.name.replace('_', '-')}", help=help_text.replace("%", "%%"))
    given = vars(parser.parse_args(arguments))
    values = {}
    for setting in fields(Settings):
        text = given[setting.name] if given[setting.name] is not None else environment.get(_variable(setting))
        if text is not None:
            values[setting.name] = _parsed(setting, text)
    return Settings(**values)


def _variable(setting: Field[Any]) -> str:
    return PREFIX + setting.name.upper()


def _parsed(setting: Field[Any], text: str) -> Any:  # noqa: ANN401 - the setting's type
    """The value that `text` means; the type is written in the annotation, the bounds beside the default."""
    kind = str(setting.type)
    try:
        value = _typed(kind, text)
    except ValidationError as error:
        wrong = "; ".join(str(problem) for problem in problems_of(error, TrainerDefaults))
        raise SettingError(f"{_variable(setting)}: {wrong}") from error
    except (ValueError, KeyError) as error:
        allowed = "true or false" if kind == "bool" else f"of type {kind}"
        raise SettingError(f'{_variable(setting)} is "{text}" and must be {allowed}') from error
    if isinstance(value, TrainerDefaults) and (broken := broken_rules(value)):
        raise SettingError(f"{_variable(setting)}: {'; '.join(map(str, broken))}")
    if (allowed_bounds := _broken_bounds(setting, value)) is not None:
        raise SettingError(f'{_variable(setting)} is "{text}" and must be {allowed_bounds}')
    return value


def _typed(kind: str, text: str) -> Any:  # noqa: ANN401 - as above
    if kind == "int | None":
        return int(text) if text.strip() else None
    if kind == "tuple[str, ...]":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind == "bool":
        return {"true": True, "false": False}[text.strip().lower()]
    if kind == "TrainerDefaults":
        return TrainerDefaults.model_validate_json(text or "{}")
    return {"int": int, "float": float, "str": str}[kind](text)


def _broken_bounds(setting: Field[Any], value: Any) -> str | None:  # noqa: ANN401 - as above
    """What is allowed, when `value` is not."""
    choices, least, most = (setting.metadata.get(name) for name in ("choices", "least", "most"))
    if choices is not None and value not in choices:
        return f"one of {', '.join(choices)}"
    if value is None or least is None or (least <= value <= (most if most is not None else math.inf) and math.isfinite(value)):
        return None
    return f"at least {least}" + (f" and at most {most}" if most is not None else "")
