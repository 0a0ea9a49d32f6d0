"""Prometheus metrics, built at each scrape.

Starts and active seconds count over all processes of a search. The other counters start at 0 in each process; Prometheus handles
such resets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from autohas_api.space.rates import trained_value
from autohas_api.wire.messages import Effect, order_effects
from autohas_trainer.events import PolicyRecord, RunInfo
from autohas_trainer.reporting.sinks.device_peak import mfu, peak_flops
from autohas_trainer.reporting.sinks.effect_text import effect_rung
from autohas_trainer.reporting.sinks.live_state import STEP_SECONDS, CheckpointFacts, Snapshot
from autohas_trainer.reporting.sinks.progress import eta_seconds

__all__ = ["GpuMemory", "SearchCollector", "build_registry", "render"]

GpuMemory = Callable[[], Mapping[str, int]]
"""Returns bytes of device memory by kind: allocated, reserved, peak."""


class SearchCollector(Collector):
    """Exports the state of a running search."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        wall_clock: Callable[[], float],
        monotonic: Callable[[], float],
        gpu_memory: GpuMemory | None = None,
    ) -> None:
        """`wall_clock` returns seconds since the epoch, `monotonic` monotonic seconds; `gpu_memory` is None without a GPU."""
        self._snapshot = snapshot
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._gpu_memory = gpu_memory

    def collect(self) -> Iterator[Metric]:
        """Answer one scrape."""
        snapshot = self._snapshot()
        if snapshot.info is not None:
            yield from _run(snapshot, snapshot.info, self._monotonic())
        yield from _steps(snapshot)
        yield from _usage(snapshot)
        yield from _losses(snapshot)
        yield from _learning_rates(snapshot)
        yield from _supernet(snapshot)
        if snapshot.policy is not None and snapshot.info is not None:
            choices = {d.name: d.choices for d in snapshot.info.space.decisions}
            yield from _policy(snapshot.policy, choices, snapshot.info.search.spec.monitoring.per_choice_limit)
            yield _counter("autohas_policy_updates", "Updates of the controller in this process.", snapshot.num_policy_updates)
        if snapshot.info is not None:
            yield from _effects(snapshot.effects, snapshot.info)
        failures = snapshot.num_checkpoint_failures
        yield _counter("autohas_trainer_checkpoint_failures", "Checkpoints that could not be written in this process.", failures)
        if snapshot.checkpoint is not None:
            worked_s = self._monotonic() - snapshot.started_at
            yield from _checkpoint(snapshot.checkpoint, min(worked_s, self._wall_clock() - snapshot.checkpoint.info.time))
        if snapshot.leader is not None and snapshot.leader.metric is not None:
            yield _gauge("autohas_trainer_best_score", "Selection-split metric of the leading candidate.", snapshot.leader.metric)
        if self._gpu_memory is not None:
            yield _labelled_gauge("autohas_trainer_gpu_memory_bytes", "Memory of the GPU by kind.", "kind", self._gpu_memory())


