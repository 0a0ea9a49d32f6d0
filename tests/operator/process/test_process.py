"""Settings, texts, workers and the HTTP pages."""

from __future__ import annotations

import asyncio
import gc
import logging
import re

import aiohttp
import pytest
import structlog

from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.errors import ApiError, ConflictError, ForbiddenError, InvalidError, NotFoundError, WaitError, api_error
from autohas_operator.metrics import Metrics
from autohas_operator.process.application import log_stray_error
from autohas_operator.process.server import MAX_SILENCE_S, Health, Server
from autohas_operator.reconcile.worker import attend
from autohas_operator.records.observed import Key
from autohas_operator.settings import SettingError, Settings, read_settings
from autohas_operator.wording import clean, duration, epoch, percent, timestamp

KEY = Key("ml", "fashion")


def test_settings_come_from_the_environment_and_flags_win() -> None:
    """Lists, numbers and empty values get the types of their settings."""
    environment = {"AUTOHAS_NAMESPACES": "a, b", "AUTOHAS_WORKERS": "3", "AUTOHAS_TRAINER_RUN_AS_USER": "", "AUTOHAS_LISTEN_PORT": "1"}

    settings = read_settings(["--listen-port", "2", "--poll-period-s=1.5"], environment)

    assert settings == Settings(namespaces=("a", "b"), workers=3, trainer_run_as_user=None, listen_port=2, poll_period_s=1.5)


def test_a_setting_that_cannot_be_read_is_named() -> None:
    """The message has the variable, the value and the type."""
    with pytest.raises(SettingError, match='AUTOHAS_WORKERS is "many" and must be a valid integer'):
        read_settings([], {"AUTOHAS_WORKERS": "many"})


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("WORKERS", "0", "from 1 to 10000"),
        ("POLL_CONCURRENCY", "0", "from 1 to 10000"),
        ("WRITES_PER_SECOND", "0", "at least 0.1"),
        ("WRITES_BURST", "0.5", "at least 1"),
        ("EVENTS_PER_SECOND", "0", "at least 0.1"),
        ("EVENTS_BURST", "0", "at least 1"),
        ("REQUEST_TIMEOUT_S", "-1", "at least 0.1"),
        ("POLL_PERIOD_S", "nan", "a finite number"),
        ("LISTEN_PORT", "65536", "from 0 to 65535"),
        ("TRAINER_RUN_AS_USER", "0", "at least 1"),
        ("TRAINER_FS_GROUP", "2147483648", "at most 2147483647"),
        ("WORKERS", "9" * 30, "from 1 to 10000"),
        ("WORKERS", "", "a valid integer"),
        ("POLL_PERIOD_S", "15s", "a valid number"),
        ("IDENTITY", "", "a text that is not empty"),
        ("TRAINER_IMAGE", " ", "a text that is not empty"),
        ("TRAINER_DEFAULTS", "[]", 'a JSON object, as {"nodeSelector": {"pool": "training"}}'),
        ("TRAINER_DEFAULTS", "{", 'a JSON object, as {"nodeSelector": {"pool": "training"}}'),
        ("LOG_LEVEL", "verbose", "'debug', 'info', 'warning' or 'error'"),
        ("TRAINER_IMAGE_PULL_POLICY", "Sometimes", "'Always', 'IfNotPresent' or 'Never'"),
    ],
)
def test_a_setting_out_of_its_bounds_is_refused(variable: str, text: str, allowed: str) -> None:
    """No operator runs that does nothing, or that fails later: the message has the variable, the value and what is allowed."""
    with pytest.raises(SettingError, match=re.escape(f'AUTOHAS_{variable} is "{text}" and must be {allowed}') + "$"):
        read_settings([], {f"AUTOHAS_{variable}": text})


def test_all_problems_are_named_at_once_and_flags_by_their_names() -> None:
    """The user sees the source of each value: the variable, or the flag that overrides it."""
    with pytest.raises(SettingError) as raised:
        read_settings(["--workers=0", "--per-search-metrics=yes"], {"AUTOHAS_WORKERS": "1", "AUTOHAS_POLL_TIMEOUT_S": "inf"})

    assert str(raised.value).split("; ") == [
        '--per-search-metrics is "yes" and must be true or false',
        '--workers is "0" and must be from 1 to 10000',
        'AUTOHAS_POLL_TIMEOUT_S is "inf" and must be a finite number',
    ]


