"""The trainer's server and metrics, asked over real HTTP."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import a_search, with_change
from autohas_api.wire.messages import Effect, Stage, decode_progress
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.events import CheckpointWritten, EffectMeasured, SearchStarted, StagesPlanned, StageUse, StepUse
from autohas_trainer.reporting.http.server import TrainerServer
from autohas_trainer.reporting.sinks.live_state import ComparedRun, LiveState
from reporting_fixtures import FakeClock, candidate, checkpoint_info, lane_step, policy, run_info, supernet_step


class Served:
    """A server on a free port, its state and its clock."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.state = LiveState(self.clock)
        self.info = run_info(tmp_path)
        self.server = TrainerServer(
            self.state,
            0,
            stall_timeout_s=60,
            monotonic=self.clock,
            wall_clock=lambda: 530.0,
            gpu_memory=lambda: {"allocated": 5, "peak": 7},
        )

    def get(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.server.port}{path}", timeout=10) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read()

    def samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample of /metrics by name and labels, as Prometheus parses it."""
        status, kind, body = self.get("/metrics")
        assert status == 200
        assert kind.startswith("text/plain; version=")
        families = text_string_to_metric_families(body.decode())
        return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = Served(tmp_path)
    yield found
    found.server.close()


def test_progress_is_served_once_the_search_started(served: Served) -> None:
    """503 with a sentence before, the contract's JSON afterwards."""
    status, _, body = served.get("/progress")
    assert (status, body) == (503, b"the search has not started: data is being loaded\n")
    served.state.emit(SearchStarted(info=served.info))
    served.state.emit(lane_step(4))
    status, kind, body = served.get("/progress?verbose=1")
    assert (status, kind) == (200, "application/json")
    assert decode_progress(body).step == 4


def test_health_turns_when_steps_stop(served: Served) -> None:
    """200 while steps come, 503 that says why when they do not."""
    served.state.emit(SearchStarted(info=served.info))
    served.state.emit(lane_step(1))
    assert served.get("/healthz")[0] == 200
    served.clock.now += 61
    status, _, body = served.get("/healthz")
    assert status == 503
    assert body.startswith(b"stalled: nothing happened for 61 s (limit 60 s)")
    served.state.emit(lane_step(2))
    assert served.get("/healthz")[0] == 200


def test_other_paths_say_what_is_served(served: Served) -> None:
    """A mistyped probe explains itself."""
    assert served.get("/") == (404, "text/plain; charset=utf-8", b"served here: /progress, /metrics, /healthz\n")


def test_a_checkpoint_does_not_age_while_no_process_works(served: Served) -> None:
    """Restored 500 s after it was written, it is as old as this process has worked."""
    served.state.emit(SearchStarted(info=replace(served.info, checkpoint=checkpoint_info(2, time=30.0))))
    served.clock.now += 7

    assert served.samples()["autohas_trainer_checkpoint_age_seconds", ()] == pytest.approx(7)


def test_every_metric_has_its_value(served: Served) -> None:
    """Prometheus parses the last reported values."""
    state = served.state
    state.emit(SearchStarted(info=replace(served.info, starts=3, active_seconds=100.0)))
    state.emit(lane_step(1))
    served.clock.now += 0.3
    state.emit(supernet_step(2, reward=0.75))
    state.emit(policy(2))
    state.emit(candidate("lane 1", 1 / 9, 0.6))
    state.emit(CheckpointWritten(info=checkpoint_info(2, time=529.8), seconds=0.2, size_bytes=1234))
    samples = served.samples()
    assert samples["autohas_trainer_steps_total", (("stage", "Lanes"),)] == 1
    assert samples["autohas_trainer_steps_total", (("stage", "Supernet"),)] == 1
    assert samples["autohas_policy_probability", (("choice", "2"), ("decision", "depth"))] == 0.7
    assert samples["autohas_policy_entropy_ratio", (("decision", "depth"),)] == 0.75
    assert samples["autohas_trainer_step_duration_seconds_bucket", (("le", "0.25"),)] == 0
    assert samples["autohas_trainer_step_duration_seconds_bucket", (("le", "0.5"),)] == 1
    expected = {
        "autohas_trainer_reward": 0.75,
        "autohas_trainer_reward_baseline": 0.4,
        "autohas_trainer_advantage": 0.25,
        "autohas_trainer_samples_total": 1,
        "autohas_trainer_checkpoint_age_seconds": 0.2,
        "autohas_trainer_checkpoint_duration_seconds": 0.2,
        "autohas_trainer_checkpoint_size_bytes": 1234,
        "autohas_trainer_best_score": 0.6,
        "autohas_policy_updates_total": 1,
        "autohas_policy_series_truncated": 0,
        "autohas_trainer_step_duration_seconds_count": 1,
        "autohas_trainer_starts_total": 3,
        "autohas_trainer_active_seconds_total": 100.3,
        "autohas_trainer_progress_ratio": 2 / served.info.steps,
        "autohas_trainer_cost_trainings": 2 / 27,
        "autohas_trainer_planned_cost_trainings": served.info.plan.predicted_trainings,
        "autohas_trainer_non_finite_losses_total": 0,
    }
    assert {name: samples[name, ()] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("limit", "exported"), [(540, 540), (539, 180), (180, 180), (100, 100), (0, 0)])
