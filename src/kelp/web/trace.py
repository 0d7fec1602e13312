"""A repair as one HTML file that a person opens and steps through: no server, no request to anywhere."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, model_validator

from kelp.web.page import fill


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# JSON knows no infinity: the log-probability of what a model deems impossible is shown as unknown.
LogProb = Annotated[float | None, BeforeValidator(_finite)]


class Edit(BaseModel):
    """Bytes `start` to `end` of the parent's source, which read `old`, became `new`."""

    start: NonNegativeInt
    end: NonNegativeInt
    old: str
    new: str


class Outcome(BaseModel):
    """What one test said of one program."""

    name: str
    status: Literal["pass", "fail", "error", "timeout", "skip"]
    message: str | None = None


class Node(BaseModel):
    """One program tried: the start, or its parent after one edit. `run` counts test runs; None: never run."""

    id: int
    parent: int | None
    depth: NonNegativeInt
    source: str
    first_line: int = Field(ge=1)
    edit: Edit | None
    log_prob: LogProb
    origin: Literal["start", "model", "near-miss", "values"]
    outcomes: list[Outcome] | None
    run: int | None


class Patch(BaseModel):
    """A program that passes all tests, by the id of its node; other keys are kept."""

    model_config = ConfigDict(extra="allow")

    node: int
    log_prob: LogProb
    diff: str


class Trace(BaseModel):
    """Everything the page shows. Patches come best first."""

    title: str
    file: str
    function: str | None
    intent: str
    status: str
    runs: NonNegativeInt
    seconds: float = Field(ge=0, allow_inf_nan=False)
    validity: float = Field(ge=0, le=1)
    tests: list[str]
    nodes: list[Node] = Field(min_length=1)
    patches: list[Patch]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        seen: dict[int, Node] = {}
        for node in self.nodes:
            if node.id in seen:
                raise ValueError(f"two nodes have the id {node.id}")
            if (node.parent is None) != (node.edit is None):
                raise ValueError(f"node {node.id}: a parent and an edit go together")
            if node.parent is not None and node.edit is not None:
                if node.parent not in seen:
                    raise ValueError(f"node {node.id}: its parent {node.parent} does not come before it")
                _check_edit(seen[node.parent], node, node.edit)
            for outcome in node.outcomes or ():
                if outcome.name not in self.tests:
                    raise ValueError(f"node {node.id}: {outcome.name!r} is not one of the tests")
            seen[node.id] = node
        for patch in self.patches:
            if patch.node not in seen:
                raise ValueError(f"a patch names node {patch.node}, which is not there")
        return self


def _check_edit(parent: Node, node: Node, edit: Edit) -> None:
    before = parent.source.encode()
    if before[edit.start : edit.end] != edit.old.encode():
        raise ValueError(f"node {node.id}: bytes {edit.start} to {edit.end} of node {parent.id} are not {edit.old!r}")
    if before[: edit.start] + edit.new.encode() + before[edit.end :] != node.source.encode():
        raise ValueError(f"node {node.id}: its edit does not turn node {parent.id} into it")


def render_trace(trace: Mapping[str, Any]) -> str:
    """The HTML page of a repair. Raises ValueError, which names each place, when the trace is malformed."""
    checked = Trace.model_validate(trace)
    content = checked.model_dump()
    for node in content["nodes"]:
        if node["edit"]:
            del node["source"]  # the page makes it again from its parent's: a tenth of the size, or less
    return fill("trace", checked.title, content)
