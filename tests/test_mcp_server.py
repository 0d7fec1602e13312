"""`kelp mcp` as an assistant sees it: the SDK's own client starts the command and speaks to it over stdio."""

import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client

SHAPES = '''\
def area(width, height):
    """Area of a rectangle."""
    return width + height
'''
TESTS = """\
from shapes import area


def test_area():
    assert area(3, 5) == 15


def test_unit():
    assert area(1, 1) == 1
"""
LOOP = "def f(x):\n    while x:\n        x = x + 1\n    return x\n"
Use = Callable[[Client], Awaitable[None]]


@pytest.fixture
def talk(tmp_path: Path) -> Callable[[Use], None]:
    """Starts `kelp mcp` in a folder with a faulty file and its tests, and gives a client to a coroutine."""
    (tmp_path / "shapes.py").write_text(SHAPES)
    (tmp_path / "test_shapes.py").write_text(TESTS)
    variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "kelp", "mcp", "--model", "none"], cwd=tmp_path, env=variables
    )

    def talk(use: Use) -> None:
        async def main() -> None:
            with anyio.fail_after(120):
                async with Client(stdio_client(server)) as client:
                    await use(client)

        anyio.run(main)
        assert (tmp_path / "shapes.py").read_text() == SHAPES

    return talk


def test_the_tools_are_three_and_say_that_they_change_nothing_then_repair_locate_and_test(talk) -> None:
    async def use(client: Client) -> None:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["repair", "locate", "run_tests"]
        assert all(tool.annotations and tool.annotations.read_only_hint and tool.description for tool in tools)

        seen: list[tuple[float, float | None, str | None]] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            seen.append((done, total, message))

        answer = await client.call_tool("repair", {"target": "shapes.py"}, progress_callback=progress)
        repaired: Any = answer.structured_content
        assert repaired["status"] == "repaired" and repaired["patches"][0]["tests_passed"] == 2
        assert "+    return width * height\n" in repaired["patches"][0]["diff"]
        assert len(seen) >= 4 and [done for done, *_ in seen] == sorted({done for done, *_ in seen})
        assert (256.0, "2 of 2 tests pass") in [(total, message) for _, total, message in seen]

        located: Any = (await client.call_tool("locate", {"target": "shapes.py"})).structured_content
        [suspect] = located["suspects"]
        assert (suspect["function"], suspect["file"], suspect["lines"][0]["line"]) == ("area", "shapes.py", 3)
        assert located["failing"] == 2

        asserts = {"target": "shapes.py", "asserts": ["area(2, 2) == 4", "area(1, 2) == 2"]}
        tested: Any = (await client.call_tool("run_tests", asserts)).structured_content
        assert (tested["passed"], tested["total"], tested["status"]) == (1, 2, "not passed")
        [failure] = tested["failures"]
        assert (failure["call"], failure["got"], failure["expected"]) == ("area(1, 2)", "3", "2")

    talk(use)


@pytest.mark.slow
def test_bad_input_is_a_sentence_and_the_server_goes_on(talk) -> None:
    async def use(client: Client) -> None:
        for arguments, words in (
            ({"target": "nowhere.py"}, "nowhere.py does not exist."),
            ({"target": "shapes.py::aera"}, "did you mean area?"),
            ({"target": "shapes.py", "asserts": ["area("]}, "is no Python expression"),
            ({"target": "shapes.py", "asserts": ["area(2, 2) == 4"]}, "pass already"),
            ({"target": "shapes.py", "seconds": -1}, "greater than 0"),
        ):
            answer = await client.call_tool("repair", arguments)
            text: Any = answer.content[0]
            assert answer.is_error and words in text.text

    talk(use)


@pytest.mark.slow
def test_a_cancelled_call_ends_its_search_and_the_server_goes_on(talk, tmp_path) -> None:
    (tmp_path / "loop.py").write_text(LOOP)

    async def use(client: Client) -> None:
        began = time.monotonic()
        arguments = {"target": "loop.py", "asserts": ["f(1) == 17", "f(2) == 4711"], "seconds": 3000.0}
        searching = anyio.Event()

        async def progress(done: float, total: float | None, message: str | None) -> None:
            if done >= 1:
                searching.set()

        async with anyio.create_task_group() as group:

            async def call() -> None:
                await client.call_tool("repair", arguments, progress_callback=progress)

            group.start_soon(call)
            await searching.wait()
            children = running(tmp_path)
            group.cancel_scope.cancel()
        assert children
        tested = await client.call_tool("run_tests", {"target": "shapes.py"})
        assert not tested.is_error
        while running(tmp_path) & children and time.monotonic() - began < 60:
            await anyio.sleep(0.1)
        assert not running(tmp_path) & children

    talk(use)


def running(folder: Path) -> set[str]:
    """Processes below this one that are sandbox servers."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
            parents[path.name] = (path / "stat").read_text().rpartition(")")[2].split()[1], command
        except OSError:
            continue

    def is_ours(process: str) -> bool:
        while process in parents:
            if process == str(os.getpid()):
                return True
            process = parents[process][0]
        return False

    return {process for process, (_, command) in parents.items() if b"start.py" in command and is_ours(process)}
