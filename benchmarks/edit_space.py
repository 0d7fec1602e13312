"""Coverage of the edit space: which of people's small changes lie in it, by which kind of mistake.

    python benchmarks/edit_space.py runs/changes                      # held-out projects
    python benchmarks/edit_space.py runs/history --split train                 # what `Kind.repairs` is counted on
    python benchmarks/edit_space.py runs/history --split train --reversed      # and what `Kind.breaks` is

For each change of a corpus (`kelp corpus build --source history:...`), the tree diff gives the edits from the function
before to the function after. An edit is *enumerated* if an edit of some kind has the same result, and *decodable* if
the shipped model could write its text at that site (at most 24 tokens). A change counts if all of its edits do. The
share of a kind is its number of edits over the number of changes whose function has a place for the kind. Nothing runs.
"""

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

from kelp.data.record import LANGUAGE, Record, load, parse_source
from kelp.diffusion.diff import distance
from kelp.diffusion.mutations import KINDS
from kelp.encoding.encoder import Encoder
from kelp.encoding.folder import load_encoding
from kelp.evaluation.metrics import estimate
from kelp.repair.models import SHIPPED
from kelp.search.model_policy import DecodeConfig
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import key, site_index, sites

NONE = "-"


def kinds_by_result(program: Program) -> dict[bytes, str]:
    """The first kind that makes each result."""
    found: dict[bytes, str] = {}
    for name, kind in KINDS.items():
        for edit in kind.edits(program):
            found.setdefault(edit.apply(program.source), name)
    return found


def decodable(program: Program, edit: Edit, encoder: Encoder) -> bool:
    at = site_index(program).get(key(edit))
    if at is None or f"{sites(program)[at].op} {sites(program)[at].category}" == "replace program":
        return False
    state = encoder.state(program)
    tokens = encoder.text_tokens(state, state.row_of(edit), edit.text)
    return len(tokens) <= DecodeConfig().max_tokens


def read(path: Path, split: str) -> list[Record]:
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    return [r for file in files for r in load(file) if r.before and split in ("all", r.split)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--split", choices=["train", "valid", "all"], default="valid")
    parser.add_argument("--reversed", action="store_true", help="from the function after to the one before: mistakes")
    parser.add_argument("--uncovered", type=Path, metavar="FILE.jsonl", help="write the edits of no kind to this file")
    args = parser.parse_args()
    encoder = load_encoding(SHIPPED / "default", LANGUAGE)
    covered: dict[tuple[int, str], list[float]] = defaultdict(list)
    made, possible = Counter[str](), Counter[str]()
    rest, sizes, projects = [], [], set()
    for record in read(args.corpus, args.split):
        before, after = (record.source, record.before) if args.reversed else (record.before, record.source)
        program = parse_source(before)
        edits = distance(program, parse_source(after))[1]
        by_result = kinds_by_result(program)
        found = [by_result.get(edit.apply(program.source), NONE) for edit in edits]
        reached = [kind != NONE or decodable(program, edit, encoder) for edit, kind in zip(edits, found)]
        covered[len(edits), "enumerated"].append(NONE not in found)
        covered[len(edits), "or decodable"].append(all(reached))
        made.update(found)
        possible.update(set(by_result.values()))
        sizes.append(len(by_result))
        projects.add(record.project)
        rest += [
            {"project": record.project, "name": record.name, "op": key(edit)[2], "edits": len(edits),
             "old": program.source[edit.start : edit.end].decode(), "new": edit.text.decode()}
            for edit, kind in zip(edits, found) if kind == NONE
        ]  # fmt: skip
    print(f"{len(sizes)} changes of {len(projects)} projects, {sum(sizes) / len(sizes):.0f} edits a function")
    for how in ("enumerated", "or decodable"):
        for edits in (1, 2, 3):
            if some := covered[edits, how]:
                print(f"{edits} edits, {how:12}  n={len(some):5}  {estimate(some)}")
        print(f"all,     {how:12}  n={len(sizes):5}  {estimate([c for n in (1, 2, 3) for c in covered[n, how]])}")
    print(f"\n{'kind':22} {'edits':>6} {'places':>7} {'share':>7}")
    for kind, count in made.most_common():
        share = count / possible[kind] if kind in possible else float("nan")
        print(f"{kind:22} {count:6} {possible[kind]:7} {share:7.2%}")
    if args.uncovered:
        args.uncovered.write_text("".join(json.dumps(each) + "\n" for each in rest))


if __name__ == "__main__":
    main()
