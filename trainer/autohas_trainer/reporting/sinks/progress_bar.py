"""Progress on a terminal and in a notebook: one bar per stage. Elsewhere: one line per tenth of a stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from autohas_api.budget.progress_steps import stage_steps
from autohas_api.wire.messages import Stage
from autohas_trainer.events import (
    BatchEvaluated,
    CandidateRecord,
    CheckpointFailed,
    CheckpointWritten,
    EarlyStopDecided,
    EffectMeasured,
    Event,
    NoticeIssued,
    PolicyRecord,
    RunInfo,
    SearchFinished,
    SearchStarted,
    StagesPlanned,
    StepRecord,
    WorkStarted,
)
from autohas_trainer.reporting.sinks.live_state import LiveState, stage_at
from autohas_trainer.reporting.sinks.notebook_bars import NotebookBars
from autohas_trainer.reporting.sinks.progress import eta_seconds

__all__ = ["BarSink", "duration"]

_TENTHS: Final = 10
_TOTAL: Final = "Search"


class BarSink:
    """Draws the state of a `LiveState`, which must receive every event first."""

    def __init__(self, console: Console, state: LiveState) -> None:
        """Nothing is drawn before `SearchStarted`."""
        self._console = console
        self._state = state
        self._starts: dict[Stage, int] = {}
        self._totals: dict[Stage, int] = {}
        """Length of the bar of each stage, in steps."""
        self._steps_by_stage: dict[Stage, int] = {}
        """Steps per stage: as taken for the stages that have ended, as planned for the others."""
        self._steps = 0
        self._tenths: dict[Stage, int] = {}
        self._notes: dict[Stage, str] = {}
        self._is_rewarded = False
        self._bars: _Bars | NotebookBars | None = None
        if console.is_jupyter:
            self._bars = NotebookBars(_TOTAL)
        elif console.is_terminal:
            self._bars = _Bars(console)

    def emit(self, event: Event) -> None:
        """Draw the event."""
        match event:
            case StepRecord():
                self._move(event)
            case PolicyRecord():
                self._note_policy(event)
            case SearchStarted(info=info):
                self._start(info)
            case StagesPlanned(stage=stage, stages=stages):
                self._plan(stage, stages)
            case WorkStarted(description=description):  # above the bars where there are some: nothing else moves while this lasts
                self._console.print(description, style="dim", highlight=False, markup=False, soft_wrap=not self._console.is_jupyter)
            case NoticeIssued(notice=notice):
                self._console.print(notice.message, highlight=False, markup=False, soft_wrap=not self._console.is_jupyter)
            case CheckpointWritten(info=checkpoint):  # a restored search stands where its checkpoint does
                self._show(checkpoint.step)
            case SearchFinished():
                self._show(self._steps)
                self.close()
            case CandidateRecord() | EffectMeasured() | BatchEvaluated() | CheckpointFailed() | EarlyStopDecided():
                pass  # the bars count steps; a notice accompanies each failed checkpoint and each early stop
            case _:
                assert_never(event)

    def _start(self, info: RunInfo) -> None:
        """Lay out the stages."""
        self._totals = {stage: steps for stage, steps in stage_steps(info.plan).items() if steps}
        self._take(stage_at(info.stages, info.step), info.stages)
        for stage, total in self._totals.items():
            self._tenths[stage] = _TENTHS * self._done(stage, info.step) // total
        if self._bars is not None:
            self._bars.start(self._totals, info.steps)
        self._show(info.step)

    def _plan(self, stage: Stage, stages: Mapping[Stage, int]) -> None:
        """Draw a changed plan; the bar of a stage that ended early stays where it ended."""
        self._take(stage, stages)
        if self._bars is not None:
            self._bars.resize(self._totals, sum(stages.values()))

    def _take(self, stage: Stage, stages: Mapping[Stage, int]) -> None:
        """Store first step and length of each stage; stages before `stage` have ended and keep the length of their bars."""
        begin, has_ended = 0, True
        for each, steps in stages.items():
            has_ended = has_ended and each is not stage
            self._starts[each], begin = begin, begin + steps
            self._steps_by_stage[each] = steps
            if has_ended and steps < self._totals.get(each, 0):
                self._notes[each] = f"ended after {steps} of {self._totals[each]} steps"
            elif steps:
                self._totals[each] = steps
                self._tenths.setdefault(each, 0)
        self._steps = begin

    def _move(self, record: StepRecord) -> None:
        """Move the bars."""
        if record.stage in (Stage.WARMUP, Stage.LANES, Stage.RACE, Stage.EVALUATE) and record.loss is not None:
            candidate = f"  {record.candidate}" if record.candidate is not None else ""
            self._notes[record.stage] = f"loss {record.loss:.3f}{candidate}"
        self._is_rewarded = self._is_rewarded or record.reward is not None
        self._show(record.step, record.stage)

    def _note_policy(self, record: PolicyRecord) -> None:
        """Note the state of the controller; Paired over hyperparameters alone has no rewards."""
        reward = f"reward {record.baseline:.3f}  " if self._is_rewarded else ""
        self._notes[Stage.SUPERNET] = f"{reward}entropy {record.normalized_entropy:.2f}"

    def close(self) -> None:
        """Stop drawing; the bars stay on the terminal as they are."""
        if self._bars is not None:
            self._bars.stop()

    def _done(self, stage: Stage, position: int) -> int:
        return min(self._steps_by_stage[stage], max(0, position - self._starts[stage]))

    def _show(self, position: int, stage: Stage | None = None) -> None:
        for each in self._totals:
            done = self._done(each, position)
            if self._bars is not None:
                self._bars.update(each, done, self._notes.get(each, ""))
            elif each is stage or stage is None:
                self._line(each, done)
        if self._bars is not None:
            self._bars.update(_TOTAL, position, self._remaining_text())

    def _line(self, stage: Stage, done: int) -> None:
        tenths = _TENTHS * done // self._totals[stage]
        if tenths <= self._tenths[stage]:
            return
        self._tenths[stage] = tenths
        note, remaining = self._notes.get(stage, ""), self._remaining_text()
        text = f"{stage:<9}{10 * tenths:>4} %  step {done} of {self._totals[stage]}"
        self._console.print(
            "  ".join(part for part in (text, note, remaining) if part),
            highlight=False,
            markup=False,
            soft_wrap=not self._console.is_jupyter,
        )

    def _remaining_text(self) -> str:
        seconds = eta_seconds(self._state.snapshot())
        return f"{duration(seconds)} left" if seconds else ""


class _Bars:
    """rich's Progress, with one task per stage and one for the search."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def start(self, totals: Mapping[Stage, int], steps: int) -> None:
        self._tasks = {stage: self._progress.add_task(stage, total=total, note="") for stage, total in totals.items()}
        self._tasks[_TOTAL] = self._progress.add_task(f"[bold]{_TOTAL}", total=steps, note="")
        self._progress.start()

    def resize(self, totals: Mapping[Stage, int], steps: int) -> None:
        for stage, total in totals.items():
            if stage not in self._tasks:
                self._tasks[stage] = self._progress.add_task(stage, total=total, note="")
            self._progress.update(self._tasks[stage], total=total)
        self._progress.update(self._tasks[_TOTAL], total=steps)

    def update(self, name: str, done: int, note: str) -> None:
        self._progress.update(self._tasks[name], completed=done, note=note)

    def stop(self) -> None:
        self._progress.stop()


def duration(seconds: float) -> str:
    """Format a duration: `under 1 s`, `52 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 0.95:  # noqa: PLR2004 - rounds to 0 or looks exact and is not
        return "under 1 s"
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004 - seconds in an hour
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
