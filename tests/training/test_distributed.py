"""Several processes that train together: two of four devices each against one of eight, and others that go on."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.s3 import Server, serving
from tests.training.fake import TIMES, rows
from tests.training.together import BACK

from kelp.training.checkpoint import saved_steps
from kelp.training.distributed import PORT, Place, find_place
from kelp.training.objective import TrainingError
from kelp.training.part import Part

pytestmark = pytest.mark.slow

CUT, BUCKET = "bytes,8,1,1,12", "bytes,1,8,1,6"  # a run that is killed, and one in a bucket
MESHES = ["lm,1,2,4,6", "edit,2,2,2,6"]
CLOCKS = (*TIMES, "tokens_per_second")
Started = list[subprocess.Popen[str]]


def start(
    out: Path, processes: int, devices: int, *names: str, die: tuple[int, int] | None = None,
    server: Server | None = None,
) -> Started:  # fmt: skip
    """Processes that train together here, each with so many devices; one, `die`, kills itself at a step of `cut`.

    Each has its own copies of what is in the bucket, as if it were on a machine of its own. One process by itself, too,
    takes the collectives of several (Gloo): XLA's own sum in another order.
    """
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        place = f"localhost:{listener.getsockname()[1]}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "tests.training.together", str(out), place]
    # Gloo waits 30 seconds at most for a process that still compiles, so all of them compile alike.
    cache = {"JAX_ENABLE_COMPILATION_CACHE": str(processes == 1)} | (server.environment if server else {})

    def popen(process: int) -> subprocess.Popen[str]:
        dies = str(die[1]) if die and die[0] == process else "never"
        own = {"XLA_FLAGS": flags, "XDG_CACHE_HOME": str(out / f"copies {process}")}
        return subprocess.Popen(
            [*command, str(process), str(processes), dies, *names],
            env=os.environ | cache | own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return [popen(process) for process in range(processes)]


def finish(*started: Started) -> None:
    for process in (each for processes in started for each in processes):
        _, err = process.communicate()
        assert process.returncode == 0, err


def logged(out: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows(out)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        server.empty()
        yield server


@pytest.fixture(scope="module")
def pair(tmp_path_factory, server) -> tuple[Path, list[tuple[int, str]]]:
    """Every run by two processes of four devices each, and then one, `cut`, in which the second process kills itself.

    The folder of the runs, and the exit status and the messages of each process.
    """
    out = tmp_path_factory.mktemp("runs") / "2x4"
    names = [*MESHES, f"{BUCKET},bucket", f"{BUCKET},back", f"{CUT},cut"]
    started = start(out, 2, 4, *names, die=(1, 11), server=server)
    ended = [(process, process.communicate()[1]) for process in started]
    return out, [(process.returncode, err) for process, err in ended]


@pytest.fixture(scope="module")
def single(pair, server, tmp_path_factory) -> Path:
    """Every run by one process of eight devices, of which the last two go on with those of two processes."""
    out = tmp_path_factory.mktemp("runs") / "1x8"
    shutil.copytree(pair[0] / "bytes-8-1-1-12-cut", out / "bytes-8-1-1-12-cut")
    finish(start(out, 1, 8, *MESHES, CUT, BUCKET, f"{CUT},cut", f"{BUCKET},back", server=server))
    return out


@pytest.mark.parametrize("name", MESHES)
def test_two_processes_give_the_figures_of_one_with_as_many_devices_bit_for_bit(pair, single, name):
    two, one = (logged(folder / name.replace(",", "-")) for folder in (pair[0], single))
    kinds = {"train", "valid", *(["sample"] if name.startswith("lm") else [])}
    assert two == one and kinds <= {row["kind"] for row in two}
    assert len(two) == len({(row["step"], row["kind"], row.get("prompt")) for row in two})  # one process writes


def test_a_run_in_a_bucket_is_written_by_one_process_and_goes_on_elsewhere(pair, single):
    """Two processes, each with its own copy, train and go back to a checkpoint; then a third machine does."""
    whole = logged(single / "bytes-1-8-1-6")
    for copies in (pair[0] / "copies 0", single / "copies 0"):
        run = copies / "kelp/buckets/s3/runs/bytes,1,8,1,6"
        assert logged(run) == whole and saved_steps(run / "checkpoints") == [BACK, 6]
    other = pair[0] / "copies 1/kelp/buckets/s3/runs/bytes,1,8,1,6"
    assert not [path for path in other.rglob("*") if ".orbax" in path.name]


def test_a_process_that_dies_ends_the_others_with_a_sentence(pair):
    [(status, err), (killed, _)] = pair[1]
    assert killed == -signal.SIGKILL and status == 1, err
    assert "The run has ended, since process 1 is gone: start all processes again with --resume.\n" in err
    assert "Traceback" not in err


def test_a_run_that_was_cut_short_goes_on_with_any_number_of_processes_and_devices(pair, single, tmp_path):
    whole = logged(single / "bytes-8-1-1-12")
    assert logged(single / "bytes-8-1-1-12-cut") == whole
    before = logged(pair[0] / "bytes-8-1-1-12-cut")
    assert before == whole[: len(before)] and 0 < len(before) < len(whole)
    meshes = {2: "bytes,2,1,1,12", 1: "bytes,1,1,1,12"}
    for devices, name in meshes.items():
        shutil.copytree(pair[0] / "bytes-8-1-1-12-cut", tmp_path / str(devices) / name.replace(",", "-"))
    finish(*(start(tmp_path / str(devices), 1, devices, name) for devices, name in meshes.items()))
    for devices, name in meshes.items():
        resumed = logged(tmp_path / str(devices) / name.replace(",", "-"))
        assert len(resumed) == len(whole)  # on fewer devices sums have another order
        for ours, theirs in zip(resumed, whole):
            assert ours.pop("kind") == theirs["kind"]
            assert ours == pytest.approx({key: theirs[key] for key in ours}, rel=2e-3, abs=1e-4)


def test_a_part_of_a_batch_is_some_of_its_blocks_with_empty_rows_at_the_end():
    assert Part().rows(5) == [0, 1, 2, 3, 4]
    assert Part((0, 1), 4).rows(7) == [0, 1, 2, 3] and Part((2, 3), 4).rows(7) == [4, 5, 6, 7]
    assert Part((3,), 8).rows(2) == [3]  # empty


def test_the_place_among_others_comes_from_the_cluster():
    assert find_place({}) is None and find_place({"SLURM_NTASKS": "1"}) is None
    slurm = {"SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_STEP_NODELIST": "node[1-4]"}
    assert find_place(slurm) == Place() == find_place({"TPU_WORKER_HOSTNAMES": "a,b"})
    sky = {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1", "SKYPILOT_NODE_IPS": "10.0.0.5\n10.0.0.6"}
    assert find_place(sky) == Place(f"10.0.0.5:{PORT}", 1, 2)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (("localhost:1", None, None), "go together: give all three, or none"),
        (("localhost", 0, 1), "--coordinator localhost is no HOST:PORT"),
        (("localhost:1", 2, 2), "--process-id 2 is none of the 2 processes"),
    ],
)
def test_options_that_say_no_place_are_one_sentence(place, sentence):
    with pytest.raises(TrainingError, match=sentence):
        Place(*place)
