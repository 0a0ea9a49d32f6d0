"""A search in a real notebook: bars that move in place, and the result as tables with a link to the report."""

from __future__ import annotations

import asyncio
import html
import json
import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from autohas_api.base import yaml_file
from autohas_api.testing.rejections import a_search

SEARCH = "import autohas\nresult = autohas.run('search.yaml', out='out')"
SHOWN = "result"
READ = "print(len(result.history.candidates), result.report.is_file(), len(result.effects))"


def _html_of(outputs: list[dict[str, Any]]) -> list[str]:
    return [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]


@pytest.fixture(scope="module", name="notebook")
def _notebook(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The executed notebook and its folder."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "search.yaml").write_text(yaml_file.dump(a_search("small")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (SEARCH, SHOWN, READ)])
        client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
        asyncio.run(client.async_execute())
    return notebook, folder


pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Jupyter's own packages
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets that Jupyter closes late
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # as above
]


def test_the_bars_are_one_table_that_ends_at_100_percent(notebook: tuple[Any, Path]) -> None:
    """One output for all bars, so it was drawn in place; every stage has its row."""
    cells = notebook[0].cells
    (bars,) = [text for text in _html_of(cells[0].outputs) if "<progress" in text]

    assert re.findall(r"<b>Search</b></td>.*?(\d+) %", bars) == ["100"]
    assert bars.count("<progress") >= 3
    assert not [output for output in cells[0].outputs if output.output_type == "stream" and output.name == "stderr"]


def test_no_line_is_wider_than_a_cell(notebook: tuple[Any, Path]) -> None:
    """Rich's output does not wrap in the browser, where a longer line is cut: 115 characters fit."""
    texts = [re.sub(r"<[^>]+>", "", text) for text in _html_of(notebook[0].cells[0].outputs) if "<progress" not in text]
    lines = [html.unescape(line).rstrip() for text in texts for line in text.splitlines()]

    assert any("trainings" in line for line in lines)
    assert [line for line in lines if len(line) > 115] == []


def test_the_result_is_shown_as_tables_with_a_link_to_the_report(notebook: tuple[Any, Path]) -> None:
    """The scores of result.json, every decision, and a path that the notebook's server has."""
    cells, folder = notebook[0].cells, notebook[1]
    (shown,) = _html_of(cells[1].outputs)
    record = json.loads((folder / "out" / "result.json").read_text())

    assert f"{100 * record['winner']['testScore']:.2f} %" in shown
    assert f"{100 * record['default']['testScore']:.2f} %" in shown
    assert [name for name in record["winner"]["configuration"] if name not in shown] == []
    assert "href='out/report.html'" in shown
    effects = record.get("effects", [])
    assert [f"{100 * e['effect']:+.2f} ± {100 * e['standardError']:.2f}" in shown for e in effects[:8]] == [True] * min(8, len(effects))


def test_history_and_report_are_there(notebook: tuple[Any, Path]) -> None:
    """As many comparisons as result.json has."""
    cells, folder = notebook[0].cells, notebook[1]
    record = json.loads((folder / "out" / "result.json").read_text())
    (printed,) = [output["text"] for output in cells[2].outputs]

    assert printed.split() == [str(len(record["candidates"])), "True", str(len(record.get("effects", [])))]
