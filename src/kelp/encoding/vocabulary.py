"""Names of special tokens and of site kinds. Ids are assigned to names in `encoding.json`, and only there.

This module, `batch` and `data.examples.shards` import no library but NumPy, so training needs no tokenizer library.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from kelp.errors import KelpError

if TYPE_CHECKING:
    from kelp.syntax.program import Language

OPERATIONS = ("replace", "insert", "delete")
PADDING, STOP = 0, 1  # kinds of site row that are no site; the others are an operation with a category


class EncodingError(KelpError):
    """A tokenizer or an encoding cannot be used; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that no text has. `NAMES` holds the name of each field in a vocabulary."""

    pad: int
    intent: int
    spec: int
    observation: int
    program: int
    program_end: int
    edit: int
    until: int
    end: int
    doc: int  # in place of the program's docstring
    mask: int  # in place of a masked span

    @classmethod
    def named(cls, ids: Mapping[str, int]) -> "SpecialTokens":
        """Special tokens from their names. Raises KeyError where one is missing."""
        return cls(**{field: ids[name] for field, name in NAMES.items()})

    @property
    def ids(self) -> dict[str, int]:
        """Id of each name."""
        return {NAMES[field]: token for field, token in asdict(self).items()}


NAMES = {
    "pad": "<pad>", "intent": "<intent>", "spec": "<spec>", "observation": "<obs>", "program": "<program>",
    "program_end": "</program>", "edit": "<edit>", "until": "<until>", "end": "<end>", "doc": "<doc>", "mask": "<mask>",
}  # fmt: skip


def site_kinds(language: "Language") -> tuple[str, ...]:
    """Names of all kinds of site row, in the order that a new encoding numbers them: "replace name", say."""
    kinds = (f"{operation} {category}" for operation in OPERATIONS for category in language.categories)
    return "padding", "stop", *kinds


def replaceable(kinds: Iterable[str]) -> list[bool]:
    """Return whether text may replace a site, for each kind."""
    return [kind.startswith("replace ") for kind in kinds]