def build_registry(
    snapshot: Callable[[], Snapshot],
    wall_clock: Callable[[], float],
    monotonic: Callable[[], float],
    gpu_memory: GpuMemory | None = None,
) -> CollectorRegistry:
    """Build a registry with the metrics of the search and of the process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SearchCollector(snapshot, wall_clock, monotonic, gpu_memory))
    ProcessCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Text format 0.0.4, which every Prometheus reads."""
    return generate_latest(registry)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _labelled_gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _run(snapshot: Snapshot, info: RunInfo, now: float) -> Iterator[Metric]:
    """Yield stage, progress, cost and time."""
    stages = {stage.value: float(stage is snapshot.stage) for stage in {**snapshot.stages, snapshot.stage: 0}}
    yield _labelled_gauge("autohas_trainer_stage", "1 for the current stage, 0 for the others.", "stage", stages)
    if snapshot.steps:
        yield _gauge("autohas_trainer_progress_ratio", "Share of the planned steps that are done, from 0 to 1.", snapshot.total_share)
    if (run := snapshot.run) is not None:
        yield _gauge("autohas_trainer_run", "Present run of a comparison, from 1; stages, costs and scores are of this run.", run.number)
        yield _gauge("autohas_trainer_runs", "Runs of the comparison.", run.num_runs)
    if (remaining_s := eta_seconds(snapshot)) is not None:
        yield _gauge("autohas_trainer_remaining_seconds", "Estimated time until the end, over all stages.", remaining_s)
    if snapshot.latest is not None:
        yield _gauge("autohas_trainer_cost_trainings", "Cost so far in units of one full training.", snapshot.latest.cost)
    planned_cost = info.plan.predicted_trainings
    yield _gauge("autohas_trainer_planned_cost_trainings", "Cost of the whole search in units of one full training.", planned_cost)
    yield _counter("autohas_trainer_starts", "Trainer processes of this search so far.", snapshot.starts)
    limit = info.search.spec.budget.max_active_seconds
    if limit is not None:
        limit *= 1 if run is None else run.num_runs  # each run may take as long
        yield _gauge("autohas_trainer_active_limit_seconds", "Limit of the active seconds, spec.budget.maxActiveSeconds.", limit)
    active = snapshot.active_seconds(now)
    yield _counter("autohas_trainer_active_seconds", "Seconds that the trainers of this search have run, over all processes.", active)


def _steps(snapshot: Snapshot) -> Iterator[Metric]:
    steps = CounterMetricFamily("autohas_trainer_steps", "Steps done in this process.", labels=["stage"])
    for stage, count in snapshot.steps_by_stage.items():
        steps.add_metric([stage], count)
    yield steps
    buckets = list(accumulate(snapshot.step_buckets))
    bounds = [*(str(bound) for bound in STEP_SECONDS), "+Inf"]
    yield HistogramMetricFamily(
        "autohas_trainer_step_duration_seconds",
        "Time from one step to the next, comparisons left out.",
        buckets=list(zip(bounds, buckets, strict=True)),
        sum_value=snapshot.step_seconds,
    )


