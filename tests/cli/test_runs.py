import json
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp

from kelp.cli.runs import plot


def write(run: Path, losses: list[float], cut: str = "") -> None:
    run.mkdir(parents=True)
    rows = [{"step": 10 * (i + 1), "kind": "train", "loss": v, "seconds": 60.0 * i} for i, v in enumerate(losses)]
    rows.append({"step": 10 * len(losses), "kind": "valid", "valid_loss": losses[-1], "toy_repaired": 0.25})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + cut)


def test_runs_are_listed_with_their_last_metrics(kelp_here: Kelp, tmp_path: Path) -> None:
    write(tmp_path / "runs/a", [4, 2, 1])
    write(tmp_path / "runs/b", [3, 2], cut='{"step": 30, "ki')
    (tmp_path / "runs/data").mkdir()
    ran = kelp_here("runs")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split(maxsplit=3) for line in ran.out.decode().splitlines()] == [
        ["run", "step", "minutes", "held out"],
        ["runs/a", "30", "2", "valid_loss 1, toy_repaired 0.25"],
        ["runs/b", "20", "1", "valid_loss 2, toy_repaired 0.25"],
    ]


def test_a_run_is_as_far_as_its_last_checkpoint(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "runs/chain/1/checkpoints/5").mkdir(parents=True)  # stopped before its first row
    (tmp_path / "runs/chain/1/checkpoints/6.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "runs/chain/1/metrics.jsonl").write_text("")
    write(tmp_path / "runs/a", [4])
    (tmp_path / "runs/a/checkpoints/10").mkdir(parents=True)
    lines = kelp_here("runs").out.decode().splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["runs/a", "10"], ["runs/chain/1", "5"]]


def test_two_runs_are_plotted_on_one_scale(kelp_here: Kelp, tmp_path: Path) -> None:
    write(tmp_path / "a", [4, 2, 1, 1])
    write(tmp_path / "b", [3, 2])
    ran = kelp_here("runs", "compare", "a", "b")
    assert (ran.code, ran.err) == (0, "")
    head, a, b, *rest = ran.out.decode().splitlines()
    assert head.split() == ["metric", "run", "first", "last", "step", "0", "to", "40"]
    assert a.split() == ["loss", "a", "4", "1", "█" * 8 + "▃" * 8 + "▁" * 9]
    assert b.split() == ["loss", "b", "3", "2", "▆" * 8 + "▃" * 2]
    assert [line.split()[:2] for line in rest] == [
        ["valid_loss", "a"], ["valid_loss", "b"], ["toy_repaired", "a"], ["toy_repaired", "b"],
    ]  # fmt: skip


def test_a_plot_shows_the_last_figure_up_to_each_place() -> None:
    assert plot({16: 0.0, 32: 1.0}, 32, 0.0, 1.0) == " " * 15 + "▁" * 16 + "█"
    assert plot({32: 5.0}, 32, 5.0, 5.0) == " " * 31 + "▅"
    assert plot({}, 32, 0.0, 1.0) == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("runs",), "runs holds no training run."),
        (("runs", "compare", "a", "nowhere"), "nowhere/metrics.jsonl does not exist."),
        (("runs", "compare", "a", "odd"), "odd/metrics.jsonl holds a line that is no row of metrics: '[]'."),
        (("runs", "compare", "new", "new"), "new and new hold no metrics yet."),
    ],
)
def test_each_mistake_has_its_sentence(
    kelp_here: Kelp, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    write(tmp_path / "a", [1])
    for name, text in (("odd", "[]\n"), ("new", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(text)
    ran = kelp_here(*arguments)
    assert (ran.code, ran.out, ran.sentence) == (2, b"", sentence)
