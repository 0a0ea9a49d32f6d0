"""Checks that schema and CEL cannot express: names in the template, data arguments, a sufficient budget.

The operator reports the errors in the condition Accepted, the command line prints them, in the same words. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Final

from autohas_api.accept.data_arguments import find_wrong_data_arguments, find_wrong_keywords
from autohas_api.accept.dependencies import find_wrong_conditions_of_decisions, find_wrong_conditions_of_hyperparameters
from autohas_api.accept.model_check import find_wrong_model_budget
from autohas_api.accept.recipe_check import find_idle_fields, find_uneven_batches
from autohas_api.accept.volume_check import find_volume_errors
from autohas_api.algorithms.algorithm_spec import Race
from autohas_api.algorithms.table import ALGORITHM_ROWS
from autohas_api.base.quantities import amount
from autohas_api.base.spec_errors import FieldError, SpecError
from autohas_api.budget.epochs import assume_steps
from autohas_api.budget.steps_per_stage import PLATEAU_FILLING_REWARDS, make_request, minimum_trainings, plan_stages
from autohas_api.space.decisions import Decision, Role, Space, declared_decisions, initial_points, reads_decisions_from_code, resolve
from autohas_api.spec.algorithm import name_algorithms
from autohas_api.spec.hyperparameters import KNOWN
from autohas_api.spec.search import Search, Spec, parse
from autohas_api.spec.search_space import ArchitectureDecision
from autohas_api.spec.trainer import STORAGE
from autohas_api.templates.template_spec import TemplateDecision

MAX_FIELD_ERRORS: Final = 100
"""Each error may list all allowed names: thousands of errors would be megabytes of text."""
_MORE: Final = FieldError(path="spec", message=f"and more: only the first {MAX_FIELD_ERRORS} problems are listed; correct them first")
_DECISIONS: Final = "spec.searchSpace.architecture.decisions"
_INITIAL: Final = "spec.searchSpace.initialPoints"


def accept(document: Mapping[str, Any]) -> tuple[Search, Space]:
    """Parse a resource and check everything that does not need the data.

    Raises:
        SpecError: with a JSON path for each problem.
    """
    search = parse(document)
    if problems := tuple(islice(find_spec_errors(search.spec), MAX_FIELD_ERRORS + 1)):
        raise SpecError(problems if len(problems) <= MAX_FIELD_ERRORS else (*problems[:-1], _MORE))
    return search, resolve(search.spec)


def find_spec_errors(spec: Spec) -> Iterator[FieldError]:
    """Errors of a spec that passed schema and rules."""
    yield from _arguments(spec)
    yield from find_resource_errors(spec)
    yield from find_volume_errors(spec.trainer)
    if (yield from _any(find_wrong_model_budget(spec))):
        return
    declared = {d.name: d for d in declared_decisions(spec)}
    wrong = chain(_decisions(spec, declared), find_wrong_conditions_of_hyperparameters(spec.search_space.hyperparameters, declared))
    if (yield from _any(wrong)):
        return
    if reads_decisions_from_code(spec):
        yield from find_idle_fields(assume_steps(spec))
        return  # the trainer repeats the checks when it has listed the decisions
    space = resolve(spec)
    if (yield from _any(_nothing_to_search(space))):
        return
    spec = assume_steps(spec)
    yield from find_idle_fields(spec)
    yield from find_uneven_batches(spec, space)
    yield from _never_active(spec, space)
    if (yield from _any(_initial(spec, space))) or (yield from _any(_find_repeats(spec, space))):
        return
    yield from _early_stopping(spec, space)
    yield from _cost_of_nothing(spec, space)
    if not (yield from _any(_rungs(spec))):
        yield from _too_small_budget(spec, space)


def _arguments(spec: Spec) -> Iterator[FieldError]:
    """Arguments of data, model and own training that their names or types rule out."""
    yield from find_wrong_data_arguments(spec.task.data)
    yield from find_wrong_keywords(spec.task.model.arguments or {}, "spec.task.model.arguments", reserved=("input_shape", "num_outputs"))
    if spec.task.training is not None:
        keywords = spec.task.training.arguments or {}
        yield from find_wrong_keywords(keywords, "spec.task.training.arguments", reserved=("input_shape", "num_outputs"))


def _nothing_to_search(space: Space) -> Iterator[FieldError]:
    """A space of one configuration."""
    if space.size() == 1:
        yield FieldError(
            path="spec.searchSpace",
            message="nothing to search: every decision that can be active has one choice; give a decision another choice, or train the one"
            " configuration by autohas retrain",
        )


def _cost_of_nothing(spec: Spec, space: Space) -> Iterator[FieldError]:
    """A cost where no architecture is searched."""
    if spec.objective.cost is not None and not space.searched_decisions(Role.ARCHITECTURE):
        yield FieldError(
            path="spec.objective.cost",
            message="is judged by searched architectures, which task.training has none of: let evaluate put the price into a customMetric"
            if spec.task.training is not None
            else "no architecture is searched, so every network costs the same: remove cost, or give searchSpace.architecture",
        )


def _too_small_budget(spec: Spec, space: Space) -> Iterator[FieldError]:
    """A budget that does not pay for the least that the algorithm does."""
    least = minimum_trainings(spec, space)
    if float(spec.budget.trainings) < least:
        yield FieldError(
            path="spec.budget.trainings",
            message=f"must be at least {least:.3g} for this space and algorithm: {spec.budget.trainings} does not pay for"
            f" {_last_work(spec, space)}",
        )


def _rungs(spec: Spec) -> Iterator[FieldError]:
    """Rungs of an algorithm that has its own or none, or more of them than a training has steps."""
    rungs, schedule = spec.budget.rungs, spec.row.schedule
    if rungs is None:
        return
    if schedule is None or not schedule.cuts_short:
        own = "compares candidates at rungs of its own" if spec.row.is_search else "compares nothing"
        reason = own if schedule is None else "trains every trial to the end"
        message = f"has no effect: {spec.algorithm.name} {reason}; remove rungs, or take algorithm {_name_cutters()}"
        yield FieldError(path="spec.budget.rungs", message=message)
    elif spec.training.steps < rungs.num_parts:
        yield FieldError(
            path="spec.budget.rungs",
            message=f"{rungs.count} rungs with eta {rungs.eta} begin at 1/{rungs.num_parts:,} of a training, which has"
            f" {spec.training.steps:,} steps: lower count or eta, or train longer",
        )


def _name_cutters() -> str:
    """The algorithms that cut trials short."""
    return name_algorithms([row for row in ALGORITHM_ROWS if row.schedule is not None and row.schedule.cuts_short])


def _last_work(spec: Spec, space: Space) -> str:
    """What a budget must pay for at least."""
    if not spec.row.is_search:
        return f"the {spec.training.seeds} trainings of training.seeds"
    if (fewest := spec.row.fewest) is not None:
        return fewest(make_request(spec, space))
    if spec.row.race in (Race.SAMPLES, Race.NONE):
        return "the supernet and the final training"
    return "its fewest candidates and the final training of the winner and of the default"


def find_resource_errors(spec: Spec) -> Iterator[FieldError]:
    """What does not fit into the resources of the trainer; the operator asks again with the platform's default resources."""
    yield from _requests_beyond_limits(spec)
    yield from _beyond_cpu_limit(spec)
    yield from _scratch_beyond_limit(spec)


