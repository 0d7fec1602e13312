"""Order of proposals: the place of the right edit among all, by the weights that ship and by others.

    python benchmarks/order.py collect mbpp:mbpp.jsonl --out mbpp.npz           # tasks 511-600, one near miss each
    python benchmarks/order.py collect changes:runs/history --out changes.npz   # changes of training packages
    python benchmarks/order.py collect FOLDER --out bugs.npz                    # cases, as `kelp eval cases` takes them
    python benchmarks/order.py compare mbpp.npz changes.npz bugs.npz

`collect` runs the tests of each case once. Of each edit that may come first it keeps the `FEATURES`, and whether it
begins a shortest way to the correct program. `compare` ranks the edits by weighted sums of the features, and fits a
conditional logit (McFadden 1974) to each file by five-fold cross-validation: the most that such weights could reach.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from kelp.data.corpus.history import context_suffices
from kelp.data.record import json_lines, load
from kelp.diffusion.mutations import candidates, log_priors
from kelp.encoding.condition import Condition
from kelp.errors import KelpError
from kelp.evaluation.benchmarks import programs
from kelp.evaluation.case import Case
from kelp.evaluation.case_files import read_folder
from kelp.evaluation.case_runner import CaseRunner, shared_sandbox
from kelp.evaluation.corrupt import Corruption, break_all, only_bugs
from kelp.evaluation.run_cases import first_edits
from kelp.model.suffix_tree import NODES, SuffixTree
from kelp.repair import FunctionsChosen
from kelp.repair.models import find
from kelp.repair.models import load as load_model
from kelp.search.model_policy import (
    BLIND_SHARE,
    KIND_WEIGHT,
    LINE_WEIGHT,
    OF_NO_KIND_NATS,
    SITE_WEIGHT,
    TEXT_WEIGHT,
    Model,
    ModelPolicy,
    View,
    evidence,
)
from kelp.search.policy import Bound, Policy, Proposal
from kelp.search.suspicion import may_matter
from kelp.search.task import Budget
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import is_valid

VALIDATION = range(511, 601)  # tasks of MBPP
FEATURES = ("function", "site", "text", "line", "kind", "evidence", "enumerated")
FUNCTION, SITE, TEXT, LINE, KIND, EVIDENCE, ENUMERATED = range(len(FEATURES))
UNSCORED_NATS = -8.0  # of a text that is too long to be scored
IMPOSSIBLE = -99.0

Scores = Callable[[np.ndarray], np.ndarray]


class Choice(NamedTuple):
    """The edits of one case: their features [N, 7], and which are right [N]."""

    features: np.ndarray
    right: np.ndarray


@dataclass
class Capture(Policy):
    """A policy that proposes nothing, and keeps the functions that it is asked about, with their conditions."""

    asked: list[tuple[Program, Condition]] = field(default_factory=list)

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        self.asked.append((program, condition))
        return iter(())


def cases_of(where: str) -> list[Case]:
    source, _, path = where.rpartition(":")
    if source == "mbpp":
        tasks = [task for task in json_lines(Path(path)) if task["task_id"] in VALIDATION]
        found = (
            {
                "id": f"mbpp/{task['task_id']}", "source": task["code"].replace("\r\n", "\n") + "\n",
                "intent": task["text"], "visible_tests": task["test_list"][:-1], "hidden_tests": task["test_list"],
            }
            for task in tasks if not task["test_setup_code"]
        )  # fmt: skip
        return break_all(programs(found)[0], [Corruption.one])[0]
    if source == "changes":
        records = [r for file in sorted(Path(path).glob("*.parquet")) for r in load(file)]
        known = [r for r in records if r.before and r.split == "train" and r.asserts and context_suffices(r)]
        found = (
            {
                "id": f"{r.origin}:{r.name}:{number}", "source": r.before, "fixed": r.source, "setup": r.context or "",
                "intent": r.intent, "visible_tests": r.asserts[:-1] or r.asserts, "hidden_tests": r.asserts,
            }
            for number, r in enumerate(known)
        )  # fmt: skip
        return only_bugs(programs(found)[0])[0]
    return read_folder(Path(path))[0]


def features(policy: ModelPolicy, program: Program, condition: Condition) -> Iterator[tuple[Edit, list[float]]]:
    """Yield each first edit that the model may write or that a kind has, with its features but for the function's."""
    view = policy._view(program, condition)
    score, _ = evidence(program, condition.names)
    kinds = candidates(program, may_matter(program, condition.suspicion))
    priors = log_priors(program, kinds, condition.exception)
    texts = text_log_probs(policy, view, [*kinds])
    for _, decode in policy._to_write(view, 0.0):
        for proposal in decode():
            known = view.weighed[view.state.row_of(proposal.edit)] + KIND_WEIGHT * OF_NO_KIND_NATS
            text = (proposal.log_prob - known - math.log(1 - BLIND_SHARE)) / TEXT_WEIGHT
            texts.setdefault(proposal.edit, text)
    results = set()
    for edit, text in texts.items():
        result = edit.apply(program.source)
        if result not in results and is_valid(program, edit):
            results.add(result)
            row, prior = view.state.row_of(edit), priors.get(edit, OF_NO_KIND_NATS)
            yield edit, [view.site[row], text, view.line[row], prior, score(edit), float(edit in kinds)]


