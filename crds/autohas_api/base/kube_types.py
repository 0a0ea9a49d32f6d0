"""Scalars of Kubernetes that several parts of the pod's spec share, bounded as the API server bounds them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

_DNS_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DOMAIN: Final = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_QUALIFIED: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
DNS_NAME_PATTERN = f"^{_DOMAIN}$"
LABEL_KEY_PATTERN: Final = f"^({_DOMAIN}/)?{_QUALIFIED}$"
ANNOTATION_KEY_PATTERN: Final = f"^({_DOMAIN.replace('a-z', 'A-Za-z')}/)?{_QUALIFIED}$"
"""The domain of an annotation may have capitals (Source: Kubernetes' ValidateAnnotations compares it in lower case)."""
LABEL_VALUE_PATTERN: Final = f"^({_QUALIFIED})?$"
RESOURCE_PATTERN: Final = f"^(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMG]i|{_DOMAIN}/{_QUALIFIED})$"
KEY_IS: Final = "a name of at most 63 letters, digits, -, _ and . that begins and ends with a letter or digit, perhaps after a domain and /"

DnsName = Annotated[str, StringConstraints(pattern=DNS_NAME_PATTERN, min_length=1, max_length=253)]
DataKey = Annotated[str, StringConstraints(pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$", min_length=1, max_length=253)]
"""A key of a ConfigMap or Secret."""
LabelKey = Annotated[str, StringConstraints(pattern=LABEL_KEY_PATTERN, min_length=1, max_length=317)]
LabelValue = Annotated[str, StringConstraints(pattern=LABEL_VALUE_PATTERN, max_length=63)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=32)]
QUANTITY_PATTERN = r"^\+?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"
Quantity = (
    Annotated[int, Field(ge=0, le=9007199254740991)]
    | Annotated[str, StringConstraints(pattern=QUANTITY_PATTERN, min_length=1, max_length=32)]
)
Resources = Annotated[dict[str, Quantity], Field(max_length=32)]
FileMode = Annotated[int, Field(ge=0, le=511)]
