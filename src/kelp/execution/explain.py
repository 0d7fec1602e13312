"""Text of an observation for a person."""

import re
from collections import Counter
from collections.abc import Callable, Mapping

from kelp.execution.observation import Observation, TestOutcome, shorten
from kelp.execution.worker.plugin.kelp_needs import ASYNC, GPU, NETWORK, PROCESS

_SHOWN = {"pass": "pass", "fail": "FAIL", "error": "ERROR", "timeout": "TIMEOUT", "skip": "skip"}
_COUNTED = {"pass": "passed", "fail": "failed", "error": "error", "timeout": "timeout", "skip": "skipped"}
_WIDTH = 116
_ALL_LISTED = 40  # tests; with more, passed ones are only counted
_OUTPUT = 12  # lines kept of the output
_PROGRESS = re.compile(r"[.FEsxX]*( +\[ *\d+%\])?\s*")  # as pytest prints it
_REPORTS = "short test summary info ="
_PACKAGES = {  # that have well-known fixtures
    "mocker": "pytest-mock", "benchmark": "pytest-benchmark", "httpx_mock": "pytest-httpx", "freezer": "pytest-freezer",
    "requests_mock": "requests-mock", "faker": "Faker", "snapshot": "syrupy", "httpserver": "pytest-httpserver",
    "aiohttp_client": "pytest-aiohttp", "subtests": "pytest-subtests", "event_loop": "pytest-asyncio",
    **dict.fromkeys("db transactional_db client admin_client rf settings live_server".split(), "pytest-django"),
}  # fmt: skip
_PLUGINS = "--test-command 'pytest ...' loads the plugins that are installed for that pytest"
_FILES = "the sandbox shows the project and libraries, and temporary files alone"
_REMEDIES = {  # by how a need begins
    NETWORK: "the sandbox has none but to itself: mock it in the test",
    PROCESS: "the sandbox refuses it where the machine gives it no namespaces",
    GPU: "the sandbox shows no devices: skip the test without one",
    "a server": "the sandbox reaches nothing outside: let the test start it, or mock it",
    "the package": "install it there, or choose another Python by --python",
    "the fixture": _PLUGINS, "the pytest plugin": _PLUGINS, ASYNC: _PLUGINS,
    "access to": f"{_FILES}: use a file of the project or tmp_path",
    "to write to": "the sandbox lets tests write to a copy of the project and to temporary files: use tmp_path",
    "to run in": "tests run in an empty folder here; --test-command 'pytest ...' runs in the project's",
}  # fmt: skip
_REFUSED = "the sandbox refuses it"


def explain(observation: Observation, source: bytes, file: str, *, coverage: bool = False) -> str:
    """List every test, the reasons of the first failures, the output, and the counts; lines are those of `source`."""
    outcomes = observation.outcomes
    listed = [o for o in outcomes if len(outcomes) <= _ALL_LISTED or o.status != "pass"]
    lines = [f"{_SHOWN[o.status]:8}{o.seconds:8.3f} s  {shorten(o.name, _WIDTH - 20)}" for o in listed]
    parts = ["\n".join(lines)] if lines else []
    parts += failures(observation, source, lambda line: (file, line))
    if coverage and (observation.lines_failing or observation.lines_passing):
        parts.append(covered(observation, source, file))
    return "\n\n".join([*parts, counts(observation)]) + "\n"


def failures(
    observation: Observation, source: bytes, place: Callable[[int], tuple[str, int]], most: int = 5
) -> list[str]:
    """Paragraphs: why the tests could not run, the first `most` failures, and the output.

    `place` gives the file at a line of the source, and the line in it.
    """
    code = source.decode("utf-8", "replace").splitlines()

    def at(line: int | None) -> list[str]:
        known = line is not None and 1 <= line <= len(code)
        if not known or line is None:
            return []
        file, inside = place(line)
        return [f"  {file}:{inside}: {shorten(code[line - 1], 80)}"]

    parts = []
    if observation.error is not None:
        needs = [] if observation.needs is None else [f"  needs {need(observation.needs)}"]
        parts.append("\n".join([shorten(observation.error, 2 * _WIDTH), *needs, *at(observation.error_line)]))
    failed = observation.failures
    for outcome in failed[:most]:
        needs = [] if outcome.needs is None else [f"  needs {need(outcome.needs)}"]
        parts.append("\n".join([shorten(outcome.name, _WIDTH), *_why(outcome), *needs, *at(outcome.line)]))
    if len(failed) > most:
        parts.append(f"... and {len(failed) - most} more.")
    printed = [line.rstrip()[:_WIDTH] for line in observation.output.splitlines() if not _PROGRESS.fullmatch(line)]
    if _REPORTS in observation.output and observation.error is None:
        printed = []  # pytest's own report repeats the failures
    if printed and (failed or observation.error is not None):
        cut = [f"... ({len(printed) - _OUTPUT} lines before)"] if len(printed) > _OUTPUT else []
        parts.append("\n".join(f"  | {line}" for line in cut + printed[-_OUTPUT:]))
    return parts


