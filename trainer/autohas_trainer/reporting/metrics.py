"""Prometheus metrics, built when they are scraped: between scrapes they cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from autohas_trainer.reporting.live import STEP_SECONDS, CheckpointFacts, Snapshot
from autohas_trainer.reporting.records import PolicyRecord

__all__ = ["MAX_POLICY_SERIES", "SearchCollector", "build_registry", "render"]

MAX_POLICY_SERIES: Final = 512
"""More choices than these: only the most likely choice of each decision is exported."""


class SearchCollector(Collector):
    """Everything that a running search exports."""

    def __init__(self, snapshot: Callable[[], Snapshot], wall_clock: Callable[[], float]) -> None:
        """Args: where the state comes from; seconds since the epoch, for the age of checkpoints."""
        self._snapshot = snapshot
        self._wall_clock = wall_clock

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        snapshot = self._snapshot()
        yield from _steps(snapshot)
        yield from _supernet(snapshot)
        if snapshot.policy is not None:
            yield from _policy(snapshot.policy, _choices(snapshot))
            yield _counter("autohas_policy_updates", "Updates of the controller in this process.", snapshot.num_policy_updates)
        if snapshot.checkpoint is not None:
            yield from _checkpoint(snapshot.checkpoint, self._wall_clock())
        if snapshot.info is not None and snapshot.info.steps:
            share = min(1.0, snapshot.position / snapshot.info.steps)
            yield _gauge("autohas_trainer_progress_ratio", "Share of the planned steps that are done, 0 to 1.", share)
        if snapshot.leader is not None:
            yield _gauge("autohas_trainer_best_score", "Selection-split metric of the leading candidate.", snapshot.leader.metric)


def build_registry(snapshot: Callable[[], Snapshot], wall_clock: Callable[[], float]) -> CollectorRegistry:
    """A registry of its own: the search, and memory and CPU of the process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SearchCollector(snapshot, wall_clock))
    ProcessCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Text format 0.0.4, which every Prometheus reads."""
    return generate_latest(registry)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _steps(snapshot: Snapshot) -> Iterator[Metric]:
    steps = CounterMetricFamily("autohas_trainer_steps", "Steps done in this process.", labels=["stage"])
    for stage, count in snapshot.steps_by_stage.items():
        steps.add_metric([stage], count)
    yield steps
    buckets = list(accumulate(snapshot.step_buckets))
    bounds = [*(str(bound) for bound in STEP_SECONDS), "+Inf"]
    yield HistogramMetricFamily(
        "autohas_trainer_step_duration_seconds",
        "Time from one step to the next, comparisons and checkpoints left out.",
        buckets=list(zip(bounds, buckets, strict=True)),
        sum_value=snapshot.step_seconds,
    )
    if (latest := snapshot.latest) is not None:
        if latest.loss is not None:
            yield _gauge("autohas_trainer_loss", "Training loss of the latest step, in nats.", latest.loss)
        yield _gauge("autohas_trainer_learning_rate", "Learning rate of the latest step.", latest.learning_rate)


def _supernet(snapshot: Snapshot) -> Iterator[Metric]:
    yield _counter("autohas_trainer_samples", "Configurations sampled in the supernet in this process.", snapshot.samples)
    if (rewarded := snapshot.rewarded) is not None:
        if rewarded.reward is not None:
            yield _gauge("autohas_trainer_reward", "Reward of the latest sample.", rewarded.reward)
        if rewarded.advantage is not None:
            yield _gauge("autohas_trainer_advantage", "Advantage of the latest sample over the baseline, normalised.", rewarded.advantage)
    if snapshot.policy is not None:
        yield _gauge("autohas_trainer_reward_baseline", "Moving average of the rewards.", snapshot.policy.baseline)


def _choices(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    return {d.name: d.choices for d in snapshot.info.space.decisions} if snapshot.info is not None else {}


def _policy(policy: PolicyRecord, choices: dict[str, tuple[str, ...]]) -> Iterator[Metric]:
    entropy = GaugeMetricFamily(
        "autohas_policy_entropy_ratio", "Entropy of a decision over that of a uniform one: 1 undecided, 0 decided.", labels=["decision"]
    )
    for name, value in policy.entropy.items():
        entropy.add_metric([name], value)
    yield entropy
    yield _gauge("autohas_policy_normalized_entropy_ratio", "Entropy of the whole policy, 1 uniform, 0 decided.", policy.normalized_entropy)
    is_truncated = sum(map(len, policy.probabilities.values())) > MAX_POLICY_SERIES
    probability = GaugeMetricFamily("autohas_policy_probability", "Probability of a choice.", labels=["decision", "choice"])
    for name, row in list(policy.probabilities.items())[:MAX_POLICY_SERIES]:
        shown = [max(range(len(row)), key=row.__getitem__)] if is_truncated else range(len(row))
        for index in shown:
            probability.add_metric([name, choices[name][index]], row[index])
    yield probability
    yield _gauge(
        "autohas_policy_series_truncated", f"1 when only top choices are exported (over {MAX_POLICY_SERIES} series).", float(is_truncated)
    )


def _checkpoint(checkpoint: CheckpointFacts, now: float) -> Iterator[Metric]:
    yield _gauge("autohas_trainer_checkpoint_age_seconds", "Age of the newest durable checkpoint.", max(0.0, now - checkpoint.info.time))
    if checkpoint.seconds is not None:
        yield _gauge("autohas_trainer_checkpoint_duration_seconds", "Time to write the newest checkpoint.", checkpoint.seconds)
    if checkpoint.size_bytes is not None:
        yield _gauge("autohas_trainer_checkpoint_size_bytes", "Size of the newest checkpoint.", float(checkpoint.size_bytes))
