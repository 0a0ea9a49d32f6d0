"""Why a pod ended, for condition messages: the pod's reason, the trainer's termination message, or the end of its log. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from autohas_api.wire.messages import Error, MessageError, decode_termination_message
from autohas_operator.hints import add_end_hint
from autohas_operator.records.containers import End
from autohas_operator.records.observed import PodRecord
from autohas_operator.wording import clean

MAX_LOG_BYTES: Final = 2048
"""Bytes of the log's end that the kubelet keeps without a termination message (FallbackToLogsOnError); the cut may be inside a line."""
_MAX_BEFORE: Final = 400
"""Upper bound, in characters, of the log's other lines."""
_SENTENCES: Final = ("event", "msg", "message")
"""Keys of the message in JSON log lines, in order of preference."""
_HIDDEN: Final = ("level", "timestamp", "time", "ts", "logger")
_ERROR_LEVELS: Final = ("error", "critical", "fatal", "exception")
_ERROR_LINE: Final = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b|(CRITICAL|ERROR|FATAL|panic|fatal)\b")
"""Beginning of the last line of a traceback, or of an error line in plain text."""


def describe_end(pod: PodRecord) -> str:
    """Why a pod ended, and a hint where one is known."""
    reason_and_message = ": ".join(part for part in (pod.reason, pod.message) if part)
    end = pod.last_end
    if end is None:
        return add_end_hint((pod.reason,), reason_and_message or pod.disruption or "")
    container = f"init container {pod.init.name} ended with " if pod.init is not None and end is pod.init.end else ""
    whole = ": ".join(part for part in (reason_and_message, container + describe_container_end(end)) if part)
    return add_end_hint((end.reason, pod.reason), whole)


def describe_container_end(end: End) -> str:
    """Exit code, reason and last sentence of a container that has ended."""
    reason = end.reason if end.reason not in ("", "Error", "Completed") else ""
    how = f"exit code {end.exit_code}" + (f" ({reason})" if reason else "")
    try:
        message = decode_termination_message(end.message.strip().encode(errors="replace"))
        sentence = message.message if isinstance(message, Error) else ""
    except MessageError:
        sentence = summarize_log(end.message)
    return f"{how}: {sentence}" if sentence else how


def summarize_log(log: str) -> str:
    """The last error of a log, then the end of its other lines: whole lines only, JSON lines as text."""
    lines = [line.strip() for line in log.split("\n") if line.strip()]
    if len(lines) > 1 and _is_cut(log, lines):
        del lines[0]
    if not lines:
        return ""
    read = [_read(line) for line in lines]
    newest = max((index for index, (_, is_error) in enumerate(read) if is_error), default=len(read) - 1)
    rest = [text for index, (text, _) in enumerate(read) if index != newest]
    kept: list[str] = []
    while rest and sum(map(len, kept)) + len(rest[-1]) <= _MAX_BEFORE:
        kept.insert(0, rest.pop())
    return clean(read[newest][0], _MAX_BEFORE) + (f"; the log ends: {' | '.join(kept)}" if kept else "")


def _is_cut(log: str, lines: list[str]) -> bool:
    """Whether the beginning of the first line is cut off: the text has the kubelet's maximum length, or all other lines are JSON."""
    is_odd = _object_in(lines[0]) is None and all(_object_in(line) is not None for line in lines[1:])
    return len(log.encode(errors="replace")) >= MAX_LOG_BYTES or (is_odd and lines[0].endswith("}"))


def _read(line: str) -> tuple[str, bool]:
    """The text of one line, and whether it is an error."""
    fields = _object_in(line)
    if fields is None:
        return line, _ERROR_LINE.match(line) is not None
    named = next((key for key in _SENTENCES if fields.get(key)), "")
    sentence = str(fields.get(named, ""))
    rest = ", ".join(f"{key}={value}" for key, value in fields.items() if key not in (*_HIDDEN, named) and value is not None)
    text = f"{sentence} ({rest})" if sentence and rest else sentence or rest
    return text, str(fields.get("level", "")).lower() in _ERROR_LEVELS


def _object_in(line: str) -> dict[str, Any] | None:
    """The object of a JSON line; None for any other line."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
