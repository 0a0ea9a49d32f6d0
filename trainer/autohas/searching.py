"""`autohas.run`: the search of the command `autohas run`, called from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autohas.extras import needs_trainer
from autohas.notebook import result_html
from autohas_api.base import yaml_file
from autohas_api.wire.messages import Effect

if TYPE_CHECKING:
    from autohas_trainer.reporting.sinks.history import History
    from autohas_trainer.reporting.sinks.result_files import FinishedSearch

__all__ = ["Result", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a search. Scores are in the metric's own unit (accuracy: 0 to 1)."""

    configuration: Mapping[str, str]
    """Every decision of the space and its choice; decimals as strings."""
    recipe: Mapping[str, str | int]
    """The training recipe of the winner, in absolute values."""
    metric: str
    test_score: float
    selection_score: float
    default_test_score: float | None
    """Test score of the default configuration after an equally long training; None when the search did not train it."""
    test_scores: tuple[float, ...]
    """One per `training.seeds`, the kept model first."""
    trainings: float
    """Cost of the whole search in units of one full training."""
    parameters: int
    stop_reason: str
    """Completed, Budget, Plateau, Converged or GoalReached."""
    default_configuration: Mapping[str, str]
    effects: tuple[Effect, ...]
    """What single changes to the default did, the largest first; empty for algorithms that measure none."""
    digest: str
    """Equal for equal runs: configuration, score and weights."""
    folder: Path
    """Holds result.json, config.yaml, model.safetensors, preprocessing.json, history.jsonl and report.html."""

    @property
    def model(self) -> Path:
        """The trained weights; `autohas.load(result.folder)` is the model."""
        return self.folder / "model.safetensors"

    @property
    def report(self) -> Path:
        """The report, a page for a browser."""
        return self.folder / "report.html"

    @property
    def history(self) -> History:
        """Steps, states of the controller and comparisons, as far as history.jsonl keeps them.

        Raises:
            ValueError: A line of history.jsonl is damaged; names it.
        """
        with needs_trainer("autohas"):
            from autohas_trainer.reporting.sinks.history import read_history  # noqa: PLC0415 - `import autohas` must not load numpy
        return read_history(self.folder)

    def _repr_html_(self) -> str:
        """Return scores, configuration and effects for a notebook, with a link to the report."""
        return result_html(self)


def run(
    spec: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
    quiet: bool = False,
) -> Result:
    """Run a search on this machine to its end.

    Args:
        spec: Path of a YAML file with one AutoHASSearch, its text (anything with a line break), or the resource as a mapping.
        out: Folder for the results, empty or absent; `autohas-out/NAME` when None.
        settings: Fields to change, as `--set` takes them: `["budget.trainings=3", "algorithm.seed=1"]`.
        resume: Continue from the newest checkpoint in `out`; a finished search is only read.
        quiet: Print nothing.

    Returns:
        The result; Ctrl-C raises `autohas_trainer.errors.Interrupted` after a checkpoint.

    Raises:
        autohas_api.base.spec_errors.SpecError: the search is wrong; every problem names its field.
        FileExistsError: `out` is not empty and `resume` is False.
        MissingExtraError: the packages of the extra `trainer` are not installed.
        autohas_trainer.errors.TrainerError: data, checkpoint or numbers; the sentence says what to do.
    """
    with needs_trainer("autohas.run"):
        from autohas_trainer.cli.laptop import search_here  # noqa: PLC0415 - `import autohas` must not load torch
    document = _document(spec)
    finished, folder = search_here(document, settings, None if out is None else Path(out), resume=resume, quiet=quiet)
    return _summary(finished, folder)


def _summary(finished: FinishedSearch, folder: Path) -> Result:
    result = finished.outcome.result
    return Result(
        configuration=dict(finished.outcome.configuration),
        recipe=dict(finished.outcome.recipe),
        metric=finished.search.spec.objective.metric_name,
        test_score=result.test_score,
        selection_score=result.selection_score,
        default_test_score=result.default_test_score,
        test_scores=finished.outcome.test_scores,
        trainings=result.trainings,
        parameters=result.parameters,
        stop_reason=result.stop_reason.value,
        default_configuration=dict(finished.outcome.default),
        effects=tuple(finished.outcome.effects),
        digest=result.digest,
        folder=folder,
    )


def _document(spec: str | Path | Mapping[str, Any]) -> yaml_file.Document:
    if isinstance(spec, Mapping):
        return yaml_file.Document(source="spec", value=dict(spec))
    if isinstance(spec, str) and "\n" in spec:
        return yaml_file.parse_search(spec, "spec")
    return yaml_file.read_search(Path(spec))