def _requests_beyond_limits(spec: Spec) -> Iterator[FieldError]:
    """Requests above their limits, which Kubernetes refuses."""
    resources = spec.trainer.resources
    limits = spec.trainer.limits
    for name, asked in ((resources.requests if resources is not None else None) or {}).items():
        if name in limits and amount(asked) > amount(limits[name]):
            path = f"spec.trainer.resources.requests.{name}"
            yield FieldError(path=path, message=f'Invalid value: "{asked}": must be at most the limit, which is {limits[name]}')


def _beyond_cpu_limit(spec: Spec) -> Iterator[FieldError]:
    """More processes that read, or more threads, than CPUs: they would wait for each other. A part of a CPU is enough for one thread."""
    workers, limit = spec.task.data.workers, spec.trainer.limits.get("cpu")
    threads = spec.trainer.compute.threads if spec.trainer.compute is not None else None
    if limit is None:
        return
    if workers and workers > amount(limit):
        message = f"{workers} must be at most the CPU limit of the trainer, which is {limit}: lower workers, or raise the limit"
        yield FieldError(path="spec.task.data.workers", message=message)
    if threads is not None and threads > math.ceil(amount(limit)):
        message = f"{threads} must be at most the CPU limit of the trainer, which is {limit}: lower threads, or raise the limit"
        yield FieldError(path="spec.trainer.compute.threads", message=message)


