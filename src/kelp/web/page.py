"""One HTML file with its style, script and data inside: no server, no request to anywhere."""

import base64
import hashlib
import html
import json
import re
from importlib import resources
from typing import Any

IMPORT = re.compile(r'^import \{.*\} from "\./(\w+\.js)";\n', re.MULTILINE)


def fill(name: str, title: str, content: Any) -> str:
    """The page of `name`.html, .css and .js. Raises ValueError where JSON cannot hold the content.

    Nothing in the content is trusted: it travels as JSON that cannot close its element and is to be shown as text. The
    browser runs the one script whose hash the page names.
    """
    data = json.dumps(content, separators=(",", ":"), allow_nan=False)  # ASCII, so that U+2028 is escaped too
    script = '"use strict";\n' + _with_imports(f"{name}.js", set())
    styles = ["trace"] if name == "trace" else ["trace", name]
    parts = {
        "name": name,
        "title": html.escape(title),
        "style": "".join(part(f"{style}.css") for style in styles),
        "body": part(f"{name}.html"),
        "script": script,
        "hash": "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "data": data.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"),
    }
    return substitute(part("page.html"), parts)


def part(name: str) -> str:
    """The text of a file that comes with Kelp."""
    return (resources.files("kelp.web") / name).read_text("utf-8")


def substitute(template: str, parts: dict[str, str]) -> str:
    """Put parts into the places {{name}}, in one pass, so that inserted text is not substituted again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _with_imports(name: str, done: set[str]) -> str:
    """The text of a module behind those that it imports, each once, as one script that runs without a server."""
    if name in done:
        return ""
    done.add(name)
    text = IMPORT.sub(lambda match: _with_imports(match[1], done), part(name))
    return re.sub(r"^export ", "", text, flags=re.MULTILINE)
