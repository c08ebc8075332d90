"""Tosses that divide requests by weight: independent, and yet within a few requests of it."""

from random import Random

PULL = 0.05
"""How strongly the coin makes up for what it owes: weights hold within a few requests, whatever their
number, while odds stay near the weight."""
MOST_OWED = 10
"""Requests owed from which on odds lean no further; so they have few values, which evidence is sorted by."""

_MIDDLE, _COUNT = MOST_OWED + 0.5, 2 * MOST_OWED + 1


class Coin:
    """Independent tosses whose odds lean against what was owed (after Wei's urn designs, 1978).

    The odds of each toss depend on the past alone, so that evidence weighed with them stays honest.
    """

    def __init__(self, weight: float, seed: bytes | None = None) -> None:
        """Nobody can know the tosses without a ``seed``, which is for tests."""
        self.weight = weight
        self._random = Random(seed).random
        self._owed = 0.0
        lean = PULL * weight * (1.0 - weight)
        least, most = weight / 2, (1.0 + weight) / 2
        owed = range(-MOST_OWED, MOST_OWED + 1)
        self._odds = [min(max(weight + lean * each, least), most) for each in owed]

    def toss(self) -> tuple[float, bool, int]:
        """The odds, whether it fell on the candidate, and 0, as no caller is known."""
        owed = self._owed
        at = int(owed + _MIDDLE)
        odds = self._odds[at if 0 <= at < _COUNT else -(at > 0)]
        chosen = self._random() < odds
        self._owed = owed + self.weight - chosen
        return odds, chosen, 0
