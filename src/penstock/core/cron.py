"""Lines of cron: five fields, checked where settings are read."""

from datetime import UTC, datetime

FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")


def fault(line: str) -> str:
    """What is wrong with a line that names no time, and what would be right; empty where nothing is."""
    from cronsim import CronSim, CronSimError

    count = len(line.split())
    if count != len(FIELDS):
        return f"{line!r} has {count} fields; a cron line has five: {', '.join(FIELDS)}"
    try:
        CronSim(line, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        return f"{line!r} is no cron: {error}"
    return ""