def _scratch_beyond_limit(spec: Spec) -> Iterator[FieldError]:
    """A size of /scratch that holds nothing, or that the limit of the pod's disk never lets it reach."""
    size, limit = spec.trainer.scratch_size, spec.trainer.limits.get(STORAGE)
    if size is not None and amount(size) < amount("1Mi"):
        yield FieldError(path="spec.trainer.scratchSize", message=f'Invalid value: "{size}": must be at least 1Mi')
    if size is not None and limit is not None and amount(size) > amount(limit):
        message = f'Invalid value: "{size}": must be at most the limit of {STORAGE}, which counts /scratch and is {limit}'
        yield FieldError(path="spec.trainer.scratchSize", message=message)


def _any(problems: Iterable[FieldError]) -> Generator[FieldError, None, bool]:
    """Yield the errors one by one; return whether there was one."""
    is_wrong = False
    for problem in problems:
        is_wrong = True
        yield problem
    return is_wrong


def _initial(spec: Spec, space: Space) -> Iterator[FieldError]:
    """Initial points with values that their decisions do not allow, or that would have no effect."""
    decisions, default = {d.name: d for d in space.decisions}, space.as_mapping(space.default)
    for index, initial in enumerate(spec.search_space.initial_points):
        completed = {**default, **initial.values}
        for name, value in initial.values.items():
            path = f"{_INITIAL}[{index}].values.{name}"
            if (decision := decisions.get(name)) is None:
                yield FieldError(path=path, message=f"is no decision of this search: must be one of {', '.join(decisions)}")
            elif decision.range is not None and not decision.allows(value):
                yield FieldError(path=path, message=f'"{value}" must be a decimal in the range of {name}')
            elif not decision.allows(value):
                yield FieldError(path=path, message=f'"{value}" must be one of {", ".join(decision.choices)}')
            elif (missing := _missing_condition(decision, decisions, completed)) is not None:
                yield FieldError(path=path, message=f'"{value}" has no effect: {name} is searched only where {missing}')
    row = spec.row
    if spec.search_space.initial_points and not row.is_search:
        message = f"{row.name} trains nothing but the default, so initialPoints would have no effect: remove them, or take a search"
        yield FieldError(path=_INITIAL, message=message)
    if (problem := row.check(make_request(spec, space))) is not None:
        yield FieldError(path=f"spec.algorithm.{row.block}.{problem.knob}", message=problem.message)


def _missing_condition(decision: Decision, by_name: Mapping[str, Decision], values: Mapping[str, str]) -> str | None:
    """The first condition, from the decision upwards, that the values do not fulfil."""
    while (when := decision.when) is not None:
        if values[when.decision] not in when.values:
            return f"{when.decision} is {' or '.join(when.values)}"
        decision = by_name[when.decision]
    return None


def _find_repeats(spec: Spec, space: Space) -> Iterator[FieldError]:
    """Initial points that are the default, which is always tried, or an earlier one."""
    tried = {space.default: "the default configuration, which is always tried"}
    for index, configuration in enumerate(initial_points(spec, space)):
        if configuration in tried:
            yield FieldError(path=f"{_INITIAL}[{index}]", message=f"is {tried[configuration]}: remove it")
        tried.setdefault(configuration, f"the same as initialPoints[{index}]")


def _never_active(spec: Spec, space: Space) -> Iterator[FieldError]:
    """Entries for decisions that no choice of the others makes active: they would have no effect."""
    reached: dict[str, bool] = {}
    choices = {d.name: (*d.choices, d.default) for d in space.decisions}
    pinned: dict[str, str] = {}
    for decision in space.decisions:
        when = decision.when
        reached[decision.name] = when is None or (reached[when.decision] and any(c in when.values for c in choices[when.decision]))
        if when is not None and not reached[decision.name]:
            pinned[decision.name] = f"{when.decision} is never {' or '.join(when.values)} in this space"
    architecture = spec.search_space.architecture
    listed = {
        "spec.searchSpace.hyperparameters": [h.name for h in spec.search_space.hyperparameters],
        _DECISIONS: [d.name for d in architecture.decisions] if architecture is not None else [],
    }
    for place, names in listed.items():
        for index, name in enumerate(names):
            if name in pinned:
                yield FieldError(path=f"{place}[{index}]", message=f'"{name}" has no effect: {pinned[name]}; remove it')


