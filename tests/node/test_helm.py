"""The life of a release while a search runs: upgrade, uninstall, reinstall. The cluster has the chart as before when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from autohas_api.base.names import GROUP, PLURAL
from line import NAMESPACE, OPERATOR_NAMESPACE, Line, Reference, durable
from recording import Life, recorded
from testcluster import chart
from testcluster.commands import CommandFailedError

pytestmark = pytest.mark.node
SEARCH, NEWCOMER = "upgraded", "newcomer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """The operator's environment and the search before and after an upgrade."""

    environment: dict[str, str]
    pods: tuple[str, ...]
    pods_before: tuple[str, ...]
    status: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uninstalled:
    """What was left without the release, while the trainer ran and after it had ended."""

    deployments: list[Any]
    running: tuple[str, ...]
    kept: set[str]
    end: Life
    status: dict[str, Any]
    refusal: str
    takeover: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One search through all of it."""

    upgraded: Upgraded
    uninstalled: Uninstalled
    search: dict[str, Any]
    pods: list[Life]


@pytest.fixture(scope="module", name="story")
def _story(line: Line, reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    reference.digest()  # left alone means: by upgrades too
    try:
        with recorded(line, SEARCH, tmp_path_factory.mktemp("helm")) as recording:
            line.apply(durable(SEARCH, steps=Reference.STEPS))
            line.works(SEARCH)
            line.wait_for_phase(SEARCH, "Running")
            with line.holding_trainer(SEARCH):
                upgraded = upgrade(line)
            with line.holding_trainer(SEARCH):  # a second time: held for two probes of the kubelet in a row, a third would end it
                line.cluster.helm("uninstall", chart.RELEASE, "--namespace", chart.NAMESPACE, "--wait", "--timeout=60s")
                running = running_pods(line)
                deployments = line.cluster.kubectl.json("get", "-n", OPERATOR_NAMESPACE, "deployments")["items"]
                line.apply(durable(NEWCOMER, {"spec.suspend": True}))
            (end,) = recording.ended(1)
            uninstalled = Uninstalled(
                deployments=deployments,
                running=running,
                kept={item["metadata"]["name"] for item in line.cluster.kubectl.json("get", "-n", NAMESPACE, "ahs")["items"]},
                end=end,
                status=line.search(SEARCH)["status"],
                refusal=refused(line),
                takeover=dry_run(line, "--take-ownership"),
            )
            chart.install(line.cluster, restart=False)
            yield Story(upgraded=upgraded, uninstalled=uninstalled, search=line.wait(SEARCH, "Finished"), pods=recording.lives())
    finally:
        chart.install(line.cluster, "--reset-values", restart=False)
        line.clear()


def upgrade(line: Line) -> Upgraded:
    """The chart with another log level."""
    before = running_pods(line)
    chart.install(line.cluster, "--set=logLevel=debug", restart=False)
    pod = line.cluster.kubectl.json("get", "-n", OPERATOR_NAMESPACE, "pod", line.operator_pod())
    environment = {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0]["env"]}
    return Upgraded(environment=environment, pods_before=before, pods=running_pods(line), status=line.search(SEARCH)["status"])


def running_pods(line: Line) -> tuple[str, ...]:
    """Identities of the search's running pods."""
    return tuple(pod["metadata"]["uid"] for pod in line.objects("pods", SEARCH) if pod["status"]["phase"] == "Running")


def dry_run(line: Line, *flags: str) -> str:
    """Install under another name on the server, without effect."""
    return line.cluster.helm("install", "another", chart.CHART, "--namespace", chart.NAMESPACE, "--dry-run=server", *flags)


def refused(line: Line) -> str:
    """Why Helm takes no resources that another release left."""
    with pytest.raises(CommandFailedError) as caught:
        dry_run(line)
    return str(caught.value)


def test_an_upgrade_leaves_a_running_search_alone(story: Story) -> None:
    """The operator is a new one with the new value; the trainer is the same pod of attempt 1."""
    upgraded = story.upgraded

    assert upgraded.environment["AUTOHAS_LOG_LEVEL"] == "debug"
    assert upgraded.pods == upgraded.pods_before
    assert len(upgraded.pods) == 1
    assert (upgraded.status["phase"], upgraded.status["attempt"]) == ("Running", 1)


def test_an_uninstall_keeps_searches_and_their_trainers(story: Story) -> None:
    """The operator is gone, searches stay and can be made; the trainer works on to its end, which no operator records yet."""
    left = story.uninstalled

    assert left.deployments == []
    assert left.kept >= {SEARCH, NEWCOMER}
    assert left.running == story.upgraded.pods
    assert (left.end.uid, left.end.exit_code) == (story.upgraded.pods[0], 0)
    assert left.status["phase"] == "Running"


def test_a_release_of_another_name_takes_the_kept_definition_only_with_the_flag(story: Story) -> None:
    """Helm refuses by name what another release left, and takes it with --take-ownership as the chart's notes say."""
    assert f'"{PLURAL}.{GROUP}"' in story.uninstalled.refusal
    assert "invalid ownership metadata" in story.uninstalled.refusal
    assert "another" in story.uninstalled.takeover


def test_a_reinstall_picks_up_what_there_is(line: Line, story: Story, reference: Reference) -> None:
    """The search whose trainer ended meanwhile succeeds with the digest of one left alone, the new one is judged."""
    status = story.search["status"]

    assert (status["phase"], status["attempt"], status.get("interruptions", 0)) == ("Succeeded", 1, 0)
    assert status["result"]["digest"] == reference.digest()
    assert len(story.pods) == 1
    line.wait_for_phase(NEWCOMER, "Suspended")
    log = line.cluster.kubectl("logs", "-n", OPERATOR_NAMESPACE, line.operator_pod())
    assert "Traceback" not in log
