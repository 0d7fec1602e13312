"""Runner of the tests of a case: to check it, to repair it, and to judge a patch."""

import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

from kelp.evaluation.case import Case, Tests
from kelp.execution.observation import Observation
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits, Suite
from kelp.repair import Session
from kelp.repair import Tests as SessionTests

# Limits of the runs that check a case and judge a patch, and of the first run of a repair.
LIMITS = Limits(seconds=5.0, cpu_seconds=0.5)


class CaseRunner:
    """The tests of one case: the visible ones, as a repair runs them, and the hidden ones, as a judge does.

    Statements run in the sandbox that all cases share; pytest code in one of its own, with the program as the module
    that the tests import. Hidden tests do not lie beside it while visible ones run. Use as a context manager.
    """

    def __init__(self, case: Case, shared: Sandbox) -> None:
        self.case, self.shared = case, shared

    def __enter__(self) -> "CaseRunner":
        self.stack = ExitStack()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def session(self, **options: Any) -> Session:
        """Return a session that repairs the case by its visible tests. `options` are those of a session."""
        case, tests = self.case, self.case.visible_tests
        options |= {"functions": [case.function] if case.function else [], "intent": case.intent or None}
        options |= {"limits": LIMITS, "allow_weak": True}
        if isinstance(tests, str):
            program, test = self._write(self.stack, tests)
            return Session(program, SessionTests(files=(test,)), **options)
        return Session(case.source, SessionTests(asserts=tests, setup=case.setup), sandbox=self.shared, **options)

    def run(self, source: bytes, *, trace: bool = False) -> Observation:
        """Run the visible tests."""
        tests = self.case.visible_tests
        return self._own.run(source, trace=trace) if isinstance(tests, str) else self._run(source, tests, trace=trace)

    def passes(self, source: str) -> bool:
        """Return whether all tests pass, visible and hidden."""
        return self.run(source.encode()).ok and self.passes_hidden(source) is not False

    def passes_hidden(self, source: str) -> bool | None:
        """Return whether the hidden tests pass; None where there are none.

        An assert must pass outside of the program's process too, if it can be judged there with the correct program.
        """
        tests = self.case.hidden_tests
        if not tests:
            return None
        if not isinstance(tests, str):
            observation = self._run(source.encode(), tests)
            return observation.ok and _vouched(observation) >= self._vouched_if_correct
        with ExitStack() as stack:
            return self._start(stack, tests).run(source.encode()).ok

    def _run(self, source: bytes, tests: Tests, *, trace: bool = False) -> Observation:
        return self.shared.run(source, asserts=tests, setup=self.case.setup, trace=trace)

    @cached_property
    def _vouched_if_correct(self) -> set[str]:
        """Hidden asserts that are judged outside of the program's process with the correct program; all without one."""
        fixed, tests = self.case.fixed, self.case.hidden_tests
        return set(tests) if fixed is None else _vouched(self._run(fixed.encode(), tuple(tests)))

    @cached_property
    def _own(self) -> Sandbox:
        """A sandbox with pytest code as the visible tests."""
        assert isinstance(self.case.visible_tests, str)
        return self._start(self.stack, self.case.visible_tests)

    def _start(self, stack: ExitStack, tests: str) -> Sandbox:
        program, test = self._write(stack, tests)
        suite = Suite(pytest_files=(test,))
        return stack.enter_context(Sandbox(suite, module=program, limits=LIMITS, allow_weak=True))

    def _write(self, stack: ExitStack, tests: str) -> tuple[Path, Path]:
        """Write the program and its tests to a folder that lives as long as the stack."""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kelp-case-")))
        program, test = folder / f"{self.case.module}.py", folder / f"test_{self.case.module}.py"
        program.write_text(self.case.source, encoding="utf-8")
        test.write_text(tests, encoding="utf-8")
        return program, test


def _vouched(observation: Observation) -> set[str]:
    return {outcome.name for outcome in observation.outcomes if outcome.vouched}


def shared_sandbox() -> Sandbox:
    """Start the sandbox that the runners of many cases share."""
    return Sandbox(limits=LIMITS, allow_weak=True)
