"""A search that ends before its plan ends with a result all the same, for the reason it gives, and resumes exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import device

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage, StopReason, decode_termination_message, encode_termination_message
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.early_stopping import EarlyStopping
from autohas_trainer.engine.search import Clocks, Job, run
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.training.comparison import Comparison
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.errors import Interrupted
from autohas_trainer.events import Event, Identity, Outcome, StepRecord
from autohas_trainer.reporting.sinks.live_state import LiveState
from autohas_trainer.reporting.sinks.progress import build_progress
from engine_fixtures import Killed, MemorySink, Stop, TickingClock, search, small_search
from reporting_fixtures import FakeClock

RULES: dict[str, tuple[str, Any, StopReason]] = {
    "goal": ("spec.objective", {"goal": "0.85"}, StopReason.GOAL_REACHED),
    "entropy": ("spec.budget.earlyStopping", {"normalizedEntropyBelow": "0.999"}, StopReason.CONVERGED),
    "plateau": ("spec.budget.earlyStopping", {"plateauSteps": 3, "minDelta": "0.5"}, StopReason.PLATEAU),
}


def _document(rule: str) -> dict[str, Any]:
    path, value, _ = RULES[rule]
    return with_change(with_change(small_search(steps=54), "spec.budget.trainings", "5"), path, value)


def _timed(
    document: dict[str, Any],
    workdir: Path,
    sink: MemorySink,
    score_seconds: float = 1.0,
    stop: Stop | None = None,
) -> Outcome:
    """Run with a clock that passes only in steps, one second before each is booked, and in scores, after they are booked."""
    clock = FakeClock()
    before, spend = sink.on_step, Ledger.spend

    def step(ledger: Ledger, stage: Stage, trainings: float, *, candidate: str | None = None, gradients: float = 0.0) -> None:
        clock.now += 1.0 if candidate is not None or gradients else 0.0
        spend(ledger, stage, trainings, candidate=candidate, gradients=gradients)

    def tick(record: StepRecord) -> None:
        is_score = record.stage is Stage.RACE and record.reward is not None
        clock.now += score_seconds if is_score else 0.0
        before(record)

    sink.on_step = tick
    parsed, space = accept(document)
    identity = Identity(search_uid="uid", pod_uid="pod", attempt=1)
    job = Job(search=parsed, space=space, workdir=workdir, identity=identity, threads=1, device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "spend", step)
        return run(job, sink, stop or Stop(), Clocks(monotonic=clock, wall=clock))


def test_a_search_that_goes_by_its_plan_is_completed(tmp_path: Path) -> None:
    """Without any rule nothing ends early."""
    sink = MemorySink()
    outcome = search(small_search(), tmp_path, sink)

    assert (outcome.result.stop_reason, sink.ended_early) == (StopReason.COMPLETED, None)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_ends_with_its_reason_and_a_finished_winner(rule: str, tmp_path: Path) -> None:
    """The result says why; the winner's training is whole; the plan's other steps are not taken."""
    sink = MemorySink()
    outcome = search(_document(rule), tmp_path, sink)

    assert outcome.result.stop_reason is RULES[rule][2]
    assert sink.ended_early is RULES[rule][2]
    assert len([n for n in sink.notices if n.reason in ("GoalReached", "PolicyConverged", "RewardPlateau")]) == 1
    assert outcome.result.test_score > 0.5
    assert sink.info is not None
    assert len(sink.steps) < sink.info.steps
    assert sink.steps[-1].step <= sink.steps[-1].steps
    assert decode_termination_message(encode_termination_message(outcome.result)) == outcome.result


def test_a_reached_goal_finishes_that_candidate_and_nobody_else(tmp_path: Path) -> None:
    """The first compared candidate at or above the goal is the winner; every later step is its own."""
    sink = MemorySink()
    outcome = search(_document("goal"), tmp_path, sink)
    first = next(record for record in sink.candidates if record.metric is not None and record.metric >= 0.85)

    assert outcome.winner == first.name
    assert all(record.metric is not None and record.metric < 0.85 for record in sink.candidates[: sink.candidates.index(first)])
    after = [s for s in sink.steps if s.step > first.step]
    assert {(s.stage, s.candidate) for s in after} == {(Stage.EVALUATE, first.name)}
    assert len(after) == 54 - round(54 * first.fraction)
    assert sink.steps[-1].step == sink.steps[-1].steps


def test_convergence_ends_the_supernet_and_the_race_follows(tmp_path: Path) -> None:
    """The first entropy below the threshold is the last but one, read when one more step is queued; candidates race to a full training."""
    sink = MemorySink()
    search(_document("entropy"), tmp_path, sink)
    entropies = [record.normalized_entropy for record in sink.policies]

    assert entropies[-2] < 0.999
    assert all(entropy >= 0.999 for entropy in entropies[:-2])
    assert max(record.fraction for record in sink.candidates if record.stage is Stage.RACE) == 1.0


def test_a_plateau_is_counted_after_the_average_has_filled(tmp_path: Path) -> None:
    """No rise by 0.5 in 3 steps after the first 20 rewards: the supernet ends with its 23rd reward, and reads the step behind it."""
    sink = MemorySink()
    search(_document("plateau"), tmp_path, sink)

    assert len(sink.policies) == 24


@pytest.mark.parametrize("rule", RULES)
def test_early_stopping_survives_kill_and_resume(rule: str, tmp_path: Path) -> None:
    """Killed around the moment of the early end, the resumed search ends with the undisturbed digest, reason and steps."""
    undisturbed = MemorySink()
    expected = search(_document(rule), tmp_path / "whole", undisturbed)
    total = len(undisturbed.steps)
    ended = next(n for n, s in enumerate(undisturbed.steps) if s.stage in (Stage.RACE, Stage.EVALUATE))
    for moment in (ended - 1, ended, ended + 2, total - 2):

        def kill(record: StepRecord, moment: int = moment) -> None:
            if record.step == undisturbed.steps[moment].step:
                raise Killed

        folder = tmp_path / str(moment)
        with pytest.raises(Killed):
            search(_document(rule), folder, MemorySink(on_step=kill))
        outcome = search(_document(rule), folder, MemorySink())

        assert outcome.result.digest == expected.result.digest
        assert outcome.result.stop_reason is expected.result.stop_reason
        assert outcome.cost_by_stage == expected.cost_by_stage


def test_an_interruption_after_every_seventh_step_keeps_early_stopping(tmp_path: Path) -> None:
    """However often the search is interrupted, the same steps are taken once."""
    undisturbed = MemorySink()
    expected = search(_document("plateau"), tmp_path / "whole", undisturbed)
    steps: list[StepRecord] = []
    outcome = None
    while outcome is None:
        stop = Stop()
        done = len(steps)

        def count(record: StepRecord, stop: Stop = stop, done: int = done) -> None:
            steps.append(record)
            stop.is_requested = len(steps) - done >= 7

        try:
            outcome = search(_document("plateau"), tmp_path / "parts", MemorySink(on_step=count), stop)
        except Interrupted:
            continue

    assert steps == undisturbed.steps
    assert outcome.result.digest == expected.result.digest


@pytest.mark.parametrize(
    "algorithm",
    [None, {"name": "RandomSearch"}, {"autoHAS": {"strategy": "OneStep"}}, {"name": "RandomSharing", "randomSharing": {"numSamples": 5}}],
)
@pytest.mark.parametrize("limit", [1, 40, 70, 150, 250])
def test_time_ends_the_search_within_the_limit_when_one_training_fits(limit: int, algorithm: dict[str, Any] | None, tmp_path: Path) -> None:
    """At one second per step the search is over by the limit, unless a single training (27 s) takes longer; a result is always there."""
    document = with_change(small_search(algorithm), "spec.budget.maxActiveSeconds", limit)
    sink = MemorySink()
    outcome = _timed(document, tmp_path, sink)

    assert outcome.result.active_seconds == len(sink.steps)
    assert len(sink.steps) <= max(limit, 27) + 2  # a score's second passes after it is booked
    assert outcome.result.test_score > 0.2
    assert sink.info is not None
    if limit == 1:
        assert (outcome.result.stop_reason, outcome.winner) == (StopReason.BUDGET, "default")
    if limit < sink.steps[0].steps * 0.9:  # what it would take: a step of the supernet is priced higher than one second
        assert outcome.result.stop_reason is StopReason.BUDGET


def test_time_that_ends_in_the_lanes_of_one_factor_finishes_the_best_lane(tmp_path: Path) -> None:
    """60 seconds at 27 per training end the lanes early: the best lane that was compared is finished, and the effects are kept."""
    sink = MemorySink()
    outcome = _timed(with_change(small_search({"name": "AutoHAS"}), "spec.budget.maxActiveSeconds", 60), tmp_path, sink)
    losses = {record.name: record.loss or math.inf for record in sink.candidates if record.stage is Stage.LANES}

    assert {record.stage for record in sink.steps} == {Stage.LANES, Stage.EVALUATE}
    assert len(losses) > 2
    assert outcome.winner == min(losses, key=losses.__getitem__)
    assert outcome.effects
    assert outcome.result.stop_reason is StopReason.BUDGET
    assert outcome.result.active_seconds <= 60


def test_time_that_runs_out_is_told_with_its_limit(tmp_path: Path) -> None:
    """Notices TimeBudgetReached say what the time that is left is used for: race and final training, then the final training alone."""
    sink = MemorySink()
    outcome = _timed(with_change(small_search(), "spec.budget.maxActiveSeconds", 45), tmp_path, sink)

    assert [(notice.reason, notice.message) for notice in sink.other_notices] == [
        ("TimeBudgetReached", "maxActiveSeconds (45 s) leaves time only for the race and the final training"),
        ("TimeBudgetReached", f"maxActiveSeconds (45 s) leaves time only to finish {outcome.winner}: it is finished and tested"),
    ]


@pytest.mark.parametrize(
    ("batch_size", "limit", "is_short"),
    [("8", 500, True), ("8", 950, False), ("64", 100, True), ("64", 120, False), ("128", 50, True), ("128", 80, False)],
)
def test_the_time_that_a_training_needs_is_that_of_its_own_steps(batch_size: str, limit: int, is_short: bool) -> None:  # noqa: FBT001 - a column
    """At one second per step and 100 steps of 64, a batch of 8 takes 800 s and one of 128 takes 50 s, a tenth more for safety."""
    sizes = {"name": "batch_size", "integer": {"min": 8, "max": 128, "step": 2, "scale": "Log"}}
    document = with_change(
        with_change(small_search(steps=100), "spec.searchSpace.hyperparameters", [sizes]), "spec.budget.maxActiveSeconds", limit
    )
    parsed, space = accept(document)
    state = SearchState(SearchTask.load(parsed.spec, space, device("cpu")), MemorySink(), Ledger(9, TickingClock()), TickingClock())
    name = state.enter("one", space.configuration({**space.as_mapping(space.default), "batch_size": batch_size}))
    for _ in range(2):
        state.train(Stage.LANES, name)
    state.comparisons[name] = {0: Comparison(step=2, key=0.0, score=0.0, metric=0.5, loss=1.0, contributions="")}
    early_stopping = EarlyStopping(state)
    early_stopping.look(Stage.LANES)

    assert early_stopping.leader() == name
    assert early_stopping.goes_to_evaluate == is_short


def test_time_that_ends_while_samples_are_scored_gives_the_best_so_far(tmp_path: Path) -> None:
    """RandomSharing whose scoring is slower than its plan: the best of the samples that were scored is finished, not the default."""
    document = small_search({"name": "RandomSharing", "randomSharing": {"numSamples": 20}})
    sink = MemorySink()
    outcome = _timed(with_change(document, "spec.budget.maxActiveSeconds", 300), tmp_path, sink, score_seconds=15.0)
    scored = {record.candidate: record.reward for record in sink.steps if record.stage is Stage.RACE}

    assert outcome.result.stop_reason is StopReason.BUDGET
    assert 1 < len(scored) < 20
    assert outcome.winner == max(scored, key=lambda name: scored[name] or -math.inf)
    assert {record.candidate for record in sink.steps if record.stage is Stage.EVALUATE} == {outcome.winner}


def test_a_restored_search_still_knows_the_best_sample_so_far(tmp_path: Path) -> None:
    """Interrupted while scoring, the process that comes back has no time left and finishes the best sample of both."""
    document = small_search({"name": "RandomSharing", "randomSharing": {"numSamples": 20}})
    document = with_change(document, "spec.budget.maxActiveSeconds", 300)
    stop, first = Stop(), MemorySink()

    def at_the_fifth(record: StepRecord) -> None:
        stop.is_requested = record.candidate == "sample 5"

    first.on_step = at_the_fifth
    with pytest.raises(Interrupted):
        _timed(document, tmp_path, first, stop=stop)
    second = MemorySink()
    outcome = _timed(document, tmp_path, second, score_seconds=300.0)
    scored = {r.candidate: r.reward for r in [*first.steps, *second.steps] if r.stage is Stage.RACE}

    assert outcome.winner == max(scored, key=lambda name: scored[name] or -math.inf)


def test_enough_time_changes_nothing(tmp_path: Path) -> None:
    """A limit that is never near leaves digest and reason as they are without one."""
    free = _timed(small_search(), tmp_path / "free", MemorySink())
    limited = _timed(with_change(small_search(), "spec.budget.maxActiveSeconds", 10_000), tmp_path / "limited", MemorySink())

    assert limited.result.stop_reason is StopReason.COMPLETED
    assert limited.result.digest == free.result.digest


def test_a_resumed_search_counts_on(tmp_path: Path) -> None:
    """Interrupted every 15 steps with hours between, only seconds of work count: the limit is met as by one process."""
    document = with_change(small_search(), "spec.budget.maxActiveSeconds", 80)
    seen = restarts = 0
    outcome = None
    while outcome is None:
        stop = Stop()
        start = seen

        def count(record: StepRecord, stop: Stop = stop, start: int = start) -> None:
            nonlocal seen
            seen += 1
            stop.is_requested = seen - start >= 15

        try:
            outcome = _timed(document, tmp_path, MemorySink(on_step=count), stop=stop)
        except Interrupted:
            restarts += 1

    assert outcome.result.stop_reason is StopReason.BUDGET
    assert seen <= 80
    assert restarts == (seen - 1) // 15
    assert math.isclose(outcome.result.active_seconds, seen, abs_tol=restarts)  # a tick at most is lost at each restart


def test_progress_says_why_from_the_moment_it_is_known(tmp_path: Path) -> None:
    """/progress has no reason while the plan holds, then the rule's; a resumed process knows it from its first report."""
    state = LiveState(FakeClock())
    reasons: list[StopReason | None] = []

    class Watching(MemorySink):
        def emit(self, event: Event) -> None:
            state.emit(event)
            super().emit(event)

    def look(record: StepRecord) -> None:
        progress = build_progress(state.snapshot(), 1000.0)
        assert progress is not None
        reasons.append(progress.stop_reason)
        if record.stage is Stage.RACE:
            raise Killed

    with pytest.raises(Killed):
        search(_document("entropy"), tmp_path, Watching(on_step=look))

    assert reasons[0] is None
    assert reasons[-1] is StopReason.CONVERGED
    resumed = MemorySink()
    search(_document("entropy"), tmp_path, resumed)
    assert resumed.info is not None
    assert resumed.info.stop_reason is StopReason.CONVERGED


