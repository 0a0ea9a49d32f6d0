"""`python -m autohas_api.generate.sync [--check]`: write the generated files, or fail when they differ from the models.

Run from the repository's root by `make sync` and `make check`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

import yaml

from autohas_api.base.names import GROUP, PLURAL
from autohas_api.generate.crd import custom_resource_definition
from autohas_api.generate.monitoring import alerts, fleet, one_search
from autohas_api.generate.reference import api_reference

HEADER: Final = "# Generated from crds/autohas_api by `make sync`; do not edit.\n"
CRD_FILES: Final = (Path("crds") / f"{GROUP}_{PLURAL}.yaml", Path("charts/autohas/files/crd.yaml"))
DASHBOARDS: Final = Path("charts/autohas/files/dashboards")
ALERTS: Final = Path("charts/autohas/files/alerts.yaml")
REFERENCE: Final = Path("docs/api.md")


class _Dumper(yaml.SafeDumper):
    """No anchors: the same object used twice is written twice. Quotes around what kubectl would read as a number."""

    def ignore_aliases(self, _data: object) -> bool:
        """Write every object where it stands."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        float(text)
    except ValueError:
        return dumper.represent_str(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'")


_Dumper.add_representer(str, _represent_text)


def generated_files() -> dict[Path, str]:
    """Every generated file, relative to the repository's root, with its text."""
    text = HEADER + yaml.dump(custom_resource_definition(), Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    dashboards = {"search": one_search.build(), "fleet": fleet.build()}
    return {
        **dict.fromkeys(CRD_FILES, text),
        REFERENCE: api_reference(),
        **{DASHBOARDS / f"{name}.json": json.dumps(built, indent=1) + "\n" for name, built in dashboards.items()},
        ALERTS: HEADER.replace("autohas_api", "autohas_api/monitoring")
        + yaml.dump(alerts.build(), Dumper=_Dumper, sort_keys=False, width=110),
    }


def main(arguments: list[str] | None = None) -> int:
    """Write or check; returns 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    check = parser.parse_args(arguments).check
    stale = [path for path, text in generated_files().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            sys.stderr.write(f"{path} is not what the models say; run `make sync`\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated_files()[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
