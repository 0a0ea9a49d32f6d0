"""What a batch is taken from: the protocol `Examples`, and one module per implementation."""

from __future__ import annotations

from autohas_trainer.data.examples.protocol import Draw, Examples, Rows, Source, Taken
from autohas_trainer.data.examples.resident import Resident
from autohas_trainer.data.examples.transfer import put_on

__all__ = ["Draw", "Examples", "Resident", "Rows", "Source", "Taken", "put_on"]
