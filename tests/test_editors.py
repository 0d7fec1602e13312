"""docs/editors.md: every snippet parses, and what it starts is `kelp mcp` of the right distribution."""

import json
import re
import tomllib
from pathlib import Path

import yaml

from kelp.extras import DISTRIBUTION, LIBRARIES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "editors.md").read_text()
COMMAND = ["--from", f"{DISTRIBUTION}[mcp]", "kelp", "mcp"]
READ = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}


def words(value: object) -> list[str]:
    """All strings of a snippet, in order."""
    match value:
        case dict():
            return [word for key, item in value.items() for word in (str(key), *words(item))]
        case list():
            return [word for item in value for word in words(item)]
    return [str(value)]


def test_every_snippet_parses_and_starts_the_server() -> None:
    snippets = [
        (kind, READ[kind](text)) for kind, text in re.findall(r"```(json|toml|yaml)\n(.*?)```", PAGE, re.DOTALL)
    ]
    servers = [words(value) for _, value in snippets if "uvx" in words(value)]
    assert len(servers) == 6 and "mcp" in LIBRARIES
    for found in servers:
        at = found.index("--from")
        assert found[at : at + 4] == COMMAND


def test_the_hook_of_the_page_is_defined() -> None:
    hooks = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    assert re.findall(r"- id: (\S+)", PAGE) == [*hooks]
