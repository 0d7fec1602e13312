"""Errors that a person can put right: one sentence, and a hint that says what to do."""

import re
from typing import Any


class KelpError(Exception):
    """Bad input, a bad setting or a missing part. A kind of error gets a subclass only where somebody catches it.

    `hint` says what to do about it. `status` is the word for it in JSON, `observation` the `execution.Observation` that
    led to it, if any. `str()` gives message and hint as one sentence.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        status: str = "bad input",
        observation: Any = None,
    ) -> None:
        super().__init__(message, hint)
        self.message, self.hint = message.removesuffix("."), hint
        self.status, self.observation = status, observation

    def __str__(self) -> str:
        if self.hint is not None and "\n" in self.hint:  # output of a program
            return f"{self.message}:\n{self.hint}"
        sentence = self.message if self.hint is None else f"{self.message}: {self.hint}"
        return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def reason(error: OSError) -> str:
    """The operating system's own words for an error."""
    return (error.strerror or str(error)).lower()


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def printable(text: str) -> str:
    """The text with escapes in place of control characters, but tabs and line feeds: a terminal obeys them."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
