"""Bytes as the characters that a byte-level vocabulary spells them with, and back."""

import re

from tokenizers.pre_tokenizers import ByteLevel


def _byte_alphabet() -> list[str]:
    """GPT-2's spelling of each byte as a printable character, as `tokenizers` has it."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


SPELL = _byte_alphabet()
UNSPELL = {character: byte for byte, character in enumerate(SPELL)}
assert set(SPELL) == set(ByteLevel.alphabet())


def unspell(string: str) -> bytes:
    """Bytes of a token in GPT-2's alphabet; an added token stands for itself."""
    try:
        return bytes(UNSPELL[c] for c in string)
    except KeyError:
        return string.encode()


def unspell_fallback(string: str) -> bytes:
    """Bytes of a token of a vocabulary with byte fallback, in which "▁" is a space."""
    byte = re.fullmatch("<0x([0-9A-F]{2})>", string)
    return bytes([int(byte[1], 16)]) if byte else string.replace("▁", " ").encode()
