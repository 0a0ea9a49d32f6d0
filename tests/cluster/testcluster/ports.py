"""Free ports on this machine, for clusters that run side by side."""

import random
import socket

# Below the range from which Linux takes the ports of outgoing connections (32768 on), so that none of those
# takes a port between our look and the start of the process that gets it.
FIRST, LAST = 20000, 32000


def free(count: int, address: str = "127.0.0.1") -> list[int]:
    """`count` different TCP ports that nothing on `address` listens to.

    Drawn at random: two processes that ask at the same moment rarely get the same. Raises RuntimeError if the
    range is as good as full.
    """
    drawn = random.SystemRandom().sample(range(FIRST, LAST), k=min(LAST - FIRST, 50 * count))
    found = [port for port in drawn if _is_free(port, address)][:count]
    if len(found) < count:
        message = f"only {len(found)} of {count} ports on {address} between {FIRST} and {LAST} are free"
        raise RuntimeError(message)
    return found


def _is_free(port: int, address: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
