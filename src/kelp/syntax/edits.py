"""An edit is a splice of bytes: everything outside its span keeps every byte."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replace `source[start:end]` by `text`. Offsets are bytes into the source the edit was made for."""

    start: int
    end: int
    text: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"an edit needs 0 <= start <= end, got start={self.start} end={self.end}")

    def apply(self, source: bytes) -> bytes:
        """The edited source. Raises ValueError where the span reaches past the end."""
        if self.end > len(source):
            raise ValueError(f"the edit ends at byte {self.end} of a source of {len(source)} bytes")
        return source[: self.start] + self.text + source[self.end :]

    def inverse(self, source: bytes) -> "Edit":
        """The edit that turns `apply(source)` back into `source`."""
        return Edit(self.start, self.start + len(self.text), source[self.start : self.end])


def apply_disjoint(source: bytes, edits: list[Edit]) -> bytes:
    """Apply edits that were all made for `source`, in list order where two have the same span.

    Raises ValueError where two overlap.
    """
    pieces, at = [], 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):  # stable: insertions at one point keep their order
        if edit.start < at:
            raise ValueError(f"overlapping edits at byte {edit.start}")
        pieces += [source[at : edit.start], edit.text]
        at = edit.end
    return b"".join([*pieces, source[at:]])
