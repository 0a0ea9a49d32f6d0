"""Scalars of Kubernetes that several parts of the pod's spec share, bounded as the API server bounds them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

DNS_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
DnsName = Annotated[str, StringConstraints(pattern=DNS_NAME_PATTERN, min_length=1, max_length=253)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=317)]
LabelValue = Annotated[str, StringConstraints(max_length=63)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=32)]
QUANTITY_PATTERN = r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"
Quantity = (
    Annotated[int, Field(ge=0, le=9007199254740991)]
    | Annotated[str, StringConstraints(pattern=QUANTITY_PATTERN, min_length=1, max_length=32)]
)
Resources = Annotated[dict[str, Quantity], Field(max_length=32)]
FileMode = Annotated[int, Field(ge=0, le=511)]
MountPath = Annotated[str, StringConstraints(pattern=r"^/[^:]*$", min_length=1, max_length=1024)]
