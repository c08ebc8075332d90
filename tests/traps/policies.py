"""Batch policies of a user's own, gone wrong."""

from penstock.scheduling.policy import Single


class FailsOnThird(Single):
    """Serves two batches, and then raises."""

    def __init__(self, batching, target):
        super().__init__(batching, target)
        self._left = 2

    def decide(self, line, /):
        self._left -= 1
        if self._left < 0:
            raise ZeroDivisionError("a user's mistake")
        return super().decide(line)
