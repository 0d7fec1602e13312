"""Docstrings as a statement of intent."""

import re
import textwrap

MAX_INTENT = 200  # characters


def first_sentence(docstring: str) -> str:
    """Return the first sentence of the first paragraph, on one line, cut at a word when it is long."""
    paragraph = " ".join(re.split(r"\n\s*\n", docstring.strip())[0].split())
    sentence = re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!cf\.)(?<!vs\.)\s+(?=[A-Z`*'\"(])", paragraph)[0]
    if sentence.startswith((">>>", "..", ":")):
        return ""
    return textwrap.shorten(sentence, MAX_INTENT, placeholder=" ...") if len(sentence) > MAX_INTENT else sentence
