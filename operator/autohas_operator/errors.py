"""The operator's errors, named by the reaction to them, and the one function that maps an error to its reaction.

OperatorError
├── ApiError                 the API server refused a request
│   ├── NotFoundError        the object is gone
│   ├── ConflictError        another writer was faster; read again
│   ├── InvalidError         the API server rejects the object as invalid
│   └── ForbiddenError       RBAC, a quota or an admission policy
├── UnreachableError         no answer from the API server in time
├── WaitError                an object is not ready yet; requeue after `delay_s`
├── NameTakenError           an object with our name has another owner
└── StatusUnreadableError    the status does not fit this version's model: the operator changes nothing

kopf swallows the errors of its handlers, so no handler raises one of these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from autohas_api.wire.reasons import Reason
from autohas_operator.hints import add_hint, explain_refusal


class OperatorError(Exception):
    """Base class of all errors that the operator expects."""


class ApiError(OperatorError):
    """The API server answered with HTTP `status`; `message` is the sentence of the API server."""

    def __init__(self, *, status: int, message: str, request: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{request}: {status}: {message}")
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


class NotFoundError(ApiError):
    """404."""


class ConflictError(ApiError):
    """409: the object exists already, is being deleted, or has changed since it was read."""


class InvalidError(ApiError):
    """400 or 422."""


class ForbiddenError(ApiError):
    """403."""


class UnreachableError(OperatorError):
    """There was no connection, or no answer in time."""


class WaitError(OperatorError):
    """An object is not ready yet, for example one that is still being deleted."""

    def __init__(self, message: str, *, delay_s: float) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class NameTakenError(OperatorError):
    """The name of a child belongs to an object of another owner; the operator never adopts an object by its name alone."""


class StatusUnreadableError(OperatorError):
    """The stored status does not fit the model; acting on a guess could repeat a finished search."""


class Blamed(StrEnum):
    """The part of the search that a blocker concerns; decides which condition shows it."""

    SPEC = "Spec"
    TRAINER = "Trainer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """An error that the conditions of the search show, because a person must act."""

    blamed: Blamed
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """The reaction to an error.

    A condition shows `blocker`; `delay_s` is the least delay of the next try (None: back-off only); an error with `is_noise` is not logged.
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
    """The blocker of a refused action, if a person must see it; only a refused creation of a Job concerns the spec."""
    if isinstance(error, InvalidError) and not is_create:
        return _forbidden_job(error)
    return reaction_to(error).blocker


def blocker_to_creating(error: OperatorError) -> Blocker | None:
    """The blocker of a failed creation that the operator retries.

    A Job that has not been created for hours must not look like one that is about to be. A lost connection and status 429 concern the
    API server, not this search: they give no blocker.
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
"""Part of the messages of RBAC; those of quotas and admission policies do not match."""


def _forbidden(error: ForbiddenError) -> Blocker:
    """A missing right is for the person who runs the operator; a quota or policy is for the author of the search."""
    missing = _NO_RIGHT.search(error.message)
    if missing is None:
        return _forbidden_job(error)
    message = f"the operator may not {missing[1]} {missing[2]}; grant it, as the chart does, to its service account. {error.message}"
    return Blocker(blamed=Blamed.TRAINER, reason=Reason.OPERATOR_FORBIDDEN, message=message)


def _forbidden_job(error: ApiError) -> Blocker:
    """The blocker of a Job that a quota, a policy or the deletion of the namespace forbids."""
    reason, message = explain_refusal(Reason.JOB_FORBIDDEN, error.message)
    return Blocker(blamed=Blamed.TRAINER, reason=reason, message=message)


def api_error(*, status: int, message: str, request: str, retry_after_s: float | None = None) -> ApiError:
    """The error class for an HTTP status."""
    kinds: dict[int, type[ApiError]] = {
        400: InvalidError,
        403: ForbiddenError,
        404: NotFoundError,
        409: ConflictError,
        422: InvalidError,
    }
    kind = kinds.get(status, ApiError)
    return kind(status=status, message=message, request=request, retry_after_s=retry_after_s)
