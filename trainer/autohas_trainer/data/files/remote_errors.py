"""What a store's refusal means and what a person can do: one sentence for each, by the codes that S3 and its kin send."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from autohas_trainer.errors import DataError, TrainerError, UnreachableError

__all__ = ["explain_store_errors", "missing_credentials"]

_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_RIGHTS: Final = "the credentials give no right to it; they need s3:GetObject on the objects, and s3:ListBucket on the bucket for a folder"
_REGION: Final = "the bucket lies in another region; set AWS_REGION to it"
_EXPIRED: Final = "the session token is not valid any more; set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN again"
_SENTENCES: Final = {
    "NoSuchBucket": "there is no such bucket; correct task.data.path, or the endpoint in AWS_ENDPOINT_URL",
    "InvalidBucketName": "the name of the bucket is not valid; correct task.data.path",
    "NoSuchKey": "there is no such object, and no object below it; correct task.data.path",
    "InvalidAccessKeyId": "the access key is not known there; correct AWS_ACCESS_KEY_ID (in a pod: the Secret that spec.trainer.env names)",
    "SignatureDoesNotMatch": "the secret key is wrong; correct AWS_SECRET_ACCESS_KEY (in a pod: the Secret that spec.trainer.env names)",
    "AccessDenied": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "ExpiredToken": _EXPIRED,
    "InvalidToken": _EXPIRED,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "RequestTimeTooSkewed": "this machine's clock differs from the store's by minutes; set it",
    "InvalidObjectState": "the object is archived; restore it first",
    "SlowDown": "the store asks for fewer requests; start again later",
}
_BY_STATUS: Final = ((" 401 ", _RIGHTS), (" 403 ", _RIGHTS), (" 301 ", _REGION))
_BY_TYPE: Final = {
    "NotFoundError": _SENTENCES["NoSuchKey"],
    "FileNotFoundError": _SENTENCES["NoSuchKey"],
    "EntryNotFoundError": _SENTENCES["NoSuchKey"],
    "RepositoryNotFoundError": "there is no such repository, or it is private: correct task.data.path, or set HF_TOKEN",
    "GatedRepoError": "the repository asks for consent: give it on its page, and set HF_TOKEN",
    "PermissionDeniedError": _RIGHTS,
    "UnauthenticatedError": _RIGHTS,
    "PermissionError": _RIGHTS,
}
_UNREACHABLE: Final = re.compile(
    r"error sending request|dns error|[Cc]onnect(ion)? ?(refused|reset|error|failed|timed out)|timed out|Temporary failure|Name or service"
)
_SOURCES: Final = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
    "AWS_SKIP_SIGNATURE",
)
"""What else obstore takes credentials from. It would also ask the metadata service of a cloud's machine, and wait where there is none."""


def missing_credentials(environment: Mapping[str, str]) -> str | None:
    """Return what is missing to sign a request to S3; None if nothing is."""
    pair = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    absent = [name for name in pair if not environment.get(name)]
    if not absent or (len(absent) == len(pair) and any(environment.get(name) for name in _SOURCES)):
        return None
    if len(absent) == 1:
        return f"{absent[0]} is not set, although {next(name for name in pair if name not in absent)} is; set both"
    return (
        "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (in a pod from a Secret, by spec.trainer.env or envFrom), or"
        ' AWS_SKIP_SIGNATURE to "true" for a public bucket'
    )


@contextmanager
def explain_store_errors(what: str, place: str, *, doing: str) -> Iterator[None]:
    """Ask a store inside the block; `what` is asked for, `place` is the store.

    Raises:
        DataError: The store refuses, and would again.
        UnreachableError: It does not answer, or its answer broke off: another attempt may succeed.
    """
    try:
        yield
    except TrainerError:
        raise
    except Exception as error:
        text = f"{error} {error.__cause__ or ''}"
        sentence = _sentence(type(error).__name__, text)
        if sentence is not None:
            raise DataError(f"{what} cannot be read from {place}: {sentence}") from error
        if _UNREACHABLE.search(text):
            message = (
                f"{what}: {place} cannot be reached ({_reason(text)}); check the endpoint (AWS_ENDPOINT_URL), name resolution and"
                " the network policies of the namespace"
            )
            raise UnreachableError(message) from error
        raise UnreachableError(f"{what}: {doing} it from {place} failed ({' '.join(text.split())[:300]})") from error


def _sentence(kind: str, text: str) -> str | None:
    """The sentence for a refusal; None for other errors."""
    code = _CODE.search(text)
    if code is not None and code[1] in _SENTENCES:
        return _SENTENCES[code[1]]
    return _BY_TYPE.get(kind) or next((sentence for status, sentence in _BY_STATUS if status in text), None)


def _reason(text: str) -> str:
    """The innermost cause that a nested error names."""
    causes = ("onnection refused", "dns error", "timed out", "onnection reset", "Name or service not known")
    return next((cause.replace("onnection", "connection") for cause in causes if cause in text), "no answer")
