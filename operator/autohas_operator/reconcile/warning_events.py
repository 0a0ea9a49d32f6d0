"""Why nothing goes on: the newest warning about a stuck child, read from its events at distances that grow.

Events are listed, not watched, and a namespace without quota can have hundreds of stuck Jobs for hours: what is known already is
told again, and all lists together are rationed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autohas_operator.client import EVENTS, KubeClient, list_all
from autohas_operator.decide.readiness import stuck_child
from autohas_operator.errors import OperatorError
from autohas_operator.rate_limit import TokenBucket
from autohas_operator.reconcile.apply import newest_warning
from autohas_operator.records.observed import Key, Observed, WarningEvent

DISTANCES_S: Final = (60.0, 120.0, 300.0, 600.0)
"""From one look at the same trouble to the next; the last one repeats."""
LOOKS_PER_SECOND: Final = 5.0
LOOKS_BURST: Final = 100.0
"""Of all searches together; one that has to wait is told what is known and looks at its next pass."""


@dataclass(slots=True)
class _Trouble:
    """What was found about one `subject`: the stuck child and the newest pod, so that each new pod is a new trouble."""

    subject: tuple[str, str]
    told: WarningEvent | None = None
    num_looks: int = 0
    due_s: float = -math.inf


class WarningEvents:
    """Remembers one trouble for each search that is stuck.

    `clock` gives seconds since the epoch, as the server's objects do; between looks it is `monotonic` that counts, which nobody sets.
    """

    def __init__(self, client: KubeClient, clock: Callable[[], float], *, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._monotonic = monotonic
        self._bucket = TokenBucket(rate_per_s=LOOKS_PER_SECOND, burst=LOOKS_BURST, clock=monotonic)
        self._troubles: dict[Key, _Trouble] = {}

    def forget(self, key: Key) -> None:
        """The search is gone."""
        self._troubles.pop(key, None)

    async def about(self, observed: Observed) -> WarningEvent | None:
        """The newest warning about whatever does not get on, if something does not."""
        key, uid = observed.search.key, stuck_child(observed, self._clock())
        if uid is None:
            self.forget(key)
            return None
        subject = (uid, max(((pod.created_s, pod.uid) for pod in observed.pods), default=(0.0, ""))[1])
        trouble = self._troubles.get(key)
        if trouble is None or trouble.subject != subject:
            trouble = self._troubles[key] = _Trouble(subject=subject)
        if trouble.due_s <= self._monotonic() and self._bucket.take():
            await self._look(trouble, key.namespace, uid)
        return trouble.told

    async def _look(self, trouble: _Trouble, namespace: str, uid: str) -> None:
        trouble.due_s = self._monotonic() + DISTANCES_S[min(trouble.num_looks, len(DISTANCES_S) - 1)]
        trouble.num_looks += 1
        try:
            warnings = await list_all(self._client, EVENTS, namespace, fields=f"involvedObject.uid={uid},type=Warning")
        except OperatorError:
            return  # whoever trims the operator's rights, or a server in trouble, costs warning_events, not searches
        trouble.told = newest_warning(warnings)
