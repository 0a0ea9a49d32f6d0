"""docs/protocol.md agrees with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from autohas_api.base import exit_codes, names
from autohas_api.base.model import Model
from autohas_api.wire.messages import (
    CheckpointInfo,
    Error,
    Interrupted,
    Notice,
    Progress,
    Result,
    Stage,
    StopReason,
    TopChoice,
    decode_progress,
    decode_termination_message,
)
from autohas_operator.cluster import poller
from autohas_operator.decide import trainer_exits
from autohas_operator.manifests import pod
from autohas_operator.settings import Settings
from autohas_operator.testing.builders import stored_job, stored_search

TEXT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
PROSE = " ".join(TEXT.split())
"""The same on one line, since a sentence may be wrapped anywhere."""
WORDS = set(re.findall(r"`(\w+)`", TEXT)) | {"version", "kind"}


@pytest.mark.parametrize("model", [Progress, Result, Interrupted, Error, Notice, TopChoice, CheckpointInfo], ids=lambda m: m.__name__)
def test_every_field_of_every_message_is_named(model: type[Model]) -> None:
    """Every field is documented, for authors of other trainers."""
    assert sorted({field.alias or name for name, field in model.model_fields.items()} - WORDS) == []


def test_every_variable_and_every_exit_code_is_named() -> None:
    """Codes with their names, and the reason that fails the search at once."""
    (container,) = stored_job(stored_search())["spec"]["template"]["spec"]["containers"]
    variables = {entry["name"] for entry in container["env"]} | {v for k, v in vars(names).items() if k.startswith("ENV_")}
    rows = {int(row[0]): row for row in re.findall(r"^\| (\d+) \| (\w+) \|[^|]*\| ([^|]*) \|$", TEXT, re.MULTILINE)}

    assert [variable for variable in sorted(variables) if f"`{variable}`" not in TEXT] == []
    assert {code: row[1] for code, row in rows.items()} == {int(code): code.name for code in exit_codes.ExitCode}
    assert [code for code, reason in trainer_exits.FAILURE_REASONS.items() if reason not in rows[int(code)][2]] == []


def test_every_stage_and_stop_is_named() -> None:
    """Another trainer must use these words."""
    assert [word.value for kind in (Stage, StopReason) for word in kind if not re.search(rf"\b{word.value}\b", TEXT)] == []


def test_the_examples_are_messages() -> None:
    """Both are read by the operator's own codecs."""
    progress, error = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL))

    assert decode_progress(json.dumps(progress).encode()).stage is Stage.SUPERNET
    word = decode_termination_message(json.dumps(error).encode())
    assert isinstance(word, Error)
    assert word.exit_code == exit_codes.ExitCode.DATA


def test_the_limits_are_those_of_the_code() -> None:
    """Sizes, the port, and how long the operator and the kubelet wait."""
    settings = Settings()

    assert (settings.poll_timeout_s, poller.FIRST_PERIOD_S, settings.poll_period_s) == (2, 3, 15)
    assert (poller.FIRST_PERIOD_S * poller.MAX_FIRST_MISSES, settings.poll_period_s * poller.MAX_POLLS_PER_SECOND) == (120, 150)
    assert (pod.STARTUP_S, pod.PROBE_TIMEOUT_S) == (30 * 60, 5)
    assert (pod.LIVENESS_FAILURES, pod.LIVENESS_PERIOD_S) == (3, 30)
    assert all(words in PROSE for words in ("within 2 s", "every 3 s", "every 15 s", "two minutes", "150 trainers"))
    assert all(words in PROSE for words in ("half an hour", "within 5 s", "three probes 30 s apart"))
    assert (names.MAX_PROGRESS_BYTES, names.MAX_TERMINATION_MESSAGE_BYTES) == (16 * 1024, 4096)
    assert (names.TRAINER_PORT, names.CONTRACT_VERSION) == (9464, 1)
    assert all(
        words in PROSE for words in ("16 KiB", "4,096 bytes", "9464", "version 1", names.CONFIG_DIRECTORY, names.CHECKPOINT_DIRECTORY)
    )
