"""The languages that Kelp knows, by name and by the suffix of a file."""

from pathlib import Path

from kelp.languages.python.grammar import PYTHON
from kelp.syntax.program import Language

LANGUAGES = (PYTHON,)


def by_name(name: str) -> Language:
    """The language of this name. Raises ValueError where there is none."""
    for language in LANGUAGES:
        if language.name == name:
            return language
    raise ValueError(f"unknown language {name!r}; known are {', '.join(language.name for language in LANGUAGES)}")


def by_suffix(path: Path) -> Language | None:
    """The language of a file by its suffix; None where no known language has it."""
    return next((language for language in LANGUAGES if path.suffix in language.suffixes), None)