def text_log_probs(policy: ModelPolicy, view: View, edits: Sequence[Edit]) -> dict[Edit, float]:
    """Log-probability of the text of each edit at its site under the model; 0 for a deletion."""
    found, tree, ends = dict.fromkeys(edits, UNSCORED_NATS), SuffixTree(), list[tuple[Edit, int]]()

    def score() -> None:
        transformer, end = policy.model.denoiser.transformer, policy.encoder.special.end
        scores = transformer.path_log_probs(tree, view.cache, end=end)
        found.update((edit, float(scores[node])) for edit, node in ends)

    for edit in edits:
        row = view.state.row_of(edit)
        suffix = policy.encoder.suffix(view.state, row, policy.encoder.text_tokens(view.state, row, edit.text))
        if not edit.text:
            found[edit] = 0.0
        elif len(suffix[0]) <= NODES:
            if not tree.fits(len(suffix[0])):
                score()
                tree, ends = SuffixTree(), []
            ends.append((edit, tree.add(*suffix)))
    score()
    return found


def collect(where: str, model: str) -> Iterator[Choice]:
    loaded = load_model(find(model) or Path(model))
    assert isinstance(loaded, Model)
    with shared_sandbox() as sandbox:
        for case in cases_of(where):
            capture, truth = Capture(), first_edits(case)
            with CaseRunner(case, sandbox) as runner:
                session = runner.session(budget=Budget(runs=2, seconds=600.0), model=capture)
                try:
                    chosen = [event.functions for event in session.run() if isinstance(event, FunctionsChosen)]
                except KelpError:
                    continue
            rows, right = list[list[float]](), list[bool]()
            for (program, condition), function in zip(capture.asked, chosen[0]):
                begins = truth is not None and truth[0] == program.source
                results = {edit.apply(program.source) for edit in truth[1]} if truth and begins else set()
                for edit, of_edit in features(ModelPolicy(loaded), program, condition):
                    rows.append([function.log_prob, *of_edit])
                    right.append(edit.apply(program.source) in results)
            if any(right):
                yield Choice(np.asarray(rows, np.float32), np.asarray(right))


def load_choices(path: Path) -> list[Choice]:
    stored = np.load(path)
    ends = np.cumsum(stored["sizes"])[:-1]
    return [Choice(*pair) for pair in zip(np.split(stored["features"], ends), np.split(stored["right"], ends))]


