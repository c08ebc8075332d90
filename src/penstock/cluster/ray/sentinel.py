"""A file descriptor that becomes readable when something far away has ended."""

import os
from threading import Lock


class Sentinel:
    """``fd`` is a pipe's; ``tell`` may be called by any thread, at any time."""

    def __init__(self) -> None:
        self.fd, self._end = os.pipe()
        self._lock = Lock()
        self._told = False
        self._closed = False

    def tell(self, _: object = None) -> None:
        """It has ended."""
        with self._lock:
            if not self._told:
                self._told = True
                os.close(self._end)

    def close(self) -> None:
        """Nobody watches any more."""
        self.tell()
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.fd)