def test_probabilities_are_capped_to_the_likeliest_choices(served: Served, limit: int, exported: int) -> None:
    """Above perChoiceLimit one series per decision is left, never more than the limit, and a metric says so; 0 is no truncation."""
    limited = accept(with_change(a_search(), "spec.monitoring", {"perChoiceLimit": limit}))[0]
    many = tuple(replace(served.info.space.decisions[-1], name=f"d{i}") for i in range(180))
    served.state.emit(SearchStarted(info=replace(served.info, search=limited, space=replace(served.info.space, decisions=many))))
    served.state.emit(policy(1, {d.name: (0.2, 0.5, 0.3) for d in many}))
    samples = served.samples()
    series = [value for (name, _), value in samples.items() if name == "autohas_policy_probability"]
    assert (len(series), max(series, default=0.0)) == (exported, 0.5 if exported else 0.0)
    assert samples["autohas_policy_series_truncated", ()] == (0 < exported < 180 * 3)
    assert len([name for name, _ in samples if name == "autohas_policy_entropy_ratio"]) == 180


@pytest.mark.parametrize(("limit", "exported"), [(512, 3), (2, 2), (0, 0)])
def test_effects_of_all_processes_are_exported_the_largest_first(served: Served, limit: int, exported: int) -> None:
    """Each with its standard error, by decision and choice; never more than perChoiceLimit."""
    limited = accept(with_change(a_search(), "spec.monitoring", {"perChoiceLimit": limit}))[0]
    first, second, third = (
        Effect(decision=decision, value=value, effect=effect, standard_error=0.01)
        for decision, value, effect in (("depth", "3", 0.02), ("learning_rate", "0.3", -0.5), ("depth", "4", 0.04))
    )
    served.state.emit(SearchStarted(info=replace(served.info, search=limited, effects=(first,))))
    served.state.emit(EffectMeasured(effect=second))
    served.state.emit(EffectMeasured(effect=third))
    samples = served.samples()

    ordered = [("learning_rate", "0.3", -0.5), ("depth", "4", 0.04), ("depth", "3", 0.02)][:exported]
    found = {
        (dict(labels)["decision"], dict(labels)["choice"], v) for (n, labels), v in samples.items() if n == "autohas_trainer_effect_ratio"
    }
    assert found == set(ordered)
    errors = [value for (name, _), value in samples.items() if name == "autohas_trainer_effect_standard_error_ratio"]
    assert errors == [0.01] * exported


def test_stage_losses_rates_and_memory_have_their_labels(served: Served) -> None:
    """One series is 1 among the stages; losses of both splits; rates of weights and controller; losses that are not finite count."""
    state = served.state
    state.emit(SearchStarted(info=served.info))
    state.emit(replace(lane_step(1, loss=None), is_finite=False))
    state.emit(supernet_step(2))
    state.emit(policy(2))
    state.emit(candidate("lane 1", 1 / 9, 0.6, loss=0.5))
    state.emit(candidate("lane 2", 1 / 9, 0.4, loss=0.7))
    samples = served.samples()
    stages = {dict(labels)["stage"]: value for (name, labels), value in samples.items() if name == "autohas_trainer_stage"}
    assert [stage for stage, value in stages.items() if value] == ["Supernet"]
    assert set(stages) == {"Lanes", "Warmup", "Supernet", "Race", "Evaluate"}
    assert samples["autohas_trainer_loss", (("split", "train"),)] == 1.5
    assert samples["autohas_trainer_loss", (("split", "selection"),)] == 0.7
    assert samples["autohas_trainer_best_score", ()] == 0.6
    assert samples["autohas_trainer_learning_rate", (("optimizer", "weights"),)] == 0.1
    assert samples["autohas_trainer_learning_rate", (("optimizer", "policy"),)] == 0.1
    assert samples["autohas_trainer_non_finite_losses_total", ()] == 1
    assert samples["autohas_trainer_gpu_memory_bytes", (("kind", "peak"),)] == 7


