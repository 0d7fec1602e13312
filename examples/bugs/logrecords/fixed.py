"""Records of a log whose messages may go on over several lines."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

HEADER = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (DEBUG|INFO|WARNING|ERROR) (.*)")


@dataclass
class Record:
    """One message: when, how bad, and its lines."""

    time: str
    level: str
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def read_records(lines: Iterable[str]) -> list[Record]:
    """The records of a log. A line without time and level goes on with the message before it.

    Empty lines at the end of a message are not part of it; what comes before the first message is dropped.
    """
    records = []
    current = None
    for line in lines:
        header = HEADER.fullmatch(line.rstrip())
        if header:
            if current:
                records.append(current)
            current = Record(header[1], header[2], [header[3]])
        elif current:
            current.lines.append(line.rstrip())
    if current:
        records.append(current)
    for record in records:
        while len(record.lines) > 1 and not record.lines[-1]:
            record.lines.pop()
    return records


def count_levels(lines: Iterable[str]) -> dict[str, int]:
    """How many records there are of each level."""
    return dict(Counter(record.level for record in read_records(lines)))
