"""When a crontab line is due."""

from datetime import datetime


def field_matches(field: str, value: int, lowest: int) -> bool:
    """Whether a value is one of a field's: "*", "5", "1-5", "*/15", "10-40/10", or several with commas."""
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = lowest, value
        elif "-" in span:
            first, last = (int(bound) for bound in span.split("-"))
        else:
            first = int(span)
            last = value if step else first
        if first <= value <= last and (value - first) % int(step or 1) == 0:
            return True
    return False


def is_due(expression: str, moment: datetime) -> bool:
    """Whether "minute hour day month weekday" is due in this minute; weekdays count from Sunday, 0.

    As in every cron, where both the day and the weekday are restricted it is due on either of them.
    """
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f"expected 5 fields, got {len(fields)}: {expression!r}")
    minute, hour, day, month, weekday = fields
    if not field_matches(minute, moment.minute, 0) or not field_matches(hour, moment.hour, 0):
        return False
    if not field_matches(month, moment.month, 1):
        return False
    on_day = field_matches(day, moment.day, 1)
    on_weekday = field_matches(weekday, moment.isoweekday() % 7, 0)
    if day != "*" and weekday != "*":
        return on_day or on_weekday
    return on_day and on_weekday