def _usage(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield how fast the newest steps were, and the peak memory of the stages that have ended."""
    pace, info = snapshot.pace, snapshot.info
    if pace is not None and info is not None:
        yield _gauge("autohas_trainer_examples_per_second", "Training examples per second over the newest 128 steps.", pace.examples)
        yield _gauge("autohas_trainer_data_wait_ratio", "Share of the time of these steps that they waited for data.", pace.waited)
        utilisation = mfu(pace.flops, peak_flops(info.search, info.environment))
        if utilisation is not None:
            text = "Floating-point operations of the networks in these steps over the peak of the GPU; absent where a figure is not known."
            yield _gauge("autohas_trainer_mfu_ratio", text, utilisation)
    text = "Peak memory of a stage that has ended: of the process, and on a GPU of PyTorch's allocator."
    family = GaugeMetricFamily("autohas_trainer_peak_memory_bytes", text, labels=["stage", "kind"])
    for stage, use in snapshot.use_by_stage.items():
        for kind, peak in use.peak_memory.items():
            family.add_metric([stage, kind], peak)
    yield family


def _losses(snapshot: Snapshot) -> Iterator[Metric]:
    selection = snapshot.compared.loss if snapshot.compared is not None else None
    losses = {split: loss for split, loss in (("train", snapshot.train_loss), ("selection", selection)) if loss is not None}
    yield _labelled_gauge(
        "autohas_trainer_loss", "Loss in nats: of the latest step whose loss was read, and of the latest comparison.", "split", losses
    )
    yield _counter("autohas_trainer_non_finite_losses", "Steps of this process whose loss was not finite.", snapshot.non_finite_losses)


def _learning_rates(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield the learning rate of the weights, and of the controller where it learns."""
    rates = {"weights": snapshot.latest.learning_rate} if snapshot.latest is not None else {}
    algorithm = snapshot.info.search.spec.algorithm if snapshot.info is not None else None
    if algorithm is not None and snapshot.policy is not None and (rate := algorithm.row.policy_learning_rate) is not None:
        rates["policy"] = rate(algorithm.knobs)
    yield _labelled_gauge("autohas_trainer_learning_rate", "Learning rate of the latest step.", "optimizer", rates)


def _supernet(snapshot: Snapshot) -> Iterator[Metric]:
    yield _counter("autohas_trainer_samples", "Configurations sampled in the supernet in this process.", snapshot.samples)
    if (rewarded := snapshot.rewarded) is not None:
        if rewarded.reward is not None:
            yield _gauge("autohas_trainer_reward", "Reward of the latest sample.", rewarded.reward)
        if rewarded.advantage is not None:
            yield _gauge("autohas_trainer_advantage", "Advantage of the latest sample over the baseline, normalised.", rewarded.advantage)
    if snapshot.policy is not None and snapshot.rewarded is not None:
        yield _gauge("autohas_trainer_reward_baseline", "Moving average of the rewards.", snapshot.policy.baseline)


def _policy(policy: PolicyRecord, choices: Mapping[str, tuple[str, ...]], limit: int) -> Iterator[Metric]:
    text = "Entropy of a decision over that of a uniform one: 1 undecided, 0 decided."
    yield _labelled_gauge("autohas_policy_entropy_ratio", text, "decision", policy.entropy)
    yield _gauge("autohas_policy_normalized_entropy_ratio", "Entropy of the whole policy, 1 uniform, 0 decided.", policy.normalized_entropy)
    is_truncated = sum(map(len, policy.probabilities.values())) > limit
    probability = GaugeMetricFamily("autohas_policy_probability", "Probability of a choice.", labels=["decision", "choice"])
    for name, row in list(policy.probabilities.items())[:limit]:
        indices = [max(range(len(row)), key=row.__getitem__)] if is_truncated else range(len(row))
        for index in indices:
            probability.add_metric([name, choices[name][index]], row[index])
    yield probability
    text = "1 when only top choices are exported: there are more than spec.monitoring.perChoiceLimit, and that is not 0."
    yield _gauge("autohas_policy_series_truncated", text, float(is_truncated and limit > 0))


def _effects(effects: Sequence[Effect], info: RunInfo) -> Iterator[Metric]:
    """Yield the effects of single changes, the largest where there are more than spec.monitoring.perChoiceLimit."""
    rung = effect_rung(info.search.spec)
    text = f"Gain of the default with one decision changed over the default, after {rung}, over the loss of a constant answer."
    effect = GaugeMetricFamily("autohas_trainer_effect_ratio", text, labels=["decision", "choice"])
    text = "Standard error of autohas_trainer_effect_ratio over the compared examples."
    error = GaugeMetricFamily("autohas_trainer_effect_standard_error_ratio", text, labels=["decision", "choice"])
    spec, default = info.search.spec, info.space.as_mapping(info.space.default)
    for measured in order_effects(effects)[: spec.monitoring.per_choice_limit]:
        labels = [measured.decision, trained_value(spec, {**default, measured.decision: measured.value}, measured.decision)]
        effect.add_metric(labels, measured.effect)
        error.add_metric(labels, measured.standard_error)
    yield effect
    yield error


def _checkpoint(checkpoint: CheckpointFacts, age_s: float) -> Iterator[Metric]:
    meaning = "Active seconds since the newest durable checkpoint; time between two processes does not count."
    yield _gauge("autohas_trainer_checkpoint_age_seconds", meaning, max(0.0, age_s))
    if checkpoint.seconds is not None:
        yield _gauge("autohas_trainer_checkpoint_duration_seconds", "Time to write the newest checkpoint.", checkpoint.seconds)
    if checkpoint.size_bytes is not None:
        yield _gauge("autohas_trainer_checkpoint_size_bytes", "Size of the newest checkpoint.", float(checkpoint.size_bytes))
