"""Readable addresses for articles: "Crème brûlée, twice!" is served as /creme-brulee-twice."""

import re
import unicodedata
from collections.abc import Collection

MAX_LENGTH = 40
NOT_A_WORD = re.compile(r"[^a-z0-9]+")


def slugify(title: str) -> str:
    """The title in lower case ASCII, its words joined by hyphens; "untitled" when nothing is left."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    words = NOT_A_WORD.sub("-", plain.lower()).strip("-")
    return words[:MAX_LENGTH].rstrip("-") or "untitled"


def unique_slug(title: str, taken: Collection[str], limit: int = MAX_LENGTH) -> str:
    """The slug of a title that no other article has: the plain one, else the first free of -2, -3, ...

    The number counts towards the limit, so a long slug is shortened to make room for it.
    """
    base = slugify(title)[:limit].rstrip("-")
    slug = base
    number = 1
    while slug in taken:
        number += 1
        suffix = "-" + str(number)
        room = limit - len(suffix)
        slug = slug[:room].rstrip("-") + suffix
    return slug


def permalink(section: str, slug: str) -> str:
    """The address of an article under its section, which may be nested: "food/sweet"."""
    parts = [slugify(part) for part in section.split("/") if part]
    return "/" + "/".join([*parts, slug])
