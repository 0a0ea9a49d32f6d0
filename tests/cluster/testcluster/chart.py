"""The project's chart on a running cluster, for a person who wants to try it.

Tests install it themselves, with the values under test.
"""

from pathlib import Path

from testcluster.cluster import Cluster
from testcluster.images import PROJECT

RELEASE = NAMESPACE = "autohas"
CHART = PROJECT / "charts" / "autohas"


def why_not_installable(chart: Path = CHART) -> str | None:
    """Why the chart cannot be installed; None if it can."""
    return None if (chart / "Chart.yaml").exists() else f"no chart at {chart}"


def install(cluster: Cluster, *flags: str, restart: bool, chart: Path = CHART) -> None:
    """Install or upgrade the release, with these flags for Helm; `restart` makes new pods where only the image changed under its name.

    Returns when the operator is ready; raises CommandFailedError with Helm's words.
    """
    cluster.helm("upgrade", "--install", RELEASE, chart, "--namespace", NAMESPACE, "--create-namespace", *flags)
    if restart:
        cluster.kubectl("rollout", "restart", "deployment", "--namespace", NAMESPACE)
    for deployment in cluster.kubectl("get", "deployments", "--namespace", NAMESPACE, "-o", "name").split():
        cluster.kubectl("rollout", "status", deployment, "--namespace", NAMESPACE, "--timeout", "120s")