def _rewards_after_warmup(spec: Spec, space: Space) -> int:
    """Number of rewarded steps of stage Supernet, the only stage in which early stopping watches the controller."""
    rewards_controller = spec.row.rewards_controller
    return 0 if rewards_controller is None else rewards_controller(make_request(spec, space), plan_stages(spec, space))


def _early_stopping(spec: Spec, space: Space) -> Iterator[FieldError]:
    """Early-stopping criteria that can never be met."""
    rewards, stop = _rewards_after_warmup(spec, space), spec.budget.early_stopping
    if stop is not None and rewards == 0:
        yield FieldError(
            path="spec.budget.earlyStopping",
            message="judges the rewards of a controller after the warm-up, and this search has none: search an architecture with algorithm"
            f" {name_algorithms([row for row in ALGORITHM_ROWS if row.rewards_controller is not None])}, or remove earlyStopping",
        )
    elif stop is not None and stop.plateau_steps is not None and stop.plateau_steps + PLATEAU_FILLING_REWARDS > rewards:
        yield FieldError(
            path="spec.budget.earlyStopping.plateauSteps",
            message=f"could never come true: {rewards} steps are rewarded after the warm-up,"
            f" and the first {PLATEAU_FILLING_REWARDS} only fill the average: {_at_most(rewards - PLATEAU_FILLING_REWARDS)}",
        )
    row = spec.row
    if spec.objective.goal is not None and row.race in (Race.SAMPLES, Race.NONE):
        yield FieldError(
            path="spec.objective.goal",
            message="is judged when candidates are compared, and"
            f" {row.name}{' with result Argmax' if row.race is Race.NONE and row.is_search else ''} compares none before its final"
            " training: remove goal",
        )


def _at_most(limit: int) -> str:
    return f"must be at most {limit}, or budget.trainings larger" if limit > 0 else "remove it, or give more budget.trainings"


def _decisions(spec: Spec, declared: Mapping[str, TemplateDecision]) -> Iterator[FieldError]:
    architecture = spec.search_space.architecture
    if architecture is None:
        return
    if spec.task.model.template is None:
        yield from _check_completeness(architecture.decisions, declared, {*KNOWN, *(h.name for h in spec.search_space.hyperparameters)})
        return
    for index, change in enumerate(architecture.decisions):
        path = f"{_DECISIONS}[{index}]"
        if change.name not in declared:
            listed = ", ".join(declared)
            yield FieldError(
                path=f"{path}.name",
                message=f'"{change.name}" is no decision of template {spec.task.model.template}: must be one of {listed}',
            )
            continue
        yield from _choices(change, declared[change.name], path)
    yield from find_wrong_conditions_of_decisions(architecture.decisions, declared)


def _check_completeness(
    listed: list[ArchitectureDecision], declared: Mapping[str, TemplateDecision], hyperparameters: AbstractSet[str]
) -> Iterator[FieldError]:
    """Decisions of an entrypoint's model, which only the trainer can import: the spec must list all fields of each, or no decision."""
    incomplete = False
    for index, decision in enumerate(listed):
        if decision.name in hyperparameters:
            yield FieldError(
                path=f"{_DECISIONS}[{index}].name", message=f'"{decision.name}" is the name of a hyperparameter: choose another'
            )
        for field, value in (("choices", decision.choices), ("default", decision.default)):
            if value is None:
                incomplete = True
                yield FieldError(
                    path=f"{_DECISIONS}[{index}].{field}", message="Required value: an entrypoint's decisions are listed whole"
                )
    if incomplete:
        return
    # The model defines the values that a condition may name: the choices in the spec may be a subset.
    seen: dict[str, set[str]] = {name: set() for name in declared}
    for decision in listed:
        if decision.when is not None:
            seen.setdefault(decision.when.decision, set()).update(decision.when.values)
    extended = {name: replace(d, when=None, choices=(*d.choices, *seen[name])) for name, d in declared.items()}
    yield from find_wrong_conditions_of_decisions(listed, extended)


def _choices(change: ArchitectureDecision, declared: TemplateDecision, path: str) -> Iterator[FieldError]:
    listed = ", ".join(declared.choices)
    for position, choice in enumerate(change.choices or []):
        if choice not in declared.choices:
            yield FieldError(path=f"{path}.choices[{position}]", message=f'"{choice}" must be one of {listed}')
    if change.default is not None and change.default not in declared.choices:
        yield FieldError(path=f"{path}.default", message=f'"{change.default}" must be one of {listed}')
