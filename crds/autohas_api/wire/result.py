"""Conversion of a result's choice indices to names. Everything is checked, because a pod may report anything. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from autohas_api.base.digest import configuration_digest, result_digest
from autohas_api.space.decisions import OFF_GRID, Configuration, Decision, Role, Space, decimal
from autohas_api.space.rates import trained_value
from autohas_api.spec.search import Spec
from autohas_api.wire.messages import MAX_EFFECTS, Effect, IndexedEffect, MessageError, Result, order_effects
from autohas_api.wire.status import Importance, NamedValue, Scores, SearchResult


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
    digest = configuration_digest(space.as_mapping(configuration))
    if digest != result.configuration_digest:
        raise MessageError("result has a configuration digest that is not that of its choices")
    whole = result_digest(configuration=digest, test_score=result.test_score, model=result.model_digest)
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
    return Importance(decision=decision.name, value=value, effect=f"{effect.effect:.6g}", standard_error=f"{effect.standard_error:.6g}")


def search_result(result: Result, spec: Spec, space: Space, model_path: str | None) -> SearchResult:
    """`status.result` of a checked result.

    Raises:
        MessageError: see `configuration_of`.
    """
    values = space.as_mapping(configuration_of(result, space))
    active = [d for d in space.decisions if space.is_active(d, values)]
    return SearchResult(
        hyperparameters=[
            NamedValue(name=d.name, value=trained_value(spec, values, d.name)) for d in active if d.role is not Role.ARCHITECTURE
        ],
        architecture=[NamedValue(name=d.name, value=values[d.name]) for d in active if d.role is Role.ARCHITECTURE],
        scores=Scores(
            metric=spec.objective.metric,
            test=decimal(result.test_score),
            test_mean=None if result.test_mean is None else decimal(result.test_mean),
            test_standard_deviation=None if result.test_standard_deviation is None else decimal(result.test_standard_deviation),
            test_seeds=result.seeds if result.test_mean is not None else None,
            selection=decimal(result.selection_score),
            default_test=None if result.default_test_score is None else decimal(result.default_test_score),
            default_selection=None if result.default_selection_score is None else decimal(result.default_selection_score),
        ),
        parameters=result.parameters,
        cost=None if result.cost is None else f"{result.cost:.12g}",
        trainings=decimal(result.trainings),
        active_seconds=decimal(result.active_seconds),
        stop_reason=str(result.stop_reason),
        model_path=model_path,
        configuration_digest=result.configuration_digest,
        model_digest=result.model_digest,
        digest=result.digest,
        importance=None if result.effects is None else [_importance(effect, spec, space) for effect in result.effects],
    )
