"""Sessions of one version that are open, one for each instance, and one more or less of them."""

import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from penstock.core.errors import one_line
from penstock.core.ports import Session
from penstock.serving.loading import aside
from penstock.serving.warmup import Warm

log = logging.getLogger("penstock.serving")

Another = Callable[[int], Awaitable[Session]]
"""Opens one more session, and warms it; told which instance it is."""


class Opened(Struct, frozen=True, eq=False):
    """What an executor needs: a session for each instance (the same one, where they share it)."""

    sessions: list[Session]
    warmth: Warm
    most: int
    """Instances that there may be."""
    another: Another | None = None
    """None: the sessions are one, which instances share."""

    async def add(self) -> Session:
        """The session of one instance more. Raises LoadFailed; leaves nothing behind when it is cancelled."""
        session = self.sessions[0] if self.another is None else await self.another(len(self.sessions))
        self.sessions.append(session)
        return session

    async def part(self, session: Session) -> None:
        """One instance less; its session is closed where it was its own."""
        self.sessions.remove(session)
        if self.another is not None:
            await aside(close, session)

    def close(self) -> None:
        """Blocks; processes end side by side, as each may take a while."""
        if self.another is None:
            close(self.sessions[0])
            return
        with ThreadPoolExecutor(len(self.sessions)) as pool:
            for _ in pool.map(close, self.sessions):
                pass


def close(session: Session) -> None:
    """Whatever its code makes of it."""
    try:
        session.close()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a model's own code; it goes all the same
        log.error("a %s model failed as it was closed: %s", session.platform, one_line(error))
