"""Types of the fields of messages and of status, with their bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from autohas_api.base.structural_schema import MAX_COUNT

Score = Annotated[float, Field(allow_inf_nan=False)]
"""Any finite number: an rmse is in the target's own unit, which may be bytes or nanoseconds."""
Share = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)]
NotNegative = Annotated[float, Field(allow_inf_nan=False, ge=0)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Seconds = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e12)]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Identity = Annotated[str, StringConstraints(max_length=128)]
Text = Annotated[str, StringConstraints(max_length=1024)]
ChoiceText = Annotated[str, StringConstraints(min_length=1, max_length=64)]