def test_every_setting_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a sentence, and `--help` shows it with the variable."""
    with pytest.raises(SystemExit) as raised:
        read_settings(["--help"], {})
    shown = " ".join(capsys.readouterr().out.split())

    assert raised.value.code == 0
    for name, field in Settings.model_fields.items():
        assert str(field.description).endswith(".")
        assert f"{field.description} [AUTOHAS_{name.upper()}, default" in shown
    for name, default in {"TRAINER_DEFAULTS": "{}", "NAMESPACES": "empty", "PER_SEARCH_METRICS": "true", "WORKERS": "20"}.items():
        assert f"[AUTOHAS_{name}, default {default}]" in shown


def test_a_shortened_flag_is_no_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """It would be another setting once a version has two that begin alike."""
    with pytest.raises(SystemExit) as raised:
        read_settings(["--worker", "5"], {})

    assert raised.value.code == 2
    assert "unrecognized arguments: --worker 5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("two\nlines\r\n\tand tabs", "two lines and tabs"),
        ("\x1b[31mred\x1b[0m\x00", "[31mred [0m"),
        ("to\u202ethe \ud800 ze\u200bro", "to the ze ro"),
        ("x" * 3000, "x" * 19 + "…"),
    ],
)
def test_texts_from_outside_become_one_harmless_line(text: str, expected: str) -> None:
    """No control, format or surrogate characters, never longer than allowed."""
    assert clean(text, 20) == expected


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (5400, "1h30m"), (1e6, "277h46m")])
def test_durations_are_short(seconds: float, text: str) -> None:
    """Two units at most."""
    assert duration(seconds) == text


def test_percent_is_rounded_down() -> None:
    """100 % means done."""
    assert (percent(99.99), percent(100), percent(0)) == ("99%", "100%", "0%")


def test_times_go_both_ways() -> None:
    """Whole seconds, UTC."""
    assert timestamp(1_800_000_000.9) == "2027-01-15T08:00:00Z"
    assert epoch("2027-01-15T08:00:00Z") == 1_800_000_000
    assert epoch("2027-01-15T08:00:00.123456Z") == pytest.approx(1_800_000_000.123456)
    assert epoch(None) is None


@pytest.mark.parametrize(
    ("status", "kind"), [(400, InvalidError), (403, ForbiddenError), (404, NotFoundError), (409, ConflictError), (422, InvalidError)]
)
def test_http_statuses_have_their_error(status: int, kind: type[ApiError]) -> None:
    """The error says request, status and the server's sentence."""
    error = api_error(status=status, message="why", request="POST /x")

    assert type(error) is kind
    assert str(error) == f"POST /x: {status}: why"


class Scripted:
    """A reconciler that returns or raises the steps of a script."""

    def __init__(self, *script: object) -> None:
        self._script = list(script)

    async def reconcile(self, key: Key) -> float | None:
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        assert step is None or isinstance(step, float)
        return step


def attend_all(*script: object) -> tuple[WorkQueue[Key], str]:
    queue: WorkQueue[Key] = WorkQueue(lambda: 0.0, lambda: 0.5)
    metrics, reconciler = Metrics(), Scripted(*script)

    async def scenario() -> None:
        for _ in script:
            await attend(KEY, queue, reconciler, metrics, lambda: 0.0)

    asyncio.run(scenario())
    return queue, metrics.render().decode()


def test_a_pass_that_asks_for_another_gets_it() -> None:
    """The key is requeued after the returned delay, and not at all without one."""
    assert attend_all(5.0)[0].num_delayed == 1
    assert attend_all(None)[0].num_delayed == 0


@pytest.mark.parametrize(
    "error",
    [
        ConflictError(status=409, message="m", request="PUT"),
        api_error(status=500, message="m", request="PUT"),
        WaitError("soon", delay_s=2),
        ZeroDivisionError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_retried_and_counted(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """After any error the key is requeued and the worker continues."""
    with caplog.at_level(logging.CRITICAL):
        queue, metrics = attend_all(error)

    assert queue.num_delayed == 1
    assert f'autohas_reconcile_errors_total{{reason="{type(error).__name__}"}} 1.0' in metrics


def test_a_search_that_is_gone_is_not_retried() -> None:
    """404: its watch event follows."""
    assert attend_all(NotFoundError(status=404, message="m", request="PUT"))[0].num_delayed == 0


@pytest.mark.parametrize(("is_answer", "shown"), [(True, False), (False, True)], ids=["of the API server", "a bug"])
def test_an_error_of_a_lost_task_is_one_line(
    is_answer: bool,  # noqa: FBT001 - a case
    shown: bool,  # noqa: FBT001 - a case
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A refused watch that kopf leaves behind is no traceback of asyncio's; a bug keeps its own."""
    error = type("APIForbiddenError", (Exception,), {"__module__": "kopf._cogs.clients.errors" if is_answer else "elsewhere"})

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(log_stray_error)

        async def fail() -> None:
            raise error("jobs.batch is forbidden")

        await asyncio.wait([asyncio.create_task(fail())])

    with structlog.testing.capture_logs() as lines:
        asyncio.run(scenario())
        gc.collect()

    assert [(line["event"], line["error"], line["exc_info"] is not None) for line in lines] == [
        ("background task failed", "jobs.batch is forbidden", shown)
    ]
    assert caplog.text == ""


def test_health_fails_when_the_loop_stands_or_a_part_has_died() -> None:
    """Ready after the cache is filled; metrics are served throughout."""
    now = [0.0]
    health, metrics = Health(lambda: now[0]), Metrics()

    async def scenario() -> list[int]:
        server = Server(health, metrics)
        await server.start("127.0.0.1", 0)
        codes = []
        async with aiohttp.ClientSession() as session:

            async def ask(path: str) -> None:
                async with session.get(f"http://127.0.0.1:{server.port}{path}") as answer:
                    codes.append(answer.status)

            await ask("/readyz")
            health.is_ready = True
            await ask("/readyz")
            await ask("/healthz")
            now[0] = MAX_SILENCE_S + 1
            await ask("/healthz")
            health.tick()
            await ask("/healthz")
            health.dead_task = "worker 3"
            await ask("/healthz")
            await ask("/metrics")
        await server.close()
        return codes

    assert asyncio.run(scenario()) == [503, 200, 200, 500, 200, 500, 200]