def test_a_goal_of_a_metric_to_minimise_is_reached_from_above(tmp_path: Path) -> None:
    """With log_loss the first candidate at or below the goal wins; those before it were all above."""
    document = with_change(small_search(steps=54), "spec.objective", {"metric": "log_loss", "goal": "0.6"})
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)
    first = next(record for record in sink.candidates if record.metric is not None and record.metric <= 0.6)

    assert outcome.result.stop_reason is StopReason.GOAL_REACHED
    assert outcome.winner == first.name
    assert all(r.metric is None or r.metric > 0.6 for r in sink.candidates[: sink.candidates.index(first)])


def test_random_search_ends_with_the_first_trial_that_reaches_the_goal(tmp_path: Path) -> None:
    """The multi-trial control obeys the goal too: no step is taken after the trial that reached it."""
    document = with_change(small_search({"name": "RandomSearch"}), "spec.objective", {"goal": "0.5"})
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)

    assert outcome.result.stop_reason is StopReason.GOAL_REACHED
    assert sink.steps[-1].candidate == outcome.winner
    assert outcome.result.selection_score >= 0.5


def _goal_is_judged(monkeypatch: pytest.MonkeyPatch, verdicts: Callable[[int], bool]) -> None:
    """Let the n-th question (from 1) whether the goal is reached have a given answer."""
    asked = 0

    def reaches(search_task: SearchTask, metric: float | None) -> bool:
        nonlocal asked
        asked += 1
        return verdicts(asked)

    monkeypatch.setattr(SearchTask, "reaches_goal", reaches)


