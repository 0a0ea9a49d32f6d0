"""Codecs of /progress and of the termination message: what is off is refused, never repaired."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autohas_api.wire.compared_methods import MethodName, MethodOutcome
from autohas_api.wire.messages import (
    MAX_EFFECTS,
    Effect,
    Error,
    IndexedEffect,
    MessageError,
    Notice,
    Progress,
    Result,
    RunnerUp,
    Stage,
    StopReason,
    decode_progress,
    decode_termination_message,
    encode_progress,
    encode_termination_message,
    order_effects,
)
from autohas_api.wire.result import add_comparison, add_runners_up

PROGRESS: dict[str, Any] = {
    "version": 1,
    "searchUid": "u",
    "podUid": "p",
    "attempt": 1,
    "stage": "Lanes",
    "step": 3,
    "steps": 10,
    "percent": 30.0,
    "starts": 1,
    "interruptions": 0,
    "activeSeconds": 1.5,
}


def _raw(**changes: Any) -> bytes:
    return json.dumps({**PROGRESS, **changes}).encode()


def test_progress_survives_encoding() -> None:
    """What is written is what is read."""
    notices = [Notice(id=1, reason="CheckpointRestored", message="continued", time=1.0)]
    progress = Progress(
        search_uid="u",
        pod_uid="p",
        attempt=1,
        stage=Stage.RACE,
        step=1,
        steps=2,
        percent=50,
        starts=1,
        interruptions=0,
        active_seconds=0.5,
        notices=notices,
    )

    assert decode_progress(encode_progress(progress)) == progress


@pytest.mark.parametrize("best", [1.7976931348623157e308, -1.7976931348623157e308, 3e12, 5e-324])
def test_every_finite_number_can_be_a_score(best: float) -> None:
    """An rmse in bytes or nanoseconds has no bound that a contract could know."""
    progress = decode_progress(_raw(best=best))

    assert progress.best == best
    assert decode_progress(encode_progress(progress)) == progress


def test_unknown_fields_are_ignored() -> None:
    """A newer trainer may say more."""
    assert decode_progress(_raw(colour="red")).step == 3


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "must be a JSON object"),
        (b"[" * 5000, "not JSON"),
        (b'{"version": 1' + b" " * 20000 + b"}", "longer than 16384 bytes"),
        (_raw(version=2), "version 2, expected 1"),
        (_raw(step=-1), "step"),
        (_raw(percent=101), "percent"),
        (_raw(stage="Lunch"), "stage"),
        (_raw(searchUid="x" * 200), "searchUid"),
        (_raw(best="NaN"), "best"),
        (_raw().replace(b"30.0", b"NaN"), "NaN is not allowed"),
        (_raw().replace(b"30.0", b"1e999"), "not finite"),
        (_raw(best=10**400), "best"),
        (_raw(notices=[{"id": 1, "reason": "bad reason", "message": "", "time": 0}]), "notices[0].reason"),
        (_raw(notices=[{"id": 1, "reason": "R", "message": "m", "time": 0}] * 17), "notices"),
    ],
)
def test_hostile_progress_is_refused(raw: bytes, words: str) -> None:
    """Size, shape, version and numbers that are not finite are all refused with the reason."""
    with pytest.raises(MessageError) as caught:
        decode_progress(raw)

    assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["Result", "Victory", None])
def test_a_termination_message_without_its_fields_is_refused(kind: str | None) -> None:
    """A kind alone is no message."""
    with pytest.raises(MessageError):
        decode_termination_message(json.dumps({"version": 1, "kind": kind, "searchUid": "", "podUid": "", "attempt": 1}).encode())


def test_a_termination_message_longer_than_kubernetes_keeps_is_refused_by_its_writer() -> None:
    """A message that would be cut must not be written."""
    word = Error(search_uid="", pod_uid="", attempt=1, exit_code=1, message="ü" * 1024)
    assert len(encode_termination_message(word)) < 4096
    assert decode_termination_message(encode_termination_message(word)) == word

    with pytest.raises(MessageError, match="longer than 4096"):
        decode_termination_message(encode_termination_message(word) + b" " * 4096)


def _largest_result() -> Result:
    effect = IndexedEffect(decision=191, choice=-1, value="1.23456e-05", effect=-1.23456e-100, standard_error=1.23456e-100)
    digest = "sha256:" + "0" * 64
    return Result(
        search_uid="u" * 36,
        pod_uid="p" * 36,
        attempt=2**31,
        choices=[-1] * 64 + [31] * 128,
        values=["1.23456e-05"] * 64,
        test_score=0.12345678901234567,
        selection_score=0.12345678901234567,
        default_test_score=0.12345678901234567,
        default_selection_score=0.12345678901234567,
        trainings=123.123456,
        parameters=2**53 - 1,
        cost=123456789.12345679,
        test_mean=0.12345678901234567,
        test_standard_deviation=0.012345678901234567,
        seeds=20,
        stop_reason=StopReason.GOAL_REACHED,
        active_seconds=123456789.123,
        configuration_digest=digest,
        model_digest=digest,
        digest=digest,
        effects=[effect] * MAX_EFFECTS,
    )


def test_the_largest_result_fits_what_kubernetes_keeps() -> None:
    """64 hyperparameters of the longest decimals, 128 architecture decisions, every optional field: below 4,096 bytes."""
    word = _largest_result()

    assert len(encode_termination_message(word)) < 4096
    assert decode_termination_message(encode_termination_message(word)) == word


def _runner_up(number: int, changes: int) -> RunnerUp:
    values = {f"decision_{index}": "1.23456e-05" for index in range(changes)}
    return RunnerUp(name=f"trial {number}", fraction=1.0, score=0.5, parameters=1000, changes=values)


@pytest.mark.parametrize(("changes", "kept"), [(0, 3), (60, 1), (110, 0)])
def test_runners_up_take_the_room_that_the_result_leaves(changes: int, kept: int) -> None:
    """At most three, in their order; the first that does not fit ends the list, and none is None."""
    offered = [_runner_up(number, changes) for number in range(5)]
    word = add_runners_up(_largest_result().replace(values=["0.1"] * 30, choices=[1] * 30, effects=None), offered)

    assert word.runners_up == (offered[:kept] or None)
    assert decode_termination_message(encode_termination_message(word)) == word
    if kept < 3:
        with pytest.raises(ValueError, match="exceeds 4096"):
            encode_termination_message(word.replace(runners_up=offered[: kept + 1]))


def _rows() -> list[MethodOutcome]:
    numbers = {"test": 0.123456, "deviation": 0.0123456, "difference": -0.0123456, "low": -0.123456, "high": 0.123456, "t": -1.23456}
    counts = {"runs": 1000, "failed": 1000, "wins": 1000, "ties": 1000, "losses": 1000}
    return [MethodOutcome(method=method, **numbers, **counts) for method in MethodName]


def test_a_comparison_takes_the_room_of_less_important_facts() -> None:
    """It fits the largest result: runners-up go first, then effects; choices, scores and digests stay."""
    largest = _largest_result().replace(values=["-1.2345678e-05"] * 64)
    word = add_comparison(largest.replace(runners_up=[_runner_up(1, 0)], effects=largest.effects), _rows())

    assert decode_termination_message(encode_termination_message(word)) == word
    assert word.comparison == _rows()
    assert word.runners_up is None
    assert len(word.effects or []) < MAX_EFFECTS
    assert word.replace(comparison=None, effects=None) == largest.replace(effects=None)


def test_a_comparison_without_room_leaves_an_empty_list() -> None:
    """A result whose comparison found no room has an empty list, and one of an image that compares nothing has none."""
    full = _largest_result().replace(values=["-1.234567890123456789012345e-05"] * 64, effects=None)
    assert len(encode_termination_message(full)) < 4096
    word = add_comparison(full, _rows())

    assert word.comparison == []
    assert decode_termination_message(encode_termination_message(word)) == word
    assert word.replace(comparison=None) == full


def test_a_comparison_costs_a_result_with_room_nothing() -> None:
    """Three runners-up stay next to four methods."""
    small = add_runners_up(_largest_result().replace(values=["0.1"], choices=[1], effects=None), [_runner_up(n, 2) for n in range(3)])

    assert add_comparison(small, _rows()).replace(comparison=None) == small


def test_effects_are_ordered_by_size_and_rounded_on_the_wire() -> None:
    """A harmful change is as important as a useful one; six digits are kept; a value that is no choice travels as text."""
    small = Effect(decision="depth", value="3", effect=0.1, standard_error=0.01)
    harm = Effect(decision="learning_rate", value="0.123", effect=-0.2000001234, standard_error=0.0000123456789)

    assert order_effects([small, harm]) == (harm, small)
    assert small.in_indices(1, ("2", "3")).to_json() == {"decision": 1, "choice": 1, "effect": 0.1, "standardError": 0.01}
    assert harm.in_indices(0, ("0.1", "0.3")).to_json() == {
        "decision": 0,
        "choice": -1,
        "value": "0.123",
        "effect": -0.2,
        "standardError": 1.23457e-05,
    }
