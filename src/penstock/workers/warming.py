"""What is apart is warmed, and ended where that takes too long."""

from threading import Timer

from penstock.core.ports import Restartable


def warm(session: Restartable, patience: float) -> None:
    """Calls its ``warm_up``, where it has one, and kills it after ``patience`` seconds; blocks."""
    if session.warm_up is None:
        return
    limit = Timer(patience, session.kill)
    limit.daemon = True
    limit.start()
    try:
        session.warm_up(session)
    finally:
        limit.cancel()
