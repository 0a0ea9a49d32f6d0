"""The methods that a comparison runs: each is a change of the user's search. A new one is a row of `METHODS`. Pure.

All methods get the same budget in trainings of the same default, on the same data with the same seeds. Repeats of the winner
(`training.seeds`) choose nothing, so that a comparison, which has seeds of its own, leaves them and their part of the budget out.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Final

from autohas_api.accept.acceptance import accept
from autohas_api.algorithms.best_model import DECAY_FRACTION
from autohas_api.base.digest import canonical
from autohas_api.base.spec_errors import SpecError
from autohas_api.spec.search import Search, read
from autohas_api.wire.compared_methods import MethodName

__all__ = [
    "AS_LONG",
    "METHODS",
    "OWN",
    "LeftOut",
    "Method",
    "choose_methods",
    "count_runs",
    "describe_comparison",
    "label_search",
    "search_of",
    "without_comparison",
]

OWN: Final = MethodName.SEARCH.value
"""Name of the user's own search among the methods."""
AS_LONG: Final = MethodName.DEFAULT_AS_LONG.value

_Spec = dict[str, Any]


def _keep(spec: _Spec) -> None:
    """The search as it stands."""


def _take(spec: _Spec, *, algorithm: dict[str, Any]) -> None:
    """Another algorithm; the settings of a controller, which it does not have, go."""
    spec["algorithm"] = {**copy.deepcopy(algorithm), "seed": spec["algorithm"]["seed"]}
    spec["budget"].pop("earlyStopping", None)
    if spec["budget"].pop("for", None) == "Model":
        _keep_decay(spec)
    for hyperparameter in spec["searchSpace"].get("hyperparameters", ()):
        for field in ("mixing", "topK", "derive"):
            hyperparameter.get("continuous", {}).pop(field, None)


def _keep_decay(spec: _Spec) -> None:
    """Write down where WSD falls in a search for a model: all methods have the same default, and without `for` its decay is another."""
    recipe = spec["task"].setdefault("recipe", {})
    searched = [h["categorical"]["choices"] for h in spec["searchSpace"].get("hyperparameters", ()) if h["name"] == "schedule"]
    if "WSD" in (recipe.get("schedule"), *chain.from_iterable(searched)):
        recipe.setdefault("decayFraction", str(DECAY_FRACTION))


def _train_as_long(spec: _Spec) -> None:
    """The default in one training that takes the whole budget; its schedule is laid out for that length."""
    _take(spec, algorithm={"name": "DefaultOnly"})
    spec["searchSpace"].pop("initialPoints", None)
    spec["objective"].pop("goal", None)
    spec["budget"].pop("rungs", None)
    trainings, training = Decimal(spec["budget"]["trainings"]), spec["training"]
    if "epochs" in training:
        training["epochs"] = f"{(Decimal(training['epochs']) * trainings).normalize():f}"
    else:
        training["steps"] = round(training["steps"] * trainings)
    spec["budget"]["trainings"] = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to spend the budget: name of its folder, name for people, and what it changes of the spec's JSON."""

    name: str
    title: str
    change: Callable[[_Spec], None]


METHODS: Final = (
    Method(name=OWN, title="your search", change=_keep),
    Method(
        name=MethodName.RANDOM_HALVING.value,
        title="random search with halving",
        change=partial(_take, algorithm={"name": "SuccessiveHalving"}),
    ),
    Method(name=MethodName.TPE_HALVING.value, title="TPE with halving", change=partial(_take, algorithm={"name": "TPE"})),
    Method(name=AS_LONG, title="the default trained as long", change=_train_as_long),
)
"""In the order of the tables; the first is the reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A method that cannot run with this budget or space, and why."""

    title: str
    reason: str


def without_comparison(search: Search) -> Search:
    """The search alone, as it is without `algorithm.compare`."""
    spec = search.spec
    return search.replace(spec=spec.replace(algorithm=spec.algorithm.replace(compare=None)))


def search_of(method: Method, search: Search, seed: int) -> Search:
    """The search that a method runs; `seed` is its `algorithm.seed`. Only its schema is checked."""
    document = copy.deepcopy(search.to_json())
    spec = document["spec"]
    spec["algorithm"].pop("compare", None)
    spec["algorithm"]["seed"] = seed
    if repeats := search.spec.training.seeds - 1:
        spec["training"]["seeds"] = 1
        spec["budget"]["trainings"] = f"{Decimal(search.spec.budget.trainings) - repeats:f}"
    method.change(spec)
    return read(document)


def choose_methods(search: Search) -> tuple[list[Method], list[LeftOut]]:
    """The methods that this search allows, and the others; the search itself must be acceptable."""
    own, chosen, left_out = METHODS[0], [METHODS[0]], []
    seed = search.spec.algorithm.seed
    alone = search_of(own, search, seed).to_json()
    for method in METHODS[1:]:
        try:
            changed = search_of(method, search, seed)
            if changed.to_json() == alone:
                left_out.append(LeftOut(title=method.title, reason="it is your search itself"))
                continue
            accept(changed.to_json())
        except SpecError as error:
            left_out.append(LeftOut(title=method.title, reason=str(error.field_errors[0])))
        else:
            chosen.append(method)
    return chosen, left_out


def count_runs(search: Search) -> int:
    """Number of searches that `algorithm.compare` runs; 1 without it."""
    compare = search.spec.algorithm.compare
    return 1 if compare is None else compare.seeds * len(_choose(canonical(search.to_json()))[0])


def describe_comparison(search: Search) -> str | None:
    """What `algorithm.compare` costs, and which methods it leaves out, as a sentence for the user; None without it."""
    compare = search.spec.algorithm.compare
    if compare is None:
        return None
    chosen, left_out = _choose(canonical(search.to_json()))
    runs, budget = compare.seeds * len(chosen), Decimal(search.spec.budget.trainings)
    total = f"{(runs * budget).normalize():f}"
    seeds = f"{compare.seeds} seed{'' if compare.seeds == 1 else 's'}"
    text = f"{len(chosen)} methods with {seeds} are {runs:,} runs of {budget.normalize():f} trainings each, {total} in all"
    if search.spec.budget.max_active_seconds is not None:
        text += f"; budget.maxActiveSeconds is the limit of one run: all may take {runs * search.spec.budget.max_active_seconds:,} s"
    return "; ".join([text, *(f"{left.title} is left out: {left.reason}" for left in left_out)])


@lru_cache(maxsize=512)
def _choose(document: str) -> tuple[list[Method], list[LeftOut]]:
    """`choose_methods` by the text of the search: the operator asks at every pass."""
    return choose_methods(read(json.loads(document)))


def label_search(search: Search) -> str:
    """The algorithm of a search for people: AutoHAS OneFactor. A search for a model says so, since its winner trains longer."""
    row = search.spec.row
    name = row.name if row.strategy is None else f"{row.name} {row.strategy}"
    return f"{name}, for a model" if search.spec.budget.is_for_model else name
