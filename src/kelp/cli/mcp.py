"""`kelp mcp`: a server for editors and assistants that speak the Model Context Protocol."""

from typing import Annotated

import typer

from kelp.cli import options
from kelp.extras import require


def mcp(
    model: Annotated[
        str | None, typer.Option(metavar="NAME_OR_FOLDER", help="Model to use, as in kelp repair.")
    ] = None,
    allow_weak_sandbox: options.AllowWeakSandbox = False,
) -> None:
    """Serve the tools repair, locate and run_tests over stdio, by the Model Context Protocol.

    An editor or assistant starts this command in the project's folder; docs/editors.md has its settings. The tools
    change no file.

    \b
    Examples:
      kelp mcp
      uvx --from 'kelp-repair[mcp]' kelp mcp
    """
    require("mcp", "kelp mcp")
    from kelp.mcp_server import Tools, serve

    serve(Tools(model=model, allow_weak=allow_weak_sandbox))
