"""One thread and deterministic algorithms for every trainer test; equality of bits is what they assert."""

import pytest

from autohas_trainer.seeding import make_deterministic


@pytest.fixture(autouse=True, scope="session")
def _deterministic() -> None:
    make_deterministic(1)
