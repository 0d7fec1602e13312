"""How far the aims are: correct repairs by test runs and by seconds of training, and what it would take to go on so.

    python benchmarks/curves.py runs "one near miss=runs/mbpp" "two=runs/mbpp-2" --out docs/runs.svg
    python benchmarks/curves.py training 2965:337/499 4029:353/499 --aim 0.9

The first draws folders of `kelp eval --out`. The second fits error = a * seconds ** -b to shares of correct repairs, as
losses are fitted (Kaplan et al. 2020, arXiv 2001.08361), and says when it would be at the aim; intervals are 95 %, with
the shares drawn again 2,000 times from their binomials.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from kelp.evaluation.metrics import solved_versus_runs


def runs(folders: list[tuple[str, Path]], out: Path) -> None:
    from matplotlib import rcParams
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    rcParams |= {"svg.hashsalt": "kelp", "svg.fonttype": "none"}  # the same small file from the same figures
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, (name, folder) in enumerate(folders):
        arms: dict[str, list[int | None]] = {}
        for line in (folder / "results.jsonl").read_text().splitlines():
            row = json.loads(line)
            at = row["first_repair"] if row["repaired"] and row["first_correct"] else None
            arms.setdefault(row["by"], []).append(at)
        most = json.loads((folder / "settings.json").read_text())["budget"]["runs"]
        for arm, style in ((next(iter(arms)), "-"), ("none-random", ":")):
            curve = solved_versus_runs(arms[arm], most)
            label = f"{name} (n={len(arms[arm])})" if style == "-" else None
            axes.plot(list(curve), [100 * share for share in curve.values()], style, color=f"C{number}", label=label)
    axes.set(xscale="log", xlabel="test runs (dotted: near misses in random order)", ylabel="first patch correct")
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, fontsize="small", loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


def training(points: list[tuple[float, int, int]], aim: float) -> str:
    """The fit, and the seconds at which it would be at the aim."""
    seconds, correct, n = (np.asarray(column, float) for column in zip(*points))
    drawn = np.random.default_rng(0).binomial(n.astype(int), correct / n, size=(2_000, len(n)))
    shares = np.concatenate([(correct / n)[None], drawn / n])
    slope, offset = np.polyfit(np.log(seconds), np.log(1 - shares).T, 1)
    reached = np.exp((np.log(1 - aim) - offset) / slope)
    low, high = np.percentile(reached[1:], [2.5, 97.5])
    return (
        f"error = {np.exp(offset[0]):.3g} * seconds ** {slope[0]:.3f} "
        f"[{np.percentile(slope[1:], 2.5):.3f}, {np.percentile(slope[1:], 97.5):.3f}]\n"
        f"{aim:.0%} correct after {reached[0] / 3600:.0f} hours [{low / 3600:.0f}, {high / 3600:.0f}]"
    )


def _point(text: str) -> tuple[float, int, int]:
    seconds, _, share = text.partition(":")
    correct, _, n = share.partition("/")
    return float(seconds), int(correct), int(n)


def _folder(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    return name, Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_runs = commands.add_parser("runs")
    of_runs.add_argument("folders", nargs="+", type=_folder, metavar="NAME=FOLDER")
    of_runs.add_argument("--out", type=Path, required=True)
    of_training = commands.add_parser("training")
    of_training.add_argument("points", nargs="+", type=_point, metavar="SECONDS:CORRECT/N")
    of_training.add_argument("--aim", type=float, required=True)
    given = parser.parse_args()
    if given.command == "runs":
        runs(given.folders, given.out)
    else:
        print(training(given.points, given.aim))


if __name__ == "__main__":
    main()