@pytest.mark.parametrize("which", ["dropped", "last"])
def test_a_trial_that_reaches_the_goal_is_the_result_whether_it_led_or_not(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is trained once and no other candidate after it, although the leader is better or no trial is left."""
    document = with_change(small_search({"name": "RandomSearch", "seed": 1}), "spec.objective", {"goal": "0.999"})
    plain = MemorySink()
    search(small_search({"name": "RandomSearch", "seed": 1}), tmp_path / "plain", plain)
    trials = plain.candidates
    number = len(trials) if which == "last" else next(n for n, trial in enumerate(trials, start=1) if not trial.kept)
    _goal_is_judged(monkeypatch, lambda asked: asked >= number)
    sink = MemorySink()
    outcome = search(document, tmp_path / "goal", sink)

    assert outcome.result.stop_reason is StopReason.GOAL_REACHED
    assert outcome.winner == trials[number - 1].name
    assert [step.candidate for step in sink.steps] == [trial.name for trial in trials[:number] for _ in range(27)]


def test_a_goal_that_the_finished_model_misses_is_not_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reached at 1/9 and missed at the end: the search is Completed, and a notice names metric and goal."""
    _goal_is_judged(monkeypatch, lambda asked: asked == 1)
    sink = MemorySink()
    outcome = search(with_change(small_search(), "spec.objective", {"goal": "0.999"}), tmp_path, sink)

    assert outcome.result.stop_reason is StopReason.COMPLETED
    assert [notice.reason for notice in sink.other_notices] == ["GoalReached", "GoalMissed"]
    score = f"{outcome.result.selection_score:.4g}"
    assert sink.other_notices[-1].message == f"the finished default has {score} on the selection split, short of the goal 0.999"
