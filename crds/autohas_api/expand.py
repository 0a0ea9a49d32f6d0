"""From a result's choice indices to names, checked: the operator trusts nothing that a pod says. Pure."""

from __future__ import annotations

from autohas_api.digest import configuration_digest, result_digest
from autohas_api.messages import MessageError, Result
from autohas_api.search import Spec
from autohas_api.space import OFF_GRID, Configuration, Role, Space, decimal
from autohas_api.status import NamedValue, Scores, SearchResult


def configuration_of(result: Result, space: Space) -> Configuration:
    """The configuration that a result names.

    Raises:
        MessageError: the indices do not fit the space, or a digest is not that of what is said.
    """
    if len(result.choices) != len(space.decisions):
        raise MessageError(f"result has {len(result.choices)} choices, the space has {len(space.decisions)} decisions")
    values = []
    for decision, index in zip(space.decisions, result.choices, strict=True):
        if index >= len(decision.choices) or (index == OFF_GRID and decision.default in decision.choices):
            raise MessageError(f"result has choice {index} for {decision.name}, which has {len(decision.choices)}")
        values.append(decision.default if index == OFF_GRID else decision.choices[index])
    configuration = Configuration(values=tuple(values))
    said = tuple(result.values)
    meant = tuple(v for d, v in zip(space.decisions, values, strict=True) if d.role is not Role.ARCHITECTURE)
    if said != meant:
        raise MessageError(f"result has hyperparameter values {said}, its choices mean {meant}")
    digest = configuration_digest(space.as_mapping(configuration))
    if digest != result.configuration_digest:
        raise MessageError("result has a configuration digest that is not that of its choices")
    whole = result_digest(configuration=digest, test_score=result.test_score, model=result.model_digest)
    if whole != result.digest:
        raise MessageError("result has a digest that is not that of configuration, score and model")
    return configuration


def search_result(result: Result, spec: Spec, space: Space, model_path: str | None) -> SearchResult:
    """`status.result` of a checked result.

    Raises:
        MessageError: see `configuration_of`.
    """
    values = space.as_mapping(configuration_of(result, space))
    active = [d for d in space.decisions if space.is_active(d, values)]
    return SearchResult(
        hyperparameters=[NamedValue(name=d.name, value=values[d.name]) for d in active if d.role is not Role.ARCHITECTURE],
        architecture=[NamedValue(name=d.name, value=values[d.name]) for d in active if d.role is Role.ARCHITECTURE],
        scores=Scores(
            metric=spec.objective.metric,
            test=decimal(result.test_score),
            test_mean=None if result.test_mean is None else decimal(result.test_mean),
            test_standard_deviation=None if result.test_standard_deviation is None else decimal(result.test_standard_deviation),
            selection=decimal(result.selection_score),
            default_test=None if result.default_test_score is None else decimal(result.default_test_score),
            default_selection=None if result.default_selection_score is None else decimal(result.default_selection_score),
        ),
        parameters=result.parameters,
        cost=None if result.cost is None else f"{result.cost:.12g}",
        trainings=decimal(result.trainings),
        stop_reason=str(result.stop_reason),
        model_path=model_path,
        configuration_digest=result.configuration_digest,
        model_digest=result.model_digest,
        digest=result.digest,
    )
