"""The peers of the quality benchmark on a space of two decisions whose trainings are a table: what they pay, try and return."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmarks.quality.peers import PEERS
from benchmarks.quality.peers import hosted as hosted_peers
from benchmarks.quality.peers.hosted import HostedPeer, NotInstalledError
from benchmarks.quality.peers.optuna import Halving, search, uniform
from benchmarks.quality.session import Session

from autohas_api.space.decisions import Configuration, Decision, Role, Space
from autohas_trainer.engine.training.comparison import Comparison

SPACE = Space(
    decisions=(
        Decision(name="rate", role=Role.UPDATE_RULE, choices=tuple(str(i) for i in range(12)), default="0"),
        Decision(name="kind", role=Role.ARCHITECTURE, choices=("a", "b", "c"), default="a"),
    )
)


class Table:
    """Trainings whose key and score are their rate, at every rung; kind c diverges. Remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Configuration, int]] = []

    def compare(self, configuration: Configuration, rung: int) -> Comparison:
        self.asked.append((configuration, rung))
        key = float("-inf") if configuration.values[1] == "c" else float(configuration.values[0])
        return Comparison(step=rung, key=key, score=key, metric=None, loss=0.0, contributions="")


def price(configuration: Configuration, since: int, until: int) -> float:
    """A training of kind b costs two, of the others one; each comparison a hundredth."""
    ends = (0, 1 / 9, 1 / 3, 1)
    return (ends[until] - ends[since]) * (2 if configuration.values[1] == "b" else 1) + 0.01 * (until - since)


def a_session(budget: float, table: Table | None = None) -> Session:
    return Session(SPACE, 0, budget, table or Table(), price)


def test_a_rung_is_paid_for_once_and_from_where_the_training_is() -> None:
    """1/9 of kind b, on to the end, and again: 2/9 + .01, then 16/9 + .02, then nothing."""
    session, b = a_session(2.03), Configuration(values=("3", "b"))

    assert session.can_afford(b, 2)
    session.measure(b, 0)
    assert session.spent == pytest.approx(2 / 9 + 0.01)
    session.measure(b, 2)
    assert session.spent == pytest.approx(2.03)
    session.measure(b, 1)
    assert session.spent == pytest.approx(2.03)
    assert not session.can_afford(Configuration(values=("4", "a")), 0)


def test_the_curve_holds_the_best_finished_trial_by_its_score() -> None:
    """An unfinished training is no answer, a worse one changes nothing, an equal one does not replace the first."""
    session = a_session(100)
    for rate, rung in (("2", 2), ("9", 1), ("1", 2), ("2", 2), ("5", 2)):
        session.measure(Configuration(values=(rate, "a")), rung)

    full = 1.03
    assert [configuration.values[0] for _, configuration in session.curve] == ["2", "5"]
    assert [work for work, _ in session.curve] == pytest.approx([full, full + 1 / 3 + 0.02 + full + full])


def test_random_search_without_halving_trains_whole_trials_until_the_next_rung_is_too_dear() -> None:
    """Every trial but one that diverges goes through all rungs; the one that no longer fits ends the search and is not trained on."""
    table = Table()
    session = a_session(5.5, table)
    search(session, uniform(0), Halving.NONE)
    last, rungs_done = table.asked[-1]

    assert table.asked[:3] == [(SPACE.default, 0), (SPACE.default, 1), (SPACE.default, 2)]
    assert session.spent <= 5.5
    assert all((c, 2) in table.asked for c, _ in table.asked if c != last and c.values[1] != "c")
    assert session.spent == pytest.approx(
        sum(price(c, 0, max(r for o, r in table.asked if o == c) + 1) for c in {c for c, _ in table.asked})
    )
    assert rungs_done == 2 or not session.can_afford(last, rungs_done + 1) or session.spent > 5.5 - 2 / 9 - 0.01


@pytest.mark.parametrize("method", ["random", "random + halving", "Hyperband", "TPE + halving", "TPE ordinal + halving"])
def test_optunas_peers_begin_with_the_default_and_do_the_same_at_any_budget(method: str) -> None:
    """What a small budget tries is the beginning of what a large one tries, so one long curve holds all budgets."""
    small, large = Table(), Table()
    short, long = a_session(4.0, small), a_session(9.0, large)
    PEERS[method](short)
    PEERS[method](long)

    assert small.asked[0] == (SPACE.default, 0)
    assert large.asked[: len(small.asked)] == small.asked
    assert long.curve[: len(short.curve)] == short.curve
    assert short.spent <= 4.0 < long.spent <= 9.0


def test_halving_tries_more_configurations_than_whole_trainings_for_the_same_work() -> None:
    """Most trials end at 1/9 of a training."""
    whole, halved = Table(), Table()
    PEERS["random"](a_session(8.0, whole))
    PEERS["random + halving"](a_session(8.0, halved))

    assert len({c for c, _ in halved.asked}) > 1.5 * len({c for c, _ in whole.asked})


def test_a_small_space_ends_a_peer_that_would_repeat_itself() -> None:
    """Repeated trials are free, so a budget for everything is never spent; the best configuration is found."""
    session = a_session(1000)
    PEERS["random"](session)

    assert session.spent < 60
    assert session.curve[-1][1].values[0] == "11"


def test_a_peer_without_its_environment_says_where_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the folder and the package."""
    monkeypatch.setattr(hosted_peers, "ENVIRONMENTS", tmp_path)
    with pytest.raises(NotInstalledError) as caught:
        HostedPeer(peer="dehb", package="dehb")(a_session(5))

    assert str(caught.value) == f"not installed: make a virtual environment in {tmp_path / 'dehb'} and pip install dehb there"


CHILD = """
import json, sys
heading = json.loads(sys.stdin.readline())
described = [(d["name"], d["size"], d["default"], d["is_ordered"]) for d in heading["decisions"]]
assert described == [("rate", 12, 0, True), ("kind", 3, 0, False)]
for rate in range(1, 12):
    print(json.dumps({"indices": {"rate": rate, "kind": 0}, "rung": 2}), flush=True)
    if not (answer := sys.stdin.readline()):
        break
    assert json.loads(answer) == {"loss": -float(rate)}
{ENDING}
"""


@pytest.fixture
def environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment `x`, whose Python is this one, and a child that asks for one full training after another."""
    (tmp_path / "x" / "bin").mkdir(parents=True)
    (tmp_path / "x" / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(hosted_peers, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(hosted_peers, "_CHILD", tmp_path / "child.py")
    return tmp_path


def test_a_hosted_peer_is_answered_until_the_budget_is_spent(environments: Path) -> None:
    """The default, then four trainings of 1.03 fit into 5.5; the child receives the negative key as its loss."""
    (environments / "child.py").write_text(CHILD.replace("{ENDING}", ""), encoding="utf-8")
    session = a_session(5.5)
    HostedPeer(peer="x", package="x")(session)

    assert session.spent == pytest.approx(5 * 1.03)
    assert session.curve[-1][1].values == ("4", "a")


def test_a_hosted_peer_that_ends_by_itself_is_an_error(environments: Path) -> None:
    """What it printed to its errors is in the message."""
    (environments / "child.py").write_text(CHILD.replace("{ENDING}", "raise SystemExit('no idea left')"), encoding="utf-8")
    with pytest.raises(RuntimeError, match="x ended before the budget was spent: no idea left"):
        HostedPeer(peer="x", package="x")(a_session(100))
