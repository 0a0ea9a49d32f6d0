"""`spec.algorithm`: which search. Names, settings and rules come from the table of algorithms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import Field, create_model

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec, Race
from autohas_api.algorithms.table import ALGORITHM_ROWS, default_rows, find_algorithm, list_names
from autohas_api.base.expressions import Expression, field
from autohas_api.base.model import Model
from autohas_api.base.rules import join_names, one_of, only_with, rule

__all__ = ["MAX_SEED", "Algorithm", "Compare", "is_one_of", "name_algorithms"]

MAX_SEED: Final = 9007199254740991
"""2^53 - 1: a JSON number holds no larger whole number exactly."""

Knobs = TypeVar("Knobs", bound=Model)


class Compare(Model):
    """A comparison of the search with other ways to spend its budget."""

    seeds: int = Field(
        ge=1,
        le=1000,
        description="Number of seeds, from algorithm.seed on; each runs the search and every other method, with the whole budget each.",
    )


class AlgorithmFields(Model):
    """Search algorithm and its settings."""

    name: str
    seed: int = Field(
        default=0,
        ge=0,
        le=MAX_SEED,
        description="Seed of all random numbers of the search. Two runs with equal specs and seeds on equal hardware give equal results.",
    )
    compare: Compare | None = Field(
        default=None,
        description="Comparison of the search with random search, TPE and one long training of the default, with several seeds. The"
        " result is that of the search with the first seed, and has the comparison. If not set, the search alone runs.",
    )

    @property
    def knobs(self) -> Model | None:
        """The settings of the algorithm, defaults where the spec has no block; None: it has none."""
        row = next(row for row in default_rows() if row.name == self.name)
        if row.knobs is None:
            return None
        block: Model | None = getattr(self, row.attribute)
        return row.knobs() if block is None else block

    def knobs_as(self, kind: type[Knobs]) -> Knobs:
        """The settings, which must be of `kind`.

        Raises:
            TypeError: The settings are those of another algorithm.
        """
        if not isinstance(knobs := self.knobs, kind):
            message = f"{self.name} has no settings of kind {kind.__name__}"
            raise TypeError(message)
        return knobs

    @property
    def row(self) -> AlgorithmSpec:
        """What the table says about the algorithm with these settings."""
        knobs = self.knobs
        row = find_algorithm(self.name, getattr(knobs, "strategy", None))
        return row.refine(row, knobs)

    @property
    def has_race(self) -> bool:
        """Whether anything is compared after the supernet."""
        return self.row.race is not Race.NONE


if TYPE_CHECKING:

    class Algorithm(AlgorithmFields):
        """Which search; a block of settings for each algorithm that has some."""

else:

    def _create() -> type[AlgorithmFields]:
        rows = default_rows()
        described = " ".join(["Search algorithm.", *(f"{row.name}: {row.description}" for row in rows)])
        with_knobs = [row for row in rows if row.knobs is not None]
        fields: dict[str, Any] = {"name": (Literal[list_names()], Field(default=rows[0].name, description=described))}
        for row in with_knobs:
            block = Field(default=None, alias=row.block, description=f"Settings of {row.name}; only with name {row.name}.")
            fields[row.attribute] = (row.knobs | None, block)
        model = create_model("Algorithm", __base__=AlgorithmFields, __doc__=AlgorithmFields.__doc__, **fields)
        searching = list_names([row for row in rows if row.is_search])
        is_a_search = rule(
            ~field("compare").is_given | one_of(field("name"), searching),
            f"compare must not be given unless name is that of a search: {join_names(searching, 'or')}",
            at=".compare",
        )
        has_room = rule(
            ~field("compare").is_given | (field("seed") + field("compare.seeds") <= MAX_SEED + 1),
            f"seeds must be lower: from algorithm.seed on, the last seed is larger than {MAX_SEED}",
            at=".compare.seeds",
        )
        model.rules = (*(only_with(row.block, "name", row.name) for row in with_knobs), is_a_search, has_room)
        return model

    Algorithm = _create()


def is_one_of(rows: Sequence[AlgorithmSpec]) -> Expression:
    """Whether the algorithm of a spec is one of `rows`, in CEL and in Python."""
    return reduce(or_, (_is_named(name, [row for row in rows if row.name == name]) for name in list_names(rows)))


def _is_named(name: str, rows: Sequence[AlgorithmSpec]) -> Expression:
    """Whether the algorithm has a name and, unless `rows` are all of that name, the strategy of one of them."""
    is_named, all_rows = field("algorithm.name").equals(name), [row for row in ALGORITHM_ROWS if row.name == name]
    if len(rows) == len(all_rows):
        return is_named
    block = field(f"algorithm.{rows[0].block}")
    is_chosen = one_of(field(f"algorithm.{rows[0].block}.strategy"), tuple(row.strategy or "" for row in rows))
    return is_named & (~block.is_given | is_chosen if all_rows[0] in rows else block.is_given & is_chosen)


def name_algorithms(rows: Sequence[AlgorithmSpec]) -> str:
    """The algorithms of `rows` that search, for a sentence: AutoHAS (strategy OneStep or Paired) or RandomSearch."""
    rows, parts = [row for row in rows if row.is_search], []
    for name in list_names(rows):
        strategies = [row.strategy for row in rows if row.name == name and row.strategy is not None]
        is_whole = len(strategies) == sum(row.name == name for row in ALGORITHM_ROWS)
        parts.append(f"{name} (strategy {join_names(strategies, 'or')})" if strategies and not is_whole else name)
    return join_names(parts, "or")