def test_the_pace_of_the_newest_steps_and_the_peaks_of_ended_stages_are_exported(served: Served) -> None:
    """64 examples in 0.5 s, of which 0.1 s waited for data, at a tenth of the peak; no MFU where the device is not listed."""
    state, environment = served.state, served.info.environment
    assert environment is not None
    state.emit(SearchStarted(info=replace(served.info, environment=replace(environment, gpu="NVIDIA L4"))))
    for step in (1, 2, 3):
        state.emit(replace(lane_step(step), use=StepUse(num_examples=64, flops=0.5 * 3.03e12, waited_s=0.1)))
        served.clock.now += 0.5
    state.emit(StagesPlanned(stage=Stage.RACE, stages=served.info.stages, use={"Lanes": StageUse(peak_memory={"process": 5, "device": 7})}))
    samples = served.samples()
    expected = {"autohas_trainer_examples_per_second": 128, "autohas_trainer_data_wait_ratio": 0.2, "autohas_trainer_mfu_ratio": 0.1}

    assert {name: samples[name, ()] for name in expected} == pytest.approx(expected)
    assert samples["autohas_trainer_peak_memory_bytes", (("kind", "device"), ("stage", "Lanes"))] == 7
    state.emit(SearchStarted(info=replace(served.info, environment=replace(environment, gpu="Unheard of"))))
    assert ("autohas_trainer_mfu_ratio", ()) not in served.samples()


def test_a_limit_of_time_is_exported_where_there_is_one(served: Served) -> None:
    """spec.budget.maxActiveSeconds."""
    served.state.emit(SearchStarted(info=served.info))
    assert ("autohas_trainer_active_limit_seconds", ()) not in served.samples()
    served.state.emit(
        SearchStarted(info=replace(served.info, search=accept(with_change(a_search(), "spec.budget.maxActiveSeconds", 600))[0]))
    )
    assert served.samples()["autohas_trainer_active_limit_seconds", ()] == 600


def test_the_run_of_a_comparison_is_exported(served: Served) -> None:
    """Runs, starts, seconds and the limit of all runs; without a comparison there are no such series."""
    served.state.emit(SearchStarted(info=served.info))
    assert ("autohas_trainer_run", ()) not in served.samples()
    search = accept(with_change(a_search(), "spec.budget.maxActiveSeconds", 600))[0]
    served.state.enter_run(ComparedRun(number=3, num_runs=4, num_finished=2, steps_before=500, seconds_before=80.0, starts=7))
    served.state.emit(SearchStarted(info=replace(served.info, search=search)))
    samples = served.samples()

    assert (samples["autohas_trainer_run", ()], samples["autohas_trainer_runs", ()]) == (3, 4)
    assert samples["autohas_trainer_progress_ratio", ()] == 0.5
    assert samples["autohas_trainer_starts_total", ()] == 7
    assert samples["autohas_trainer_active_seconds_total", ()] == served.info.active_seconds + 80
    assert samples["autohas_trainer_active_limit_seconds", ()] == 2400


def test_before_the_start_there_is_no_progress(served: Served) -> None:
    """A trainer that loads its data exports counters at 0 and nothing that it cannot know."""
    names = {name for name, _ in served.samples()}
    assert "autohas_trainer_samples_total" in names
    assert not {"autohas_trainer_progress_ratio", "autohas_trainer_cost_trainings", "autohas_policy_probability"} & names


def test_a_reader_that_says_nothing_blocks_nobody(served: Served) -> None:
    """Open connections beyond the bound are closed; others are answered meanwhile."""
    silent = [socket.create_connection(("127.0.0.1", served.server.port)) for _ in range(8)]
    assert served.get("/healthz")[0] == 200
    for connection in silent:
        connection.close()


def test_a_port_that_is_taken_is_a_sentence(served: Served) -> None:
    """The second server on a port says which and what to do."""
    with pytest.raises(ConfigurationError, match=rf"port {served.server.port} cannot be served: Address already in use"):
        TrainerServer(served.state, served.server.port)
