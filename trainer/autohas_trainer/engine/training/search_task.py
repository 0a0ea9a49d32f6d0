"""The problem of a search: data, family of networks and space, loaded once per process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from autohas_api.accept.acceptance import find_spec_errors
from autohas_api.algorithms.algorithm_spec import Race
from autohas_api.algorithms.best_model import longest_steps
from autohas_api.algorithms.plan_request import MIN_REWARD_BATCH, Comparisons
from autohas_api.algorithms.rungs import Rungs
from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.budget.epochs import resolve_steps
from autohas_api.budget.steps_per_stage import EARLY_EXAMPLES, minimum_trainings, plan_stages, price_comparisons
from autohas_api.space.decisions import Configuration, Space, list_decisions, reads_decisions_from_code, resolve
from autohas_api.spec.search import Spec
from autohas_api.templates.template_spec import TemplateDecision
from autohas_trainer.data import ImageReading, Splits, load
from autohas_trainer.engine.accounting.costs import Costs
from autohas_trainer.engine.accounting.spending import Prices
from autohas_trainer.engine.accounting.work import Work
from autohas_trainer.engine.training.compute import check_compute, evaluation_chunk, useful_threads
from autohas_trainer.engine.training.custom_code import CustomCode
from autohas_trainer.engine.training.data_checks import check_outputs, check_real, check_sizes, list_batch_sizes
from autohas_trainer.engine.training.judged_task import build_task
from autohas_trainer.engine.training.length import Length
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.events import StepUse
from autohas_trainer.nn.pretrained import read_pretrained
from autohas_trainer.optim import STATE_KEYS, OptimizerName
from autohas_trainer.space.objective import objective
from autohas_trainer.space.recipe import TrainingRecipe
from autohas_trainer.tasks import Task
from autohas_trainer.templates import (
    OwnNetworks,
    Path,
    Template,
    build_custom,
    build_template,
    check_agreement,
    check_first_step,
)

__all__ = ["SearchTask", "build_task", "load_splits", "reading_text"]

_MAX_DECISIONS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """Everything about a search that never changes while it runs; `costs` of latency are measured before step 0.

    Work and prices are in trainings of the default configuration.
    """

    spec: Spec
    """The search; where it reads decisions from code, with all of them listed."""
    space: Space
    has_read_decisions: bool
    """Whether the decisions were read from the model's code."""
    splits: Splits
    task: Task
    template: Template
    custom: CustomCode
    costs: Costs
    works: Work
    plan: StagePlan
    device: torch.device
    reward_batch_size: int

    @classmethod
    def load(cls, spec: Spec, space: Space, device: torch.device, *, is_search: bool = True) -> SearchTask:
        """Read the data and plan the stages.

        Args:
            spec: The search.
            space: Its space; without the model's decisions where the search reads them from code.
            device: Where the data lie.
            is_search: Whether budget and reward split must do for a search; a single training needs neither.

        Raises:
            DataError: The files are missing or damaged, or too small for the recipe.
            ConfigurationError: The data cannot be divided or read as asked for.
        """
        is_open = is_search and reads_decisions_from_code(spec)
        splits = load_splits(spec, device, check=partial(_check_plan, spec, space) if is_search and not is_open else _accept_any)
        task = build_task(spec, splits, device)
        own = _build_own(spec, splits, task) if is_open else None
        if own is not None:
            spec, space = _read_decisions(spec, own.decisions, splits)
        spec = _with_steps(spec, splits.num_train)
        plan = plan_stages(spec, space, splits.num_selection, splits.num_reward)
        check_compute(spec, splits.input_shape)
        check_sizes(splits, max(list_batch_sizes(spec, space)), rewards=is_search and plan.supernet_steps > 0)
        template = _template(spec, splits, task, own)
        example = splits.train_batch(0, 2, spec.algorithm.seed).inputs[:1]
        custom = CustomCode(spec, space, template, splits, task)
        return cls(
            spec=spec,
            space=space,
            has_read_decisions=is_open,
            splits=splits,
            task=task,
            template=template,
            custom=custom,
            costs=Costs(spec.objective.cost, space, template, example),
            works=Work(spec, space, template, custom.values, example),
            plan=plan,
            device=device,
            reward_batch_size=max(MIN_REWARD_BATCH, min(spec.task.recipe.batch_size, splits.num_reward)),
        )

    @property
    def data_text(self) -> str:
        """One sentence for the user about the data that were read."""
        splits = self.splits
        num_train, num_test = splits.num_train + splits.num_reward + splits.num_selection, splits.num_test
        shape = " x ".join(map(str, splits.input_shape))
        return f"read {num_train:,} training and {num_test:,} test examples of {shape}"

    @property
    def evaluation_chunk(self) -> int:
        """Examples that are evaluated at once, by comparisons, by the test and in the memory plan."""
        return evaluation_chunk(self.spec)

    @property
    def rungs(self) -> Rungs:
        """Where a training is compared."""
        return self.spec.budget.rungs_of_training

    def rung_steps(self, configuration: Configuration, rung: int) -> int:
        """Steps of `configuration` to a rung: 1/9, 1/3 or all of a full training unless `budget.rungs` says otherwise.

        With budget.for Model they are shares of the longest training that the budget pays for.
        """
        steps = self.recipe(configuration).steps
        if self.spec.budget.is_for_model:
            steps = longest_steps(steps, float(self.spec.budget.trainings))
        return self.rungs.steps(steps, rung)

    def length(self, configuration: Configuration) -> Length:
        """The length of a training of `configuration`, as it begins."""
        return Length(self.recipe(configuration), partial(self.rung_steps, configuration), is_open=self.spec.budget.is_for_model)

    @property
    def seed(self) -> int:
        """The key of every draw."""
        return self.spec.algorithm.seed

    @property
    def cutmix(self) -> float:
        """Alpha of CutMix in trainings; 0: none."""
        augmentation = self.spec.task.data.augmentation
        return 0.0 if augmentation is None or augmentation.cut_mix is None else float(augmentation.cut_mix)

    def recipe(self, configuration: Configuration) -> TrainingRecipe:
        """The training recipe of `configuration`."""
        return self.works.recipe(configuration)

    @property
    def optimizers(self) -> tuple[OptimizerName, ...]:
        """The update rules that some configuration uses."""
        names = {self.recipe(self.space.default).optimizer}
        searched = {c for d in self.space.decisions if d.name == "optimizer" for c in d.choices}
        return tuple(name for name in STATE_KEYS if name in names | searched)

    def path(self, configuration: Configuration) -> Path:
        """The path of a configuration's network, every decision of the model present."""
        return self.works.path(configuration)

    def built_from(self, configuration: Configuration) -> Mapping[str, str]:
        """What `template.build` gets: the path and, for custom models, their own hyperparameters."""
        return {**self.path(configuration), **self.custom.values(configuration)}

    def num_parameters(self, configuration: Configuration) -> int:
        """Trainable parameters of `configuration`'s network."""
        return self.template.num_parameters(self.built_from(configuration))

    def values_text(self, configuration: Configuration) -> str:
        """The active values of a configuration, for a notice."""
        values = self.space.as_mapping(configuration)
        return ", ".join(f"{d.name} {values[d.name]}" for d in self.space.searched_decisions() if self.space.is_active(d, values))

    def objective(self, quality: float, configuration: Configuration) -> float:
        """Quality with the price of what the configuration's network costs."""
        cost = self.spec.objective.cost
        return objective(quality, self.costs.of(configuration), cost) if cost is not None else quality

    def reaches_goal(self, metric: float | None) -> bool:
        """Whether a metric on the selection split is as good as objective.goal asks; never without a goal and when diverged."""
        wanted = self.spec.objective
        if wanted.goal is None or metric is None:
            return False
        goal = float(wanted.goal)
        return metric >= goal if wanted.better == "Maximize" else metric <= goal

    def useful_threads(self, available: int) -> int:
        """CPU threads that help, of those available; see `compute.useful_threads`."""
        return useful_threads(self.spec, self.splits.input_shape, lambda: self.works.default_macs, available)

    def work(self, configuration: Configuration) -> float:
        """The cost of one whole training of `configuration`, comparisons left out; exactly 1 for the default."""
        return self.works.training(configuration)

    def step_work(self, configuration: Configuration) -> float:
        """The cost of one step of a training of `configuration`."""
        return self.work(configuration) / self.recipe(configuration).steps

    def use(self, configuration: Configuration, num_gradients: int, num_forwards: int = 0) -> StepUse:
        """What a step used that took gradients and forward passes of that number of examples, and waited since the last call."""
        flops = self.works.flops(configuration, num_gradients, num_forwards)
        return StepUse(num_examples=num_gradients, flops=flops, waited_s=self.splits.take_waited_s())

    def comparison_work(self, configuration: Configuration, rung: int) -> float:
        """The cost of comparing `configuration` at a rung: on a part of the selection split before the end, on all of it there."""
        num_selection = self.splits.num_selection
        return self.works.forward(configuration, num_selection if rung == self.rungs.last else min(num_selection, EARLY_EXAMPLES))

    def price(self, configuration: Configuration, since: int, until: int) -> float:
        """What bringing `configuration` from `since` rungs behind it to `until` costs, comparisons included.

        price(c, 0, 1) is the way to 1/9 of its training, price(c, 1, 2) that from there to 1/3, price(c, 0, 3) all of it.
        """
        steps = self.recipe(configuration).steps
        ends = [0, *(self.rung_steps(configuration, rung) for rung in range(self.rungs.count))]
        comparisons = sum(self.comparison_work(configuration, rung) for rung in range(since, until))
        return (ends[until] - ends[since]) / steps * self.work(configuration) + comparisons

    def prices(self, configuration: Configuration) -> Prices:
        """The prices of `configuration` to the first rung, from there to the last one before the end, and to the end."""
        end = self.rungs.last
        first, second, last = (self.price(configuration, since, until) for since, until in ((0, 1), (1, end), (end, end + 1)))
        repeats = self.plan.num_repeats * max(0.0, self.work(configuration) - 1)
        return Prices(first=first, second=second, last=last, repeats=repeats)

    @property
    def comparisons(self) -> Comparisons:
        """What comparing the default costs."""
        return price_comparisons(self.spec, self.splits.num_selection)

    def evaluation_work(self, configuration: Configuration) -> float:
        """The cost of the last comparison and the test of one network."""
        return self.works.forward(configuration, self.splits.num_selection + self.splits.num_test)


