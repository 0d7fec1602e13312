"""placeholder"""

from typing import Any


def render_report(summary: Any, rows: Any, cases: Any) -> str:
    return ""
