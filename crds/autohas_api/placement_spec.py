"""Where the trainer pod may run and which devices it claims: Kubernetes' own types, bounded."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from autohas_api.kube_types import DnsName, Key, Labels, LabelValue
from autohas_api.model import Model, Rule

Weight = Annotated[int, Field(ge=1, le=100)]
Values = Annotated[list[LabelValue], Field(max_length=32)]
Keys = Annotated[list[Key], Field(max_length=16)]
_FEW = Field(max_length=8)


class Toleration(Model):
    """A taint that the trainer pod tolerates."""

    key: Annotated[str, StringConstraints(max_length=317)] | None = Field(default=None)
    operator: Literal["Exists", "Equal"] | None = Field(default=None)
    value: LabelValue | None = Field(default=None)
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(default=None)
    toleration_seconds: Annotated[int, Field(ge=0, le=9007199254740991)] | None = Field(default=None)


class NodeRequirement(Model):
    """What a label or field of the node must be."""

    key: Key = Field()
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field()
    values: Values | None = Field(default=None)


class NodeTerm(Model):
    """Requirements that must hold together."""

    match_expressions: Annotated[list[NodeRequirement], Field(max_length=16)] | None = Field(default=None)
    match_fields: Annotated[list[NodeRequirement], Field(max_length=16)] | None = Field(default=None)


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

    key: Key = Field()
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field()
    values: Values | None = Field(default=None)


class LabelSelector(Model):
    """Objects by their labels."""

    match_labels: Labels | None = Field(default=None)
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=16)] | None = Field(default=None)


class PodTerm(Model):
    """Pods near which, or far from which, the trainer pod runs."""

    topology_key: Key = Field()
    label_selector: LabelSelector | None = Field(default=None)
    namespace_selector: LabelSelector | None = Field(default=None)
    namespaces: Annotated[list[DnsName], Field(max_length=16)] | None = Field(default=None)
    match_label_keys: Keys | None = Field(default=None)
    mismatch_label_keys: Keys | None = Field(default=None)


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
    topology_key: Key = Field()
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field()
    label_selector: LabelSelector | None = Field(default=None)
    match_label_keys: Keys | None = Field(default=None)
    min_domains: Annotated[int, Field(ge=1, le=1000)] | None = Field(default=None)
    node_affinity_policy: Literal["Honor", "Ignore"] | None = Field(default=None)
    node_taints_policy: Literal["Honor", "Ignore"] | None = Field(default=None)


class ResourceClaim(Model):
    """Devices by dynamic resource allocation; the trainer container gets all of them."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)] = Field()
    resource_claim_name: DnsName | None = Field(default=None)
    resource_claim_template_name: DnsName | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="has(self.resourceClaimName) != has(self.resourceClaimTemplateName)",
            message="exactly one of resourceClaimName and resourceClaimTemplateName must be given",
            holds=lambda c: (c.resource_claim_name is None) != (c.resource_claim_template_name is None),
        ),
    )
