"""What a network costs in the units of objective.cost.metric: parameters, multiply-accumulates or milliseconds.

Ours, latency: the space has too many networks to time each, and a time taken during the search would not survive an exact resume. So
once, before step 0, up to 80 networks are timed on the run's device (median of 15 forwards of one example), and a line is fitted: one term
per choice, one for multiply-accumulates, one for parameters. The search knows latency by that line alone, and it is in the checkpoint.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from autohas_api.space.decisions import Configuration, Role, Space
from autohas_api.spec.objective import Cost
from autohas_trainer.engine.candidate_faults import candidate_part, fault_key
from autohas_trainer.errors import CandidateError, ConfigurationError, DeviceError
from autohas_trainer.seeding import stream
from autohas_trainer.space.policy import Policy
from autohas_trainer.space.recipe import path_of
from autohas_trainer.templates import CountsMacs, CustomModel, Path, Template, count_path, whole_path

__all__ = ["Costs", "Stopwatch", "stopwatch"]

Floats = npt.NDArray[np.float64]
Stopwatch = Callable[[nn.Module], float]
"""A network to the milliseconds of one forward."""

_NUM_TIMED: Final = 80
_CHECK_EVERY: Final = 5
"""Every fifth timed network does not shape the line but tells how good it is."""
_WARM_FORWARDS, _TIMED_FORWARDS = 3, 15
_MAX_KNOWN: Final = 4096
_RIDGE: Final = 1e-2
_SLACK: Final = 1.1
"""A latency target may lie 10 % outside of the fitted range: the line is no better than that."""


class Costs:
    """Costs of the networks of one space. Latency needs `measure` or `load_state_dict` first."""

    def __init__(self, cost: Cost | None, space: Space, template: Template, example: Tensor) -> None:
        """Nothing is measured; without a `cost` the metric is parameters. `example`: one input (1, ...) on the run's device."""
        self.metric = cost.metric if cost is not None else "parameters"
        self._cost = cost
        self._space = space
        self._template = template
        self.example = example
        self._known: dict[tuple[str, ...], float] = {}
        self._terms = [(d.name, choice) for d in space.searched_decisions(Role.ARCHITECTURE) for choice in d.choices]
        self._coefficients: Floats | None = None
        self._default_macs: int | None = None

    @property
    def is_measured(self) -> bool:
        """Whether `of` may be asked: always, but for latency."""
        return self.metric != "latencyMilliseconds" or self._coefficients is not None

    def of(self, configuration: Configuration) -> float:
        """The cost of a configuration's network."""
        key = tuple(self._path(configuration).values())
        cost = self._known.get(key)
        if cost is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            cost = self._known[key] = self._of(configuration)
        return cost

    def _of(self, configuration: Configuration) -> float:
        match self.metric:
            case "parameters":
                return float(self._template.num_parameters(self._path(configuration)))
            case "macs":
                return float(self.num_macs(configuration))
            case "latencyMilliseconds":
                if self._coefficients is None:
                    raise RuntimeError("latency was asked for before it was measured")
                fastest = float(self._coefficients[-1])
                return max(float(self._features(configuration) @ self._coefficients[:-1]), fastest)

    def num_macs(self, configuration: Configuration) -> int:
        """Multiply-accumulates of one forward of one example: in closed form, or counted on the network itself."""
        path = self._path(configuration)
        if isinstance(self._template, CountsMacs):
            return self._template.num_macs(path)
        return count_path(self._template, path, self.example)

    def measure(self, seed: int, time_network: Stopwatch) -> str:
        """Fit latency; returns a sentence about it. The networks are drawn by `seed`, the times are the machine's.

        Raises:
            CandidateError: the default's network cannot be run.
            DeviceError: the device failed.
        """
        timed = [(c, self._time(c, time_network)) for c in self._draw(seed)]
        drawn = [c for c, milliseconds in timed if milliseconds is not None]
        features = np.stack([self._features(c) for c in drawn])
        times = np.asarray([milliseconds for _, milliseconds in timed if milliseconds is not None], dtype=np.float64)
        is_check = np.arange(len(drawn)) % _CHECK_EVERY == _CHECK_EVERY - 1
        is_fitted = ~is_check if len(drawn) > 2 * _CHECK_EVERY else np.ones(len(drawn), dtype=bool)
        coefficients = _fit(features[is_fitted], times[is_fitted])
        self._coefficients = np.append(coefficients, times.min() / 2)
        self._known.clear()
        words = f"{len(drawn)} networks timed on {self.example.device.type}: {times.min():.3g} to {times.max():.3g} ms"
        if not is_check.any() or is_fitted.all():
            return words
        errors = np.abs(features[is_check] @ coefficients - times[is_check]) / np.maximum(times[is_check], 1e-9)
        return f"{words}; the line through them is off by {100 * errors.mean():.1f} % on networks that it has not seen"

    def _time(self, configuration: Configuration, time_network: Stopwatch) -> float | None:
        """The milliseconds of one network; None for one that cannot be built or run, which cannot win either.

        Raises:
            CandidateError: it is the default's.
            DeviceError: the device failed.
        """
        try:
            with candidate_part("timing its network", culprit=fault_key(configuration), is_custom=isinstance(self._template, CustomModel)):
                return time_network(self._build(self._path(configuration)))
        except DeviceError:
            raise
        except CandidateError:
            if configuration == self._space.default:
                raise
            return None

    def find_range(self) -> tuple[float, float]:
        """The least and the greatest cost in the space, by changing one decision at a time until nothing helps."""
        return self.of(self.find_extreme(sign=-1)), self.of(self.find_extreme(sign=1))

    def find_extreme(self, *, sign: int) -> Configuration:
        """The configuration with the greatest (sign 1) or least (sign -1) cost that one-decision changes reach from the default."""
        values = self._space.as_mapping(self._space.default)
        while True:
            before = dict(values)
            for decision in self._space.searched_decisions(Role.ARCHITECTURE):
                costs = {c: sign * cost for c in decision.choices if (cost := self._try_of({**values, decision.name: c})) is not None}
                best = max(costs, key=costs.__getitem__)
                if costs[best] > costs.get(values[decision.name], -math.inf):
                    values[decision.name] = best
            if values == before:
                return self._space.configuration(values)

    def _try_of(self, values: Mapping[str, str]) -> float | None:
        """As `of`; None for a network other than the default's that cannot be built or run: it cannot win either."""
        configuration = self._space.configuration(values)
        if configuration == self._space.default:
            return self.of(configuration)
        try:
            with candidate_part("counting its cost", culprit=fault_key(configuration), is_custom=isinstance(self._template, CustomModel)):
                return self.of(configuration)
        except DeviceError:
            raise
        except CandidateError:
            return None

    def check_target(self) -> None:
        """Refuse a target that no network of the space can meet.

        Raises:
            ConfigurationError: the target lies outside of the attainable range, which is named.
        """
        if self._cost is None:
            return
        least, greatest = self.find_range()
        slack = _SLACK if self.metric == "latencyMilliseconds" else 1.0
        target = float(self._cost.target)
        if not least / slack <= target <= greatest * slack:
            side = "below the least" if target < least else "above the greatest"
            message = (
                f"spec.objective.cost.target is {self._cost.target}, {side} {self.metric} of any network in this space:"
                f" choose a target from {_format(least)} to {_format(greatest)}"
            )
            raise ConfigurationError(message)

    def state_dict(self) -> dict[str, Any]:
        """The measurements, as JSON; floats survive exactly."""
        return {"latency": None if self._coefficients is None else self._coefficients.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with an earlier process's measurement."""
        self._known.clear()
        self._coefficients = None if state["latency"] is None else np.asarray(state["latency"], dtype=np.float64)

    def _path(self, configuration: Configuration) -> Path:
        return whole_path(self._template.decisions, path_of(self._space, configuration))

    def _build(self, path: Path) -> nn.Module:
        return self._template.build(path, (0, "cost")).to(self.example.device)

    def _features(self, configuration: Configuration) -> Floats:
        """One, size in units of the default network, and one 0 or 1 per choice; inactive decisions are 0."""
        values, default = self._space.as_mapping(configuration), self._space.default
        active = {d.name for d in self._space.decisions if self._space.is_active(d, values)}
        macs = self._relative_macs(configuration)
        sizes = (self._template.num_parameters(self._path(c)) for c in (configuration, default))
        chosen = [float(name in active and values[name] == choice) for name, choice in self._terms]
        return np.asarray([1.0, macs, next(sizes) / max(1, next(sizes)), *chosen], dtype=np.float64)

    def _relative_macs(self, configuration: Configuration) -> float:
        """Multiply-accumulates in units of the default's; 0 for all networks of a model in which they cannot be counted."""
        if self._default_macs is None:
            try:
                self._default_macs = self.num_macs(self._space.default)
            except ConfigurationError:
                self._default_macs = 0
        return self.num_macs(configuration) / self._default_macs if self._default_macs else 0.0

    def _draw(self, seed: int) -> Iterator[Configuration]:
        """Distinct networks: the default, then uniform draws; fewer when the space is small."""
        uniform = Policy(Space(decisions=tuple(d for d in self._space.decisions if d.role is Role.ARCHITECTURE)), learning_rate=1.0)
        seen = {self._space.default}
        yield self._space.default
        for index in range(10 * _NUM_TIMED):
            drawn = uniform.sample(stream(seed, "latency", index)).configuration
            chosen = dict(zip((d.name for d in uniform.decisions), drawn.values, strict=True))
            configuration = self._space.configuration({**self._space.as_mapping(self._space.default), **chosen})
            if configuration not in seen:
                seen.add(configuration)
                yield configuration
            if len(seen) == _NUM_TIMED:
                return


def stopwatch(example: Tensor, clock: Callable[[], float]) -> Stopwatch:
    """Median milliseconds of a forward of `example` in evaluation mode, on its device; `clock` returns seconds."""

    @torch.no_grad()
    def time_network(network: nn.Module) -> float:
        network.eval()
        durations = []
        for _ in range(_WARM_FORWARDS + _TIMED_FORWARDS):
            begun = clock()
            network(example)
            if example.device.type == "cuda":
                torch.cuda.synchronize(example.device)
            durations.append(clock() - begun)
        return 1000 * statistics.median(durations[_WARM_FORWARDS:])

    return time_network


def _fit(features: Floats, times: Floats) -> Floats:
    """Least squares on relative errors; choices are drawn to 0, so that one that was never timed costs nothing extra."""
    weights = 1 / np.maximum(times, 1e-9)
    width = features.shape[1]
    penalty = np.sqrt(_RIDGE) * np.eye(width)
    penalty[:3] = 0
    system = np.concatenate([features * weights[:, None], penalty * float(np.median(weights))])
    target = np.concatenate([times * weights, np.zeros(width)])
    solution: Floats = np.linalg.lstsq(system, target, rcond=None)[0]
    return solution


def _format(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 and math.isclose(value, round(value)) else f"{value:.4g}"  # noqa: PLR2004 - where commas help
