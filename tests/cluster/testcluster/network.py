"""The bridge that pods hang on, and taking back what is done to the machine's packet filter.

The host is 10.244.0.1 on that bridge: API server, DNS and kubelet listen there, so that pods reach them and the
host reaches pods. Needs root.
"""

import itertools
import json
from pathlib import Path

from testcluster.commands import CommandFailedError, run, succeeds

BRIDGE = "autohas0"
HOST = "10.244.0.1"
POD_RANGE = "10.244.0.0/24"
CNI_NAME = "autohas-test"
TABLES = ("filter", "nat", "mangle")
CHAIN_PREFIXES = ("KUBE-", "CNI-")  # made by kubelet and kube-proxy; made by the portmap plug-in


def create_bridge() -> None:
    """Make the bridge; raises RuntimeError if its address is already someone else's here."""
    holders = [link["ifname"] for link in json.loads(run(["ip", "-json", "-4", "address", "show", "to", POD_RANGE])) if link]
    strangers = [name for name in holders if name != BRIDGE]
    if strangers:
        message = f"{POD_RANGE} is in use by {', '.join(strangers)}: another cluster on this machine? End it first."
        raise RuntimeError(message)
    delete_bridge()
    run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    run(["ip", "address", "add", f"{HOST}/24", "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])


def delete_bridge() -> None:
    """Delete the bridge and the host's ends of pods' cables, if there are any."""
    if not Path("/sys/class/net", BRIDGE).exists():
        return
    for cable in json.loads(run(["ip", "-json", "link", "show", "master", BRIDGE])):
        succeeds(["ip", "link", "delete", cable["ifname"]])  # one whose pod just went is gone by itself
    run(["ip", "link", "delete", BRIDGE])


def write_cni(folder: Path, state: Path) -> None:
    """Configure the plug-ins in `folder`; addresses given out are remembered in `state`."""
    folder.mkdir(parents=True, exist_ok=True)
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,  # a pod may reach itself through its service
        "ipam": {
            "type": "host-local",
            "dataDir": str(state),
            "ranges": [[{"subnet": POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    network = {"cniVersion": "0.4.0", "name": CNI_NAME, "plugins": plugins}
    (folder / "10-autohas.conflist").write_text(json.dumps(network, indent=2))


def forget(container: str) -> None:
    """Delete what the plug-ins' library noted about a pod, by the id of its first container."""
    for note in Path("/var/lib/cni/results").glob(f"*-{container}-*"):
        note.unlink()


def chains() -> frozenset[tuple[str, str]]:
    """Table and name of every Kubernetes or CNI chain there is; taken before a start, it tells which are not ours."""
    found = set()
    for table in TABLES:
        for line in _saved(table):
            name = line[1:].split()[0] if line.startswith(":") else ""
            if name.startswith(CHAIN_PREFIXES):
                found.add((table, name))
    return frozenset(found)


def delete_chains(keep: frozenset[tuple[str, str]]) -> None:
    """Delete all such chains but those in `keep`, and the rules that jump to them."""
    ours = chains() - keep
    for table in TABLES:
        names = sorted(name for where, name in ours if where == table)
        if names:
            # One transaction per table: rules first, for a chain that is jumped to cannot be deleted.
            jumps = [f"-D{line[2:]}" for line in _saved(table) if _jumps_from_elsewhere(line, names)]
            script = [
                f"*{table}",
                *jumps,
                *(f"-F {name}" for name in names),
                *(f"-X {name}" for name in names),
                "COMMIT",
                "",
            ]
            run(["iptables-restore", "--noflush", "--wait"], input="\n".join(script))


def _jumps_from_elsewhere(line: str, names: list[str]) -> bool:
    words = line.split()
    if words[:1] != ["-A"] or words[1] in names:
        return False
    return any(flag in {"-j", "-g"} and target in names for flag, target in itertools.pairwise(words))


def _saved(table: str) -> list[str]:
    try:
        return run(["iptables-save", "-t", table]).splitlines()
    except CommandFailedError:
        return []  # a table that this kernel does not have holds no chains
