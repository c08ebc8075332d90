"""Lines of cron: five fields, checked where settings are read."""

from datetime import UTC, datetime

from penstock.core.errors import BadSetting

FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")


def check(line: str, where: str) -> None:
    """Raises BadSetting, with what is wrong of it, for a line that names no time."""
    from cronsim import CronSim, CronSimError

    count = len(line.split())
    if count != len(FIELDS):
        raise BadSetting(f"{where}: {line!r} has {count} fields; cron has five: {', '.join(FIELDS)}")
    try:
        CronSim(line, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise BadSetting(f"{where}: {line!r} is no cron: {str(error).lower()}") from None
