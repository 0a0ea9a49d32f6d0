"""An effect as text."""

from __future__ import annotations

import pytest

from autohas_api.wire.messages import Effect
from autohas_trainer.reporting.sinks.effect_text import effect_text


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (0.0125, "+1.25 ± 0.40 %"),
        (-0.5, "-50.00 ± 0.40 %"),
        (-1.0, "-100.00 ± 0.40 %"),
        (-22223.9, "below -100.00 %, worse than a constant answer"),
    ],
)
def test_an_effect_is_read_in_hundredths_unless_the_change_failed(effect: float, text: str) -> None:
    """A loss that grew by more than that of a constant answer is named as such, not with seven digits."""
    assert effect_text(Effect(decision="activation", value="tanh", effect=effect, standard_error=0.004)) == text
