"""Pages that a person opens in a browser."""

from kelp.web.trace import render_trace

__all__ = ["render_trace"]
