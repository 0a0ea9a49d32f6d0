"""space.json: the decisions that a search has read from the model's code, written once, before the first step.

A process that continues the search compares them: other decisions mean other candidates, and a checkpoint would not fit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from autohas_api.space.decisions import Space
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.errors import CheckpointError
from autohas_trainer.provenance import digest_bytes

__all__ = ["SPACE_FILE", "keep_space"]

SPACE_FILE: Final = "space.json"


def keep_space(workdir: Path, space: Space) -> str:
    """Write the space, or compare it with the one that is there; returns `sha256:` and the digest of the file.

    Raises:
        CheckpointError: the search began with other decisions.
        OSError: the folder cannot be written.
    """
    decisions = [
        {
            "name": d.name,
            "role": d.role.value,
            "choices": list(d.choices),
            "default": d.default,
            **({"when": {"decision": d.when.decision, "values": list(d.when.values)}} if d.when is not None else {}),
        }
        for d in space.decisions
    ]
    content = json.dumps({"decisions": decisions}, indent=1, ensure_ascii=False).encode() + b"\n"
    path = workdir / SPACE_FILE
    if not path.exists():
        write_atomically(path, content)
    elif path.read_bytes() != content:
        before = {str(d["name"]): d for d in json.loads(path.read_bytes())["decisions"]}
        here = {str(d["name"]): d for d in decisions}
        names = [name for name in dict.fromkeys((*here, *before)) if here.get(name) != before.get(name)]
        message = (
            f"{path}: the model's code gives other decisions than those that this search began with"
            f" ({', '.join(names[:3]) or 'another order'}); restore the code and resume, or start in a new folder"
        )
        raise CheckpointError(message)
    return digest_bytes(content)
