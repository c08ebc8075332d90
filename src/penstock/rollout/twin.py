"""The version that answers, loaded once more: a baseline of the candidate's share, or a stand-in for it."""

import asyncio
from collections.abc import Awaitable, Callable

from penstock.core.errors import one_line
from penstock.serving.catalog import Live


class Twin:
    """Lives on the event loop; ``look`` begins to load it, ``close`` lets go of it whenever it comes."""

    def __init__(
        self, load: Callable[[], Awaitable[Live]], part: Callable[[Live], None], came: Callable[[], None]
    ) -> None:
        """``part`` drains and closes it; ``came`` is told when it serves."""
        self.live: Live | None = None
        self.unfit = ""
        """Why there is none, and will be none."""
        self._load, self._part, self._came = load, part, came
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def look(self) -> None:
        """Load it, the first time."""
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._bring())

    async def _bring(self) -> None:
        try:
            live = await self._load()
        except Exception as error:  # noqa: BLE001 - whatever a model does, the others go on
            self.unfit = f"the old version would not load once more: {one_line(error)}"
            return
        if self._closed:
            self._part(live)
        else:
            self.live = live
            self._came()

    def close(self) -> None:
        """It is needed no longer."""
        self._closed = True
        if self.live is not None:
            self._part(self.live)
