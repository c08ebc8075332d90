"""The seam between scaling and those who ask how it stands: doors, the command line and the page."""

from collections.abc import Sequence
from typing import Protocol

from penstock.scaling.words import History, Standing, Told


class Scaling(Protocol):
    """Of one server; called on the event loop, and answers at once from memory.

    Everything that names a model raises UnknownModel for one that there is not.
    """

    def list(self) -> Sequence[Standing]:
        """Every model that is served, by name; those whose number does not move, too."""
        ...

    def moving(self) -> Sequence[Standing]:
        """Those alone whose number moves."""
        ...

    def get(self, model: str) -> Standing: ...

    def decisions(self, model: str, limit: int = 20) -> Sequence[Told]:
        """Those that changed something, the newest first; none where the number does not move."""
        ...

    def history(self, model: str) -> History:
        """The last hours, tick by tick; empty where the number does not move."""
        ...
