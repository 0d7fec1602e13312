"""One HTML file with its style, script and data inside: no server, no request to anywhere."""

import html
import json
import re
from importlib import resources
from typing import Any


def fill(name: str, title: str, content: Any) -> str:
    """The page of `name`.html, .css and .js. Raises ValueError where JSON cannot hold the content.

    Nothing in the content is trusted: it travels as JSON that cannot close its element and is to be shown as text.
    """
    data = json.dumps(content, separators=(",", ":"), allow_nan=False)  # ASCII, so that U+2028 is escaped too
    folder = resources.files("kelp.web")
    styles = ["trace"] if name == "trace" else ["trace", name]
    parts = {
        "name": name,
        "title": html.escape(title),
        "style": "".join((folder / f"{style}.css").read_text("utf-8") for style in styles),
        "body": (folder / f"{name}.html").read_text("utf-8"),
        "script": (folder / f"{name}.js").read_text("utf-8"),
        "data": data.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"),
    }
    page = (folder / "page.html").read_text("utf-8")
    # In one pass, so that inserted text is not substituted again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], page)
