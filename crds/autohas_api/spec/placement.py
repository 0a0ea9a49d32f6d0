"""Where the trainer pod may run and which devices it claims: Kubernetes' own types, bounded."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.expressions import field
from autohas_api.base.kube_rules import keys_are_labels, requirement_values
from autohas_api.base.kube_types import LABEL_KEY_PATTERN, DnsName, LabelKey, Labels, LabelValue
from autohas_api.base.model import Model, Rule
from autohas_api.base.rules import exactly_one, only_with, rule

Weight = Annotated[int, Field(ge=1, le=100)]
Values = Annotated[list[LabelValue], Field(max_length=32)]
Keys = Annotated[list[LabelKey], Field(max_length=16)]
_FEW = Field(max_length=8)


class Toleration(Model):
    """A taint that the trainer pod tolerates."""

    key: Annotated[str, StringConstraints(pattern=f"^$|{LABEL_KEY_PATTERN}", max_length=317)] | None = Field(default=None)
    operator: Literal["Exists", "Equal"] | None = Field(default=None)
    value: LabelValue | None = Field(default=None)
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(default=None)
    toleration_seconds: Annotated[int, Field(ge=0, le=9007199254740991)] | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            (field("key").given & field("key").differs("")) | (field("operator").given & field("operator").equals("Exists")),
            "operator must be Exists where no key is given: it then tolerates every taint",
            at=".operator",
        ),
        rule(
            ~field("value").given | field("value").equals("") | ~field("operator").given | field("operator").differs("Exists"),
            "value must not be given when operator is Exists",
            at=".value",
        ),
        only_with("tolerationSeconds", "effect", "NoExecute", has_default=False),
    )


class NodeRequirement(Model):
    """What a label of the node must be."""

    key: LabelKey = Field()
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field()
    values: Values | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (requirement_values(numbers=True),)


class FieldRequirement(Model):
    """The node's name: the only field that Kubernetes selects by."""

    key: Literal["metadata.name"] = Field()
    operator: Literal["In", "NotIn"] = Field()
    values: Annotated[list[DnsName], Field(min_length=1, max_length=1)] = Field()


class NodeTerm(Model):
    """Requirements that must hold together."""

    match_expressions: Annotated[list[NodeRequirement], Field(max_length=16)] | None = Field(default=None)
    match_fields: Annotated[list[FieldRequirement], Field(max_length=16)] | None = Field(default=None)


class NodeTerms(Model):
    """Terms of which one must hold."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=16)] = Field()


class PreferredNodeTerm(Model):
    """A term that is worth something."""

    weight: Weight = Field()
    preference: NodeTerm = Field()


class NodeAffinity(Model):
    """Which nodes."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = Field(default=None)
    preferred_during_scheduling_ignored_during_execution: Annotated[list[PreferredNodeTerm], Field(max_length=16)] | None = Field(
        default=None
    )


class LabelRequirement(Model):
    """What a label must be."""

    key: LabelKey = Field()
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field()
    values: Values | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (requirement_values(numbers=False),)


class LabelSelector(Model):
    """Objects by their labels."""

    match_labels: Labels | None = Field(default=None)
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=16)] | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (keys_are_labels("matchLabels"),)


def _needs_selector(name: str) -> Rule:
    """Keys of labels that are added to a selector need one."""
    keys = field(name)
    return rule(
        ~keys.given | keys.size.equals(0) | field("labelSelector").given, f"{name} must not be given without labelSelector", at=f".{name}"
    )


class PodTerm(Model):
    """Pods near which, or far from which, the trainer pod runs."""

    topology_key: LabelKey = Field()
    label_selector: LabelSelector | None = Field(default=None)
    namespace_selector: LabelSelector | None = Field(default=None)
    namespaces: Annotated[list[DnsName], Field(max_length=16)] | None = Field(default=None)
    match_label_keys: Keys | None = Field(default=None)
    mismatch_label_keys: Keys | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = tuple(_needs_selector(field) for field in ("matchLabelKeys", "mismatchLabelKeys"))


class PreferredPodTerm(Model):
    """A term that is worth something."""

    weight: Weight = Field()
    pod_affinity_term: PodTerm = Field()


class PodAffinity(Model):
    """Which neighbours."""

    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm], Field(max_length=8)] | None = Field(default=None)
    preferred_during_scheduling_ignored_during_execution: Annotated[list[PreferredPodTerm], _FEW] | None = Field(default=None)


class Affinity(Model):
    """Nodes and neighbours that the pod wants or avoids."""

    node_affinity: NodeAffinity | None = Field(default=None)
    pod_affinity: PodAffinity | None = Field(default=None)
    pod_anti_affinity: PodAffinity | None = Field(default=None)


class TopologySpreadConstraint(Model):
    """Spread of pods over zones or nodes."""

    max_skew: Annotated[int, Field(ge=1, le=1000)] = Field()
    topology_key: LabelKey = Field()
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field()
    label_selector: LabelSelector | None = Field(default=None)
    match_label_keys: Keys | None = Field(default=None)
    min_domains: Annotated[int, Field(ge=1, le=1000)] | None = Field(default=None)
    node_affinity_policy: Literal["Honor", "Ignore"] | None = Field(default=None)
    node_taints_policy: Literal["Honor", "Ignore"] | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (
        _needs_selector("matchLabelKeys"),
        only_with("minDomains", "whenUnsatisfiable", "DoNotSchedule"),
    )


class ResourceClaim(Model):
    """Devices by dynamic resource allocation; the trainer container gets all of them."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)] = Field()
    resource_claim_name: DnsName | None = Field(default=None)
    resource_claim_template_name: DnsName | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("resourceClaimName", "resourceClaimTemplateName"),)
