"""Bits per byte of general-purpose compressors, to compare a language model's with."""

import gzip
import lzma
from collections.abc import Callable, Sequence


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def _xz(data: bytes) -> bytes:
    size = min(max(len(data), 4096), 1 << 30)  # a dictionary of the whole text
    return lzma.compress(data, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": size}])


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"gzip": _gzip, "xz": _xz}


def compressed_bits_per_byte(texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Bits per byte of each compressor at its best, headers included: "each" text by itself, and "all" in one."""
    data = [text.encode() for text in texts]
    size = sum(map(len, data))
    return {
        name: {
            "each": 8 * sum(len(compress(each)) for each in data) / size,
            "all": 8 * len(compress(b"".join(data))) / size,
        }
        for name, compress in COMPRESSORS.items()
    }