def _accept_any(num_train: int, num_selection: int, num_reward: int) -> None:
    """A single training compares nothing."""


def reading_text(spec: Spec) -> str:
    """One sentence for the user about the data that the search reads next."""
    data = spec.task.data
    return f"reading {data.label}" + (f" from {data.path}" if data.path is not None else "")


def load_splits(spec: Spec, device: torch.device, check: Callable[[int, int, int], None] = _accept_any) -> Splits:
    """The data of a search, divided as it asks for; `check` may refuse the sizes of its train, selection and reward splits."""
    data, shares = spec.task.data, spec.task.splits
    return load(
        data.label,
        data.path,
        data.arguments,
        kind=spec.objective.kind,
        reward=float(shares.reward),
        selection=float(shares.selection),
        stratify=shares.stratify,
        seed=spec.algorithm.seed,
        device=device,
        check=check,
        reading=ImageReading(
            loading=data.loading, workers=data.workers or 0, augmentation=data.augmentation, transform=data.train_transform
        ),
    )


def _with_steps(spec: Spec, num_train: int) -> Spec:
    """The spec with the steps that `training.epochs` stand for.

    Raises:
        ConfigurationError: they are too few, or too many.
    """
    try:
        return resolve_steps(spec, num_train)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _read_decisions(spec: Spec, decisions: tuple[TemplateDecision, ...], splits: Splits) -> tuple[Spec, Space]:
    """List the decisions of the model and repeat the checks that need them.

    Raises:
        ConfigurationError: the model has none or too many, or the search is refused with them.
    """
    if not 0 < len(decisions) <= _MAX_DECISIONS:
        what = f"has {len(decisions)} decisions, at most {_MAX_DECISIONS} can be searched" if decisions else "has no decisions"
        hint = "leave some out" if decisions else "give it some by autohas.nn, or remove searchSpace.architecture"
        raise ConfigurationError(f"spec.searchSpace.architecture: the model of {spec.task.model.label} {what}; {hint}")
    spec = list_decisions(spec, decisions)
    if (problem := next(find_spec_errors(spec), None)) is not None:
        raise ConfigurationError(
            f"{problem.path}: {problem.message} (decisions are listed as the model of {spec.task.model.label} has them)"
        )
    space = resolve(spec)
    _check_plan(spec, space, splits.num_train, splits.num_selection, splits.num_reward)
    return spec, space