def weighted(site: float, text: float, line: float, kind: float, blind: float) -> Scores:
    """The order by weights, with a share `blind` of the probability by line and kind alone."""

    def scores(x: np.ndarray) -> np.ndarray:
        by_model = site * x[:, SITE] + text * x[:, TEXT] + line * x[:, LINE] + kind * x[:, KIND]
        by_prior = np.where(x[:, ENUMERATED] > 0, x[:, LINE] + x[:, KIND], IMPOSSIBLE)
        mixed = by_prior
        if blind < 1:
            by_model = by_model - np.logaddexp.reduce(by_model)
            by_prior = by_prior - np.logaddexp.reduce(by_prior)
            mixed = np.logaddexp(np.log(1 - blind) + by_model, np.log(max(blind, 1e-9)) + by_prior)
        return x[:, FUNCTION] + x[:, EVIDENCE] + mixed

    return scores


def fitted(choices: Sequence[Choice]) -> np.ndarray:
    """Weights of all features, by the log-probability of the right edits, with a penalty on their squares."""

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = 0.02 * weights @ weights, 0.04 * weights
        for x, right in choices:
            scores = x @ weights
            every, good = np.logaddexp.reduce(scores), np.logaddexp.reduce(scores[right])
            value += (every - good) / len(choices)
            slope += (np.exp(scores - every) @ x - np.exp(scores[right] - good) @ x[right]) / len(choices)
        return value, slope

    return np.asarray(minimize(loss, np.full(len(FEATURES), 0.3), jac=True, method="L-BFGS-B").x)


def rank(choice: Choice, scores: Scores) -> int:
    found = scores(choice.features.astype(float))
    return 1 + int((found > found[choice.right].max()).sum())


def show(name: str, ranks: Sequence[int]) -> None:
    at = np.asarray(ranks)
    shares = "  ".join(f"top {most} {np.mean(at <= most):4.0%}" for most in (1, 5, 16, 64))
    print(f"  {name:34} mean log rank {np.log(at).mean():.3f}  {shares}")


def compare(paths: Sequence[Path]) -> None:
    orders = {
        "weights that ship": weighted(SITE_WEIGHT, TEXT_WEIGHT, LINE_WEIGHT, KIND_WEIGHT, BLIND_SHARE),
        "the same without a blind share": weighted(SITE_WEIGHT, TEXT_WEIGHT, LINE_WEIGHT, KIND_WEIGHT, 0.0),
        "model and line, 30 % blind": weighted(1.0, 1.0, 1.0, 0.0, 0.3),
        "line and kind alone": weighted(0.0, 0.0, 0.0, 0.0, 1.0),
    }
    for path in paths:
        choices = load_choices(path)
        print(f"{path.name}: {len(choices)} cases")
        for name, scores in orders.items():
            show(name, [rank(choice, scores) for choice in choices])
        if len(choices) >= 40:
            ranks = list[int]()
            for fold in range(5):
                weights = fitted([c for i, c in enumerate(choices) if i % 5 != fold])
                ranks += [rank(c, lambda x, w=weights: x @ w) for i, c in enumerate(choices) if i % 5 == fold]  # type: ignore[misc]
            show("fitted to the other four fifths", ranks)
            print("  fitted to all:", dict(zip(FEATURES, fitted(choices).round(2).tolist())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect")
    collecting.add_argument("cases", help="mbpp:FILE, changes:CORPUS or a folder of cases")
    collecting.add_argument("--model", default="default")
    collecting.add_argument("--out", type=Path, required=True)
    comparing = commands.add_parser("compare")
    comparing.add_argument("files", type=Path, nargs="+")
    args = parser.parse_args()
    if args.command == "compare":
        compare(args.files)
        return
    found = [*collect(args.cases, args.model)]
    features, right = zip(*found)
    sizes = [len(each) for each in right]
    np.savez_compressed(args.out, sizes=sizes, features=np.concatenate(features), right=np.concatenate(right))
    print(f"{args.out}: {len(found)} cases in which a right edit may come first, {sum(sizes) // len(sizes)} edits each")


if __name__ == "__main__":
    main()