def _why(outcome: TestOutcome) -> list[str]:
    """The first comparison that did not hold, or the exception."""
    call = shorten(outcome.call, _WIDTH) if outcome.call and outcome.call != outcome.name else None
    if outcome.got is not None and outcome.expected is not None:
        lines = ["  " + (call or shorten(outcome.name, _WIDTH)), f"    got       {shorten(outcome.got, _WIDTH)}"]
        return [*lines, f"    expected  {shorten(outcome.expected, _WIDTH)}"]
    reason = ": ".join(part for part in (outcome.exception, outcome.message) if part) or _COUNTED[outcome.status]
    if outcome.status == "timeout":
        reason = outcome.message or "it did not end"
    return [*([f"  {call}"] if call else []), f"  {shorten(reason, 2 * _WIDTH)}"]


def failure(outcome: TestOutcome) -> str:
    """`got 3, expected 4`, or `SyntaxError: invalid syntax`: how a test fails, in a line."""
    if outcome.got is not None and outcome.expected is not None:
        return f"got {shorten(outcome.got, 60)}, expected {shorten(outcome.expected, 60)}"
    reason = ": ".join(part for part in (outcome.exception, outcome.message) if part)
    return shorten(reason, _WIDTH) or _COUNTED[outcome.status]


def need(needs: str, *, plugins: bool = False) -> str:
    """`a network connection (the sandbox has none: ...)`: a resource that a test needs, and what to do.

    `plugins`: those of the tests' pytest were loaded.
    """
    if plugins and needs.startswith(("the fixture", "the pytest plugin", ASYNC)):
        known = "pytest-asyncio" if needs == ASYNC else _PACKAGES.get(needs.rpartition(" ")[2].strip("'\""))
        what = f"{known} has it: install that" if known else "install the plugin that has it"
        return f"{shorten(needs, 2 * _WIDTH)} ({what} in the Python of the tests)"
    remedy = next((remedy for begin, remedy in _REMEDIES.items() if needs.startswith(begin)), _REFUSED)
    return f"{shorten(needs, 2 * _WIDTH)} ({remedy})"


def needs_of(tests: Mapping[str, str], *, plugins: bool = False) -> str:
    """`a needs ... (...); b and c need ... (...)`: tests by what they need."""
    clauses = []
    for needs in dict.fromkeys(tests.values()):
        names = [shorten(name, _WIDTH) for name, wanted in tests.items() if wanted == needs]
        if len(names) > 3:
            names = [*names[:2], f"{len(names) - 2} others"]
        listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        clauses.append(f"{listed} {'need' if len(names) > 1 else 'needs'} {need(needs, plugins=plugins)}")
    return "; ".join(clauses)


def covered(observation: Observation, source: bytes, file: str) -> str:
    """Lines that tests executed, marked if only failing or only passing tests did."""
    failing, passing = observation.lines_failing, observation.lines_passing
    lines = [f"Lines of {file} that tests ran (- only failing ones, + only passing ones):"]
    for number, text in enumerate(source.decode("utf-8", "replace").splitlines(), 1):
        if number in failing | passing:
            mark = " " if number in failing & passing else "-" if number in failing else "+"
            lines.append(f"{number:6} {mark} {text[:_WIDTH]}")
    return "\n".join(lines)


def counts(observation: Observation) -> str:
    """`3 tests: 1 passed, 2 failed (0.04 s)`."""
    by_status = Counter[str](outcome.status for outcome in observation.outcomes)
    counts_by_status = [f"{by_status[status]} {word}" for status, word in _COUNTED.items() if by_status[status]]
    if observation.not_run:
        counts_by_status.append(f"{observation.not_run} not run")
    total = f"{observation.total} test{'' if observation.total == 1 else 's'}"
    return f"{total}: {', '.join(counts_by_status) or 'none ran'} ({observation.seconds:.2f} s)"
