"""Conversion of a result's choice indices to names. Everything is checked, because a pod may report anything. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from autohas_api.base.digest import canonical, configuration_digest, result_digest
from autohas_api.base.names import MAX_TERMINATION_MESSAGE_BYTES
from autohas_api.space.decisions import OFF_GRID, Configuration, Decision, Role, Space, decimal, reads_decisions_from_code
from autohas_api.space.rates import trained_value
from autohas_api.spec.search import Spec
from autohas_api.wire.compared_methods import MethodOutcome
from autohas_api.wire.messages import (
    MAX_EFFECTS,
    MAX_RUNNERS_UP,
    Effect,
    IndexedEffect,
    MessageError,
    Result,
    RunnerUp,
    order_effects,
)
from autohas_api.wire.status import Importance, MethodStatus, NamedValue, RunnerUpStatus, Scores, SearchResult


def configuration_of(result: Result, space: Space) -> Configuration:
    """The configuration that a result names.

    Raises:
        MessageError: the indices do not fit the space, or a digest differs from that of the content.
    """
    if len(result.choices) != len(space.decisions):
        raise MessageError(f"result has {len(result.choices)} choices, the space has {len(space.decisions)} decisions")
    reported_values = iter(result.values)
    values = []
    for decision, index in zip(space.decisions, result.choices, strict=True):
        if index >= len(decision.choices):
            raise MessageError(f"result has choice {index} for {decision.name}, which has {len(decision.choices)}")
        value = None if decision.role is Role.ARCHITECTURE else next(reported_values, None)
        values.append(_value(decision, index, value))
    if next(reported_values, None) is not None:
        raise MessageError(f"result has {len(result.values)} hyperparameter values, more than the space has hyperparameters")
    configuration = Configuration(values=tuple(values))
    if result.architecture is None and configuration_digest(space.as_mapping(configuration)) != result.configuration_digest:
        raise MessageError("result has a configuration digest that is not that of its choices")
    whole = result_digest(configuration=result.configuration_digest, test_score=result.test_score, model=result.model_digest)
    if whole != result.digest:
        raise MessageError("result has a digest that is not that of configuration, score and model")
    return configuration


def _value(decision: Decision, index: int, reported: str | None) -> str:
    """The value of one decision by its index; a value next to an index must be the same.

    Raises:
        MessageError: the two differ, or the decision does not allow a value that is not one of its choices.
    """
    if reported is None and decision.role is not Role.ARCHITECTURE:
        raise MessageError(f"result has no hyperparameter value for {decision.name}")
    if index == OFF_GRID:
        meant = reported or decision.default
        if meant in decision.choices or not decision.allows(meant):
            raise MessageError(f"result has the value {meant[:40]!r} off the grid of {decision.name}, which does not allow it")
        return meant
    if reported and reported != decision.choices[index]:
        raise MessageError(f"result has the hyperparameter value {reported[:40]!r} for {decision.name}, its choice means another")
    return decision.choices[index]


def index_effects(effects: Sequence[Effect], space: Space) -> list[IndexedEffect] | None:
    """The largest effects for the termination message, the largest first; None where there is none."""
    places = {decision.name: index for index, decision in enumerate(space.decisions)}
    largest = order_effects(effects)[:MAX_EFFECTS]
    return [e.in_indices(places[e.decision], space.decisions[places[e.decision]].choices) for e in largest] or None


def name_decisions(result: Result, configuration: Configuration, effects: Sequence[Effect], spec: Spec, space: Space) -> Result:
    """The result of a search that has read its decisions from code, which the operator does not know: with names, as many as have room.

    Args:
        result: The result with choices in indices of `space`.
        configuration: The winner.
        effects: All effects of single changes.
        spec: The search.
        space: All decisions, those of the model too.
    """
    values, default = space.as_mapping(configuration), space.as_mapping(space.default)
    hyperparameters = [d.role is not Role.ARCHITECTURE for d in space.decisions]
    choices = [index for index, is_own in zip(result.choices, hyperparameters, strict=True) if is_own]
    named = [effect.replace(value=_trained(effect, spec, space)) for effect in order_effects(effects)[:MAX_EFFECTS]] or None
    result = result.replace(choices=choices, effects=None, named_effects=named, architecture={})
    active = [d.name for d in space.decisions if d.role is Role.ARCHITECTURE and space.is_active(d, values)]
    active.sort(key=lambda name: values[name] == default[name])  # stable: what differs from the default comes first
    chosen: dict[str, str] = {}
    for name in active:
        longer = result.replace(architecture={**chosen, name: values[name]}, architecture_omitted=len(active))
        if len(canonical(longer.to_json()).encode()) > MAX_TERMINATION_MESSAGE_BYTES:
            break
        chosen[name] = values[name]
    return result.replace(architecture=chosen, architecture_omitted=len(active) - len(chosen))


def list_changes(values: Mapping[str, str], winner: Mapping[str, str], spec: Spec, space: Space) -> dict[str, str]:
    """The decisions that are active in a configuration and have another value than in the winner, as they are trained."""
    changed = [d for d in space.decisions if space.is_active(d, values) and values[d.name] != winner[d.name]]
    return {d.name: values[d.name] if d.role is Role.ARCHITECTURE else trained_value(spec, values, d.name) for d in changed}


def add_runners_up(result: Result, runners_up: Iterable[RunnerUp]) -> Result:
    """The result with as many of the runners-up, in their order, as the termination message has room for."""
    added: list[RunnerUp] = []
    for runner_up in islice(runners_up, MAX_RUNNERS_UP):
        longer = result.replace(runners_up=[*added, runner_up])
        if len(canonical(longer.to_json()).encode()) > MAX_TERMINATION_MESSAGE_BYTES:
            break
        added.append(runner_up)
    return result.replace(runners_up=added or None)


def add_comparison(result: Result, comparison: Sequence[MethodOutcome]) -> Result:
    """The result with a comparison, for which it gives up the least important facts until it fits the termination message.

    In this order: the last runner-up, the smallest effect, the name of an architecture decision, and where nothing else is left, the
    rows of the comparison, which leaves an empty list; result.json and compare.json have all of them.
    """
    fitted = _fit(result.replace(comparison=list(comparison))) or _fit(result.replace(comparison=[]))
    return result if fitted is None else fitted  # the largest result with an empty list has 3,606 of 4,096 bytes: never None


def _fit(longer: Result) -> Result | None:
    """The result without its least important facts until it fits the termination message; None where what is left does not fit."""
    while len(canonical(longer.to_json()).encode()) > MAX_TERMINATION_MESSAGE_BYTES:
        if longer.runners_up:
            longer = longer.replace(runners_up=longer.runners_up[:-1] or None)
        elif longer.effects:
            longer = longer.replace(effects=longer.effects[:-1] or None)
        elif longer.named_effects:
            longer = longer.replace(named_effects=longer.named_effects[:-1] or None)
        elif longer.architecture:
            kept = dict(list(longer.architecture.items())[:-1])
            longer = longer.replace(architecture=kept, architecture_omitted=longer.architecture_omitted + 1)
        else:
            return None
    return longer


def _trained(effect: Effect, spec: Spec, space: Space) -> str:
    """The value of an effect as a training gets it."""
    decision = next(d for d in space.decisions if d.name == effect.decision)
    if decision.role is Role.ARCHITECTURE:
        return effect.value
    return trained_value(spec, {**space.as_mapping(space.default), effect.decision: effect.value}, effect.decision)


def _importance(effect: IndexedEffect, spec: Spec, space: Space) -> Importance:
    """One effect with names; learning_rate is the rate that the optimizer gets.

    Raises:
        MessageError: the indices do not fit the space, or the value is not allowed.
    """
    if effect.decision >= len(space.decisions):
        raise MessageError(f"result has an effect of decision {effect.decision}, the space has {len(space.decisions)} decisions")
    decision = space.decisions[effect.decision]
    if effect.choice >= len(decision.choices):
        raise MessageError(f"result has an effect of choice {effect.choice} of {decision.name}, which has {len(decision.choices)}")
    if (effect.choice == OFF_GRID) != bool(effect.value):
        raise MessageError(f"result has an effect of {decision.name} that needs either a choice or a value")
    changed = {**space.as_mapping(space.default), decision.name: _value(decision, effect.choice, effect.value or "")}
    value = changed[decision.name] if decision.role is Role.ARCHITECTURE else trained_value(spec, changed, decision.name)
    return _write_importance(decision.name, value, effect.effect, effect.standard_error)


def search_result(result: Result, spec: Spec, space: Space, model_path: str | None) -> SearchResult:
    """`status.result` of a checked result.

    Raises:
        MessageError: see `configuration_of`.
    """
    _check_form(result, spec)
    values = space.as_mapping(configuration_of(result, space))
    active = [d for d in space.decisions if space.is_active(d, values)]
    named = [NamedValue(name=name, value=choice) for name, choice in (result.architecture or {}).items()]
    return SearchResult(
        hyperparameters=[
            NamedValue(name=d.name, value=trained_value(spec, values, d.name)) for d in active if d.role is not Role.ARCHITECTURE
        ],
        architecture=[*(NamedValue(name=d.name, value=values[d.name]) for d in active if d.role is Role.ARCHITECTURE), *named],
        scores=_write_scores(result, spec.objective.metric_name),
        parameters=result.parameters,
        cost=None if result.cost is None else f"{result.cost:.12g}",
        trainings=decimal(result.trainings),
        active_seconds=decimal(result.active_seconds),
        stop_reason=str(result.stop_reason),
        model_path=model_path,
        configuration_digest=result.configuration_digest,
        model_digest=result.model_digest,
        digest=result.digest,
        importance=_importances(result, spec, space),
        runners_up=_runners_up(result, space),
        comparison=[_write_method(outcome) for outcome in result.comparison] if result.comparison else None,
    )


def _write_scores(result: Result, metric: str) -> Scores:
    return Scores(
        metric=metric,
        test=decimal(result.test_score),
        test_mean=None if result.test_mean is None else decimal(result.test_mean),
        test_standard_deviation=None if result.test_standard_deviation is None else decimal(result.test_standard_deviation),
        test_seeds=result.seeds if result.test_mean is not None else None,
        selection=decimal(result.selection_score),
        default_test=None if result.default_test_score is None else decimal(result.default_test_score),
        default_selection=None if result.default_selection_score is None else decimal(result.default_selection_score),
    )


def _check_form(result: Result, spec: Spec) -> None:
    """Refuse parts that a search of this form has not.

    Raises:
        MessageError: the result has such a part, or lacks one that it must have.
    """
    if (result.architecture is not None) != reads_decisions_from_code(spec):
        expected = "without" if result.architecture is not None else "with"
        raise MessageError(
            f"result must name its architecture only where decisions are read from code: a result {expected} names was expected"
        )
    if result.comparison is not None and spec.algorithm.compare is None:
        raise MessageError("result has a comparison, which only algorithm.compare asks for")
    if result.comparison is None and spec.algorithm.compare is not None:
        raise MessageError("result has no comparison, which algorithm.compare asks for: the trainer's image ran something else")


def _runners_up(result: Result, space: Space) -> list[RunnerUpStatus] | None:
    """The runners-up for status.

    Raises:
        MessageError: one names a decision that the space does not have.
    """
    names = {d.name for d in space.decisions}
    for runner_up in result.runners_up or ():
        unknown = sorted(set(runner_up.changes) - names)
        if unknown and result.architecture is None:
            raise MessageError(f"result has a runner-up with the decision {unknown[0]}, which the space does not have")
    return [_write_runner_up(runner_up) for runner_up in result.runners_up or ()] or None


def _write_runner_up(runner_up: RunnerUp) -> RunnerUpStatus:
    return RunnerUpStatus(
        name=runner_up.name,
        fraction=f"{runner_up.fraction:.3g}",
        selection=decimal(runner_up.score),
        parameters=runner_up.parameters,
        cost=None if runner_up.cost is None else f"{runner_up.cost:.12g}",
        changes=[NamedValue(name=name, value=value) for name, value in runner_up.changes.items()],
    )


def _write_method(outcome: MethodOutcome) -> MethodStatus:
    return MethodStatus(
        name=outcome.method.value,
        test=None if outcome.test is None else decimal(outcome.test),
        test_standard_deviation=None if outcome.deviation is None else decimal(outcome.deviation),
        runs=outcome.runs,
        failed=outcome.failed or None,
        difference=None if outcome.difference is None else decimal(outcome.difference),
        difference_low=None if outcome.low is None else decimal(outcome.low),
        difference_high=None if outcome.high is None else decimal(outcome.high),
        t=None if outcome.t is None else f"{outcome.t:.3g}",
        wins=outcome.wins,
        ties=outcome.ties,
        losses=outcome.losses,
    )


def _importances(result: Result, spec: Spec, space: Space) -> list[Importance] | None:
    """The effects with names; where the trainer has named them, hyperparameters stand as it trained them."""
    if result.named_effects is not None:
        return [_write_importance(e.decision, e.value, e.effect, e.standard_error) for e in result.named_effects]
    return None if result.effects is None else [_importance(effect, spec, space) for effect in result.effects]


def _write_importance(decision: str, value: str, effect: float, standard_error: float) -> Importance:
    return Importance(decision=decision, value=value, effect=f"{effect:.6g}", standard_error=f"{standard_error:.6g}")
