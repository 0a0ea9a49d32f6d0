"""What a supernet may spend, and how many steps that is: pure functions of the plan, the ledger and the space. No clock.

The mean work of uniformly drawn paths is what a step costs and what the candidates of the race cost. The share is fixed when the supernet
begins, from what earlier stages left, and is in the checkpoint; its schedule and warm-up follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean, quantiles
from typing import Any, Final

from autohas_api.algorithms.plan_request import MIN_SUPERNET_TRAININGS, SupernetPrices
from autohas_api.algorithms.random_sharing import SCORE_BATCHES
from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.algorithms.stage_plan import FINALISTS, StagePlan, num_rescored
from autohas_api.budget.steps_per_stage import make_request, plan_supernet
from autohas_api.space.decisions import Configuration, Role, Space
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.accounting.spending import Prices, price_of_ends
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.seeding import stream
from autohas_trainer.space.policy import Policy

__all__ = ["SupernetShare", "draw_paths", "limit_of_samples", "price_of_whole"]

_NUM_PATHS: Final = 256
_NUM_BUILT_PATHS: Final = 32
"""Of a custom model, each network of which must be built to be counted."""
_MOST: Final = 1.25
"""Times its share, after which a supernet ends: a controller may like paths that cost more than uniform ones."""


class SupernetShare:
    """The trainings of one supernet. `trainings` and `reserve` are None until it begins."""

    def __init__(self, search_task: SearchTask) -> None:
        self.trainings: float | None = None
        self.reserve: float | None = None
        """Trainings that were set aside for what follows the supernet."""
        self._search_task = search_task
        self._plans: dict[Configuration, StagePlan] = {}

    @property
    def planned(self) -> float:
        """What the supernet may spend; the plan's figure before it begins."""
        return self.trainings if self.trainings is not None else self._search_task.plan.supernet_trainings

    def fix(self, left: float, reference: Configuration, default_rungs: int, lane: Prices | None) -> None:
        """Fix the share, unless it is fixed.

        Args:
            left: Trainings that supernet and race may spend.
            reference: The configuration whose hyperparameters the paths have.
            default_rungs: Rungs that the default has behind it.
            lane: Prices of the best lane, which may be trained to the end; None: there is none.
        """
        if self.trainings is not None:
            return
        self._plans.clear()
        paths = draw_paths(self._search_task, reference)
        self.reserve = _price_of_rest(self._search_task, paths, default_rungs, lane)
        self.trainings = max(left - self.reserve, min(MIN_SUPERNET_TRAININGS, self._search_task.plan.supernet_trainings))

    def plan(self, reference: Configuration) -> StagePlan:
        """The plan with the steps that the share pays for at the batch size of `reference`, with its hyperparameters on uniform paths."""
        plan = self._plans.get(reference)
        if plan is None:
            plan = self._plans[reference] = self._make_plan(reference)
        return plan

    def _make_plan(self, reference: Configuration) -> StagePlan:
        task, works = self._search_task, self._search_task.works
        if not task.plan.supernet_steps:
            return task.plan
        steps, size = task.spec.training.steps, task.recipe(reference).batch_size
        paths = draw_paths(task, reference)
        prices = SupernetPrices(
            step=steps * fmean(works.gradient(path, size) for path in paths),
            reward=steps * fmean(works.forward(path, task.reward_batch_size) for path in paths),
        )
        request = make_request(task.spec, task.space, task.splits.num_selection, task.splits.num_reward)
        return plan_supernet(task.spec, request, task.plan, self.planned, prices)

    def is_overdrawn(self, cost_by_stage: Mapping[str, float]) -> bool:
        """Whether the supernet has spent so much more than its share that it must end."""
        spent = sum(cost_by_stage.get(stage, 0.0) for stage in (Stage.WARMUP, Stage.SUPERNET))
        return spent > _MOST * self.planned

    def state_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"trainings": self.trainings, "reserve": self.reserve}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.trainings, self.reserve = state["trainings"], state["reserve"]
        self._plans.clear()


def draw_paths(search_task: SearchTask, reference: Configuration) -> list[Configuration]:
    """Uniform draws of the architecture with the hyperparameters of `reference`: the same ones in every process."""
    space = search_task.space
    if not space.searched_decisions(Role.ARCHITECTURE):
        return [reference]
    uniform = Policy(Space(decisions=tuple(d for d in space.decisions if d.role is Role.ARCHITECTURE)), learning_rate=1.0)
    paths = []
    for index in range(_NUM_BUILT_PATHS if search_task.custom.has_model else _NUM_PATHS):
        drawn = uniform.sample(stream(search_task.seed, "work", index)).configuration
        chosen = dict(zip((d.name for d in uniform.decisions), drawn.values, strict=True))
        paths.append(space.configuration({**space.as_mapping(reference), **chosen}))
    return paths


def limit_of_samples(search_task: SearchTask) -> float:
    """The price of the final training that RandomSharing sets aside: three quarters of uniform paths cost no more."""
    prices = [price_of_whole(search_task, path) for path in draw_paths(search_task, search_task.space.default)]
    return quantiles(prices, n=4, method="inclusive")[2] if len(prices) > 1 else prices[0]


def price_of_whole(search_task: SearchTask, path: Configuration) -> float:
    """A training without rungs, its one comparison, and its repeats beyond those that the plan sets aside."""
    prices = search_task.prices(path)
    return search_task.work(path) + search_task.comparison_work(path, LAST_RUNG) + prices.repeats


def _price_of_rest(search_task: SearchTask, paths: list[Configuration], default_rungs: int, lane: Prices | None) -> float:
    """What follows the supernet if its candidates cost as much as the drawn paths in the mean."""
    plan = search_task.plan
    if plan.num_samples:
        return _price_of_scoring(search_task, paths) + limit_of_samples(search_task)
    if not plan.num_candidates:
        return fmean(price_of_whole(search_task, path) for path in paths)
    prices = [search_task.prices(path) for path in paths]
    mean = Prices(
        first=fmean(p.first for p in prices),
        second=fmean(p.second for p in prices),
        last=fmean(p.last for p in prices),
        repeats=fmean(p.repeats for p in prices),
    )
    entries = plan.num_candidates * mean.first + min(FINALISTS, plan.num_candidates) * mean.second
    default = search_task.prices(search_task.space.default).rest(default_rungs)
    return default + entries + price_of_ends([mean] if lane is None else [mean, lane], 1)


def _price_of_scoring(search_task: SearchTask, paths: list[Configuration]) -> float:
    """Scores of the samples on some reward batches, and of the best ones on the whole reward split: a gradient for each."""
    works, num_samples = search_task.works, search_task.plan.num_samples
    size = search_task.spec.task.recipe.batch_size

    def mean(of: Callable[[Configuration], float]) -> float:
        return fmean(map(of, paths))

    gradient = mean(lambda path: works.gradient(path, size))
    first = mean(lambda path: works.forward(path, SCORE_BATCHES * search_task.reward_batch_size))
    again = mean(lambda path: works.forward(path, search_task.splits.num_reward))
    return num_samples * (gradient + first) + num_rescored(num_samples) * (gradient + again)
