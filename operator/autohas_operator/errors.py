"""What can go wrong, named by the reaction wanted, and the one place that maps it to one.

OperatorError
├── ApiError                 the API server refused a request
│   ├── NotFoundError        the object is gone
│   ├── ConflictError        somebody was faster; read again
│   ├── InvalidError         the object as we made it is not acceptable
│   └── ForbiddenError       rights, a quota or an admission policy
├── UnreachableError         no answer from the API server in time
├── WaitError                the world is not ready; look again after `delay_s`
├── NameTakenError           an object with our name belongs to somebody else
└── StatusUnreadableError    status is not what this version writes: hands off

kopf drops what its handlers raise, so nothing here is ever raised inside a handler.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from autohas_api.wire.reasons import Reason
from autohas_operator.hints import add_hint, explain_refusal


class OperatorError(Exception):
    """Base of everything that the operator expects to happen."""


class ApiError(OperatorError):
    """The API server answered with `status`; `message` is its own sentence."""

    def __init__(self, *, status: int, message: str, request: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{request}: {status}: {message}")
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


class NotFoundError(ApiError):
    """404."""


class ConflictError(ApiError):
    """409: exists already, is being deleted, or changed since it was read."""


class InvalidError(ApiError):
    """400 or 422."""


class ForbiddenError(ApiError):
    """403."""


class UnreachableError(OperatorError):
    """No connection or no answer in time."""


class WaitError(OperatorError):
    """Nothing is wrong, but it is too early."""

    def __init__(self, message: str, *, delay_s: float) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class NameTakenError(OperatorError):
    """A child's name is taken by an object that is not ours; never adopted by name alone."""


class StatusUnreadableError(OperatorError):
    """The status in the cluster does not fit the model; acting on a guess could repeat a finished search."""


class Blamed(StrEnum):
    """Which condition shows a blocker."""

    SPEC = "Spec"
    TRAINER = "Trainer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """An error that a person must see in the search's conditions."""

    blamed: Blamed
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What follows from an error.

    `blocker` is shown in a condition; `delay_s` None means exponential back-off; `is_noise` means not worth a log line.
    """

    blocker: Blocker | None = None
    delay_s: float | None = None
    is_noise: bool = False
    is_bug: bool = False


def reaction_to(error: Exception) -> Reaction:  # noqa: PLR0911 - one return per kind of error
    """The one mapping from errors to requeue, condition and log."""
    match error:
        case InvalidError():
            _, message = explain_refusal(Reason.TEMPLATE_REJECTED, error.message)
            return Reaction(blocker=Blocker(blamed=Blamed.SPEC, reason=Reason.TEMPLATE_REJECTED, message=message))
        case ForbiddenError():
            return Reaction(blocker=_forbidden(error))
        case NameTakenError():
            return Reaction(blocker=Blocker(blamed=Blamed.TRAINER, reason=Reason.NAME_CONFLICT, message=str(error)))
        case WaitError():
            return Reaction(delay_s=error.delay_s, is_noise=True)
        case ConflictError() | NotFoundError():
            return Reaction(is_noise=True)
        case ApiError():
            return Reaction(delay_s=error.retry_after_s)
        case OperatorError():
            return Reaction()
        case _:
            return Reaction(is_bug=True)


def refusal(error: OperatorError, *, is_create: bool) -> Blocker | None:
    """What a person must see of a refused action; only the creation of a Job can say anything about the spec."""
    if isinstance(error, InvalidError) and not is_create:
        return _forbidden_job(error)
    return reaction_to(error).blocker


def blocker_to_creating(error: OperatorError) -> Blocker | None:
    """What a person must see of an error that only asks for another try.

    A Job that is not made for hours must not look like one that is about to be. A lost connection and a full queue (429) say
    nothing about this search.
    """
    match error:
        case ConflictError() | ApiError(status=429):
            return None
        case ApiError():
            message = add_hint(Reason.JOB_NOT_CREATED, f"the API server answered {error.status}: {error.message}")
            return Blocker(blamed=Blamed.TRAINER, reason=Reason.JOB_NOT_CREATED, message=message)
        case WaitError():
            return Blocker(
                blamed=Blamed.TRAINER, reason=Reason.NAME_STILL_TERMINATING, message=add_hint(Reason.NAME_STILL_TERMINATING, str(error))
            )
        case _:
            return None


_NO_RIGHT: Final = re.compile(r"cannot (\w+) resource \"([\w/]+)\"")
"""The words of the API server's authorization; quotas and admission policies have others."""


def _forbidden(error: ForbiddenError) -> Blocker:
    """Rights that the operator lacks are for whoever runs it; what a policy forbids is for the author of the search."""
    missing = _NO_RIGHT.search(error.message)
    if missing is None:
        return _forbidden_job(error)
    message = f"the operator may not {missing[1]} {missing[2]}; grant it, as the chart does, to its service account. {error.message}"
    return Blocker(blamed=Blamed.TRAINER, reason=Reason.OPERATOR_FORBIDDEN, message=message)


def _forbidden_job(error: ApiError) -> Blocker:
    """What a quota, a policy or the namespace's own end forbids."""
    reason, message = explain_refusal(Reason.JOB_FORBIDDEN, error.message)
    return Blocker(blamed=Blamed.TRAINER, reason=reason, message=message)


def api_error(*, status: int, message: str, request: str, retry_after_s: float | None = None) -> ApiError:
    """The error for one HTTP status."""
    kinds: dict[int, type[ApiError]] = {
        400: InvalidError,
        403: ForbiddenError,
        404: NotFoundError,
        409: ConflictError,
        422: InvalidError,
    }
    kind = kinds.get(status, ApiError)
    return kind(status=status, message=message, request=request, retry_after_s=retry_after_s)