def _check_plan(spec: Spec, space: Space, num_train: int, num_selection: int, num_reward: int) -> None:
    """Repeat the checks of the spec with the steps that `training.epochs` stand for, and check the price of comparisons.

    Raises:
        ConfigurationError: a number of the spec does not fit the size of the data.
    """
    resolved = _with_steps(spec, num_train)
    if resolved is not spec and (problem := next(find_spec_errors(resolved), None)) is not None:
        message = f"{problem.path}: {problem.message} (training.epochs: {spec.training.epochs} are {resolved.training.steps:,} steps)"
        raise ConfigurationError(message)
    _check_budget(resolved, space, num_selection, num_reward)


def _check_budget(spec: Spec, space: Space, num_selection: int, num_reward: int) -> None:
    """Refuse a budget that does not pay for the comparisons, whose price is known only with the data.

    Raises:
        ConfigurationError: spec.budget.trainings is too small.
    """
    least = minimum_trainings(spec, space, num_selection, num_reward)
    if float(spec.budget.trainings) < least:
        is_scored = spec.row.race is Race.SAMPLES
        again = f", the best samples over the reward split of {num_reward:,}" if is_scored else ""
        message = (
            f"spec.budget.trainings: {spec.budget.trainings} must be at least {least:.4g} for this data: comparisons of candidates pass"
            f" over the selection split of {num_selection:,} examples, over {EARLY_EXAMPLES:,} of them before the end of a training{again},"
            f" and {spec.training.steps} steps of {spec.task.recipe.batch_size} examples are few compared with that;"
            f" raise budget.trainings or training.steps, or lower task.splits.selection"
        )
        raise ConfigurationError(message)


def _template(spec: Spec, splits: Splits, task: Task, own: Template | None) -> Template:
    """The built-in family of networks, or the custom model, built now unless it is `own`, checked against the spec."""
    model = spec.task.model
    if model.template is not None:
        check_real(splits, model.template)
        template = build_template(
            model.template, splits.input_shape, task.num_outputs, is_tokens=not splits.has_real_inputs, words=splits.word_blocks
        )
        check_outputs(splits, model.template, task)
        return template
    if (training := spec.task.training) is not None:
        return OwnNetworks(training.entrypoint, training.arguments, splits.input_shape, task.num_outputs)
    template = own or _build_own(spec, splits, task)
    check_agreement(spec, template)
    check_first_step(template, f"task.model.entrypoint {model.entrypoint}", splits.train_batch(0, 2, 0).inputs, task.output_shape)
    return template


def _build_own(spec: Spec, splits: Splits, task: Task) -> Template:
    """The custom model of an entrypoint, with its pretrained weights."""
    model = spec.task.model
    assert model.entrypoint is not None  # noqa: S101 - the contract's rule: exactly one of both
    return build_custom(model.entrypoint, model.arguments, splits.input_shape, task.num_outputs, read_pretrained(model.pretrained))
