"""Mails from templates: "Dear {{ name }}"."""

import html
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*(?:\|\s*(\w+)\s*)?\}\}")


def as_text(value: Any) -> str:
    """A value as it is written in a mail."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, date):
        return value.strftime("%d.%m.%Y")
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, list | tuple):
        return ", ".join(as_text(item) for item in value)
    return str(value)


def render(template: str, values: Mapping[str, Any]) -> str:
    """The template with its placeholders filled in.

    What is filled in is escaped for HTML, but for "{{ name | raw }}", which is trusted. "{{ name | upper }}"
    is in capitals. Raises KeyError for a name without a value, and ValueError for another filter.
    """

    def fill(match: re.Match[str]) -> str:
        name, wanted = match.groups()
        text = as_text(values[name])
        if wanted == "raw":
            return text
        if wanted == "upper":
            text = text.upper()
        elif wanted is not None:
            raise ValueError(f"unknown filter {wanted!r}")
        return html.escape(text)

    return PLACEHOLDER.sub(fill, template)
