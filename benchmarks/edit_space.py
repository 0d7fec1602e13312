"""Share of people's small changes whose edits are among the enumerated near misses.

    python benchmarks/edit_space.py runs/changes --split valid

For each change of the corpus (`kelp corpus build --source history:...`), the tree diff gives the edits from the
function before to the function after. An edit is covered if a near miss of the function before has the same result, a
change if all its edits are. Text and site are the diff's own; nothing is run.
"""

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

from kelp.data.record import load, parse_source
from kelp.diffusion.diff import distance
from kelp.diffusion.mutations import CANDIDATES
from kelp.evaluation.metrics import estimate
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import key, site_index, sites

NOT_COVERED = "-"


def kind_of(program: Program, edit: Edit, by_result: dict[bytes, str]) -> str:
    return by_result.get(edit.apply(program.source), NOT_COVERED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--split", choices=["train", "valid", "all"], default="valid")
    parser.add_argument("--limit", type=int, default=10**9)
    parser.add_argument("--uncovered", type=Path, help="write the edits not covered to this JSON-lines file")
    args = parser.parse_args()
    path = args.corpus / "records.parquet" if args.corpus.is_dir() else args.corpus
    records = [r for r in load(path) if r.before and args.split in ("all", r.split)][: args.limit]
    covered: dict[int, list[float]] = defaultdict(list)
    kinds: Counter[str] = Counter()
    sizes = []
    rest = []
    for record in records:
        program, goal = parse_source(record.before), parse_source(record.source)
        edits = distance(program, goal)[1]
        by_result: dict[bytes, str] = {}
        for kind, of_kind in CANDIDATES.items():
            for edit in of_kind(program):
                by_result.setdefault(edit.apply(program.source), kind)
        sizes.append(len(by_result))
        found = [kind_of(program, edit, by_result) for edit in edits]
        covered[len(edits)].append(NOT_COVERED not in found)
        kinds.update(found)
        for edit, kind in zip(edits, found):
            if kind == NOT_COVERED:
                at = site_index(program).get(key(edit))
                category = sites(program)[at].category if at is not None else "?"
                rest.append(
                    {
                        "category": category,
                        "op": key(edit)[2],
                        "edits": len(edits),
                        "project": record.project,
                        "name": record.name,
                        "old": program.source[edit.start : edit.end].decode(),
                        "new": edit.text.decode(),
                        "line": program.source[program.source.rfind(b"\n", 0, edit.start) + 1 :]
                        .split(b"\n", 1)[0]
                        .decode(),
                    }
                )
    print(f"{len(records)} changes, {sum(sizes) / max(1, len(sizes)):.0f} near misses a function")
    for edits, each in [*sorted(covered.items()), ("all", [c for some in covered.values() for c in some])]:
        print(f"{edits} edits: n={len(each)} covered {estimate(each)}")
    total = sum(kinds.values())
    for kind, count in kinds.most_common():
        print(f"{kind:24} {count:6} {count / total:6.1%}")
    if args.uncovered:
        args.uncovered.write_text("".join(json.dumps(each) + "\n" for each in rest))


if __name__ == "__main__":
    main()
