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
    """Taint that the trainer pod tolerates."""

    key: Annotated[str, StringConstraints(pattern=f"^$|{LABEL_KEY_PATTERN}", max_length=317)] | None = Field(
        default=None, description="Key of the taint. If not set, all keys; operator must then be Exists."
    )
    operator: Literal["Exists", "Equal"] | None = Field(
        default=None, description="Relation of the key to the value: Exists or Equal. If not set, Equal."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint; only with operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint. If not set, all effects."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=9007199254740991)] | None = Field(
        default=None, description="Seconds for which a NoExecute taint is tolerated. If not set, forever."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            (field("key").is_given & field("key").differs("")) | (field("operator").is_given & field("operator").equals("Exists")),
            "operator must be Exists where no key is given: it then tolerates every taint",
            at=".operator",
        ),
        rule(
            ~field("value").is_given | field("value").equals("") | ~field("operator").is_given | field("operator").differs("Exists"),
            "value must not be given when operator is Exists",
            at=".value",
        ),
        only_with("tolerationSeconds", "effect", "NoExecute", has_default=False),
    )


class NodeRequirement(Model):
    """Requirement on a label of a node."""

    key: LabelKey = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(description="Relation of the label to values.")
    values: Values | None = Field(
        default=None, description="Values of the label: at least one for In and NotIn, one integer for Gt and Lt, none otherwise."
    )

    rules: ClassVar[tuple[Rule, ...]] = (requirement_values(numbers=True),)


class FieldRequirement(Model):
    """Requirement on the name of a node, the only field that Kubernetes selects by."""

    key: Literal["metadata.name"] = Field(description="Field of the node.")
    operator: Literal["In", "NotIn"] = Field(description="Relation of the field to values.")
    values: Annotated[list[DnsName], Field(min_length=1, max_length=1)] = Field(description="Name of one node.")


class NodeTerm(Model):
    """Node selector term, whose requirements are ANDed."""

    match_expressions: Annotated[list[NodeRequirement], Field(max_length=16)] | None = Field(
        default=None, description="Requirements on labels of the node."
    )
    match_fields: Annotated[list[FieldRequirement], Field(max_length=16)] | None = Field(
        default=None, description="Requirements on fields of the node."
    )


class NodeTerms(Model):
    """Node selector, whose terms are ORed."""

    node_selector_terms: Annotated[list[NodeTerm], Field(min_length=1, max_length=16)] = Field(
        description="Terms of which at least one must match."
    )


class PreferredNodeTerm(Model):
    """Node selector term with a weight."""

    weight: Weight = Field(description="Weight of the term.")
    preference: NodeTerm = Field(description="Node selector term.")


class NodeAffinity(Model):
    """Scheduling constraints on nodes."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = Field(
        default=None, description="Nodes on which the pod may be scheduled."
    )
    preferred_during_scheduling_ignored_during_execution: Annotated[list[PreferredNodeTerm], Field(max_length=16)] | None = Field(
        default=None, description="Nodes that the scheduler prefers."
    )


class LabelRequirement(Model):
    """Requirement on a label."""

    key: LabelKey = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="Relation of the label to values.")
    values: Values | None = Field(default=None, description="Values of the label: at least one for In and NotIn, none otherwise.")

    rules: ClassVar[tuple[Rule, ...]] = (requirement_values(numbers=False),)


class LabelSelector(Model):
    """Label selector, whose requirements are ANDed."""

    match_labels: Labels | None = Field(default=None, description="Labels that must be equal.")
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=16)] | None = Field(
        default=None, description="Requirements on labels."
    )

    rules: ClassVar[tuple[Rule, ...]] = (keys_are_labels("matchLabels"),)


def _needs_selector(name: str) -> Rule:
    """Keys of labels that are added to a selector need one."""
    keys = field(name)
    return rule(
        ~keys.is_given | keys.size.equals(0) | field("labelSelector").is_given,
        f"{name} must not be given without labelSelector",
        at=f".{name}",
    )


class PodTerm(Model):
    """Pods that the trainer pod must, or must not, share a topology domain with."""

    topology_key: LabelKey = Field(description="Node label that defines the topology domain.")
    label_selector: LabelSelector | None = Field(default=None, description="Selector of pods by their labels.")
    namespace_selector: LabelSelector | None = Field(default=None, description="Selector of the pods' namespaces by their labels.")
    namespaces: Annotated[list[DnsName], Field(max_length=16)] | None = Field(default=None, description="Names of the pods' namespaces.")
    match_label_keys: Keys | None = Field(default=None, description="Pod labels whose values must equal those of the trainer pod.")
    mismatch_label_keys: Keys | None = Field(default=None, description="Pod labels whose values must differ from those of the trainer pod.")

    rules: ClassVar[tuple[Rule, ...]] = tuple(_needs_selector(field) for field in ("matchLabelKeys", "mismatchLabelKeys"))


class PreferredPodTerm(Model):
    """Pod affinity term with a weight."""

    weight: Weight = Field(description="Weight of the term.")
    pod_affinity_term: PodTerm = Field(description="Pod affinity term.")


class PodAffinity(Model):
    """Scheduling constraints on other pods in the same topology domain."""

    required_during_scheduling_ignored_during_execution: Annotated[list[PodTerm], Field(max_length=8)] | None = Field(
        default=None, description="Terms that must match when the pod is scheduled."
    )
    preferred_during_scheduling_ignored_during_execution: Annotated[list[PreferredPodTerm], _FEW] | None = Field(
        default=None, description="Terms that the scheduler prefers."
    )


class Affinity(Model):
    """Scheduling constraints of the trainer pod."""

    node_affinity: NodeAffinity | None = Field(default=None, description="Constraints on nodes.")
    pod_affinity: PodAffinity | None = Field(default=None, description="Pods to share a topology domain with.")
    pod_anti_affinity: PodAffinity | None = Field(default=None, description="Pods not to share a topology domain with.")


class TopologySpreadConstraint(Model):
    """Constraint that spreads matching pods over topology domains."""

    max_skew: Annotated[int, Field(ge=1, le=1000)] = Field(description="Maximum difference of the numbers of matching pods in two domains.")
    topology_key: LabelKey = Field(description="Node label that defines the topology domain.")
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        description="What the scheduler does with a pod that does not satisfy the constraint."
    )
    label_selector: LabelSelector | None = Field(default=None, description="Selector of the pods that are counted.")
    match_label_keys: Keys | None = Field(default=None, description="Pod labels whose values must equal those of the trainer pod.")
    min_domains: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Minimum number of eligible domains; only with whenUnsatisfiable DoNotSchedule."
    )
    node_affinity_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Whether nodeSelector and nodeAffinity limit the counted nodes. If not set, Honor."
    )
    node_taints_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Whether node taints limit the counted nodes. If not set, Ignore."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        _needs_selector("matchLabelKeys"),
        only_with("minDomains", "whenUnsatisfiable", "DoNotSchedule"),
    )


class ResourceClaim(Model):
    """Claim for dynamic resource allocation, which the trainer container uses."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)] = Field(
        description="Name of the claim inside the pod, a DNS label."
    )
    resource_claim_name: DnsName | None = Field(default=None, description="Name of a ResourceClaim in the namespace of the search.")
    resource_claim_template_name: DnsName | None = Field(
        default=None, description="Name of a ResourceClaimTemplate in the namespace of the search."
    )

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("resourceClaimName", "resourceClaimTemplateName"),)
