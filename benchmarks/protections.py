"""Protections of the sandbox, taken out one by one: hostile programs that get away with more without each.

    python benchmarks/protections.py [NAME ...]

Each protection is taken out of a copy of the worker in turn, and the programs of tests/execution/hostile.py that try
for an effect run in what is left, and programs that use more than a limit allows.  Prints, for each protection, the
programs that succeed and do not with all of them.  Programs without bounds of their own are left out.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.execution import hostile  # noqa: E402

# ruff: noqa: E501
_COUNT = ("server.py", "Meter(limits)", "None")
_PID_MAX = ("protection.py", '        Path("/proc/sys/kernel/pid_max").write_text', "        str")
WITHOUT = {  # by name: files of the worker, with a text in each, and what stands there instead
    "nothing taken out": [],
    "seccomp": [("seccomp.py", "    code = program(open=open)\n", "    return True\n")],
    "Landlock": [("protection.py", "    return _syscall(RESTRICT_SELF, ruleset, 0) == 0\n", "    return True\n")],
    "capabilities dropped": [("protection.py", "    return _libc.capset(header, bytes(24)) == 0\n", "    return True\n")],
    "own root": [("protection.py", '    unmount(".")  # the old root, which lies over the new one\n', '    os.chroot(".")\n')],
    "a fresh disk": [("view.py", "        send(self.connection, {} if files is None else files)\n", "        return []\n")],
    "killing all": [("server.py", "                kill(target, signal.SIGKILL)\n", "                kill(child, signal.SIGKILL)\n")],
    "rlimits": [("protection.py", "        resource.setrlimit(kind, (soft, hard))\n", "        pass\n")],
    "the count of processes and memory": [_COUNT],
    "pid_max": [_PID_MAX],
    "pid_max and the count": [_PID_MAX, _COUNT],
    "the size of the disk": [("view.py", "size={self.disk_mb}m,", "")],
    "network namespace": [("protection.py", "    if not unshare(CLONE_NEWNET):\n        return False\n", "    return True\n")],
    "IPC namespace": [("protection.py", "unshare(CLONE_NEWIPC) and own_network()", "own_network()")],
    "all namespaces": [("protection.py", "    if not unshare(CLONE_NEWPID | CLONE_NEWNS) and", "    if True or")],
}  # fmt: skip
_FORKS = """
import os, time
def f():
    ready, done = os.pipe()
    for _ in range({0}):
        if os.fork() == 0:
            data = {1}
            os.write(done, b'x')
            time.sleep(99)
    for _ in range({0}):
        os.read(ready, 1)
    time.sleep(1)
    return 1
"""
LIMITED = {
    "400 MB of one process": "def f():\n    data = bytearray(400 << 20)\n    return 1\n",
    "600 MB of four processes": _FORKS.format(4, "b'x' * (150 << 20)"),
    "300 processes": _FORKS.format(300, None),
    "700 processes": _FORKS.format(700, None),
    "a file of 100 MB": "def f():\n    return open('x', 'wb').write(bytes(100 << 20)) // (100 << 20)\n",
    "320 MB in 32 files": "def f():\n    for n in range(32):\n        open(str(n), 'wb', 0).write(bytes(10 << 20))\n    return 1\n",
    "a thousand descriptors": "import os\ndef f():\n    return len([os.dup(0) for _ in range(1000)]) // 1000\n",
}
HEAVY = ("bomb", "memory of", "flood", "growing", "terabyte", "recursion", "gigabytes", "anonymous", "file of many")
RUN = """
import json, sys
from kelp.execution import Limits, Sandbox
with Sandbox(limits=Limits(seconds=30, memory_mb=256), allow_weak=True) as sandbox:
    for name, source in json.load(sys.stdin).items():
        observation = sandbox.run(source.encode(), asserts=["f() == 1"], seconds=20 if "fork() ==" in source else 2)
        print(json.dumps([name, observation.ok]), flush=True)
"""


def succeed(package: Path, folder: Path, port: int) -> set[str]:
    """Names of the programs that succeed with this copy of Kelp."""
    places = {"CANARY": str(folder), "PORT": str(port), "PARENT": str(os.getpid())}
    programs = {}
    for name, source in hostile.EFFECT.items():
        if not any(word in name for word in HEAVY):
            for word, value in places.items():
                source = source.replace(word, value)
            programs[name] = source
    programs |= LIMITED
    environment = os.environ | {"PYTHONPATH": str(package)}
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(programs), capture_output=True, text=True, env=environment
    )
    if done.returncode != 0:
        print(done.stderr[-500:])
    return {name for name, ok in map(json.loads, done.stdout.splitlines()) if ok}


def main() -> None:
    usual: set[str] = set()
    for protection, edits in WITHOUT.items():
        if usual and sys.argv[1:] and protection not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as copy, tempfile.TemporaryDirectory() as canary:
            shutil.copytree(ROOT / "src/kelp", Path(copy) / "kelp", ignore=shutil.ignore_patterns("models", "web"))
            for file, old, new in edits:
                path = Path(copy) / "kelp/execution/worker" / file
                text = path.read_text()
                assert old in text, (file, old)
                path.write_text(text.replace(old, new, 1))
            (Path(canary) / "kept").write_text("kept")
            with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
                local.bind(f"{canary}/socket")
                local.listen()
                found = succeed(Path(copy), Path(canary), server.getsockname()[1])
        if not usual:
            usual = found
        print(f"{protection}: {len(found - usual)} more: {', '.join(sorted(found - usual))}", flush=True)


if __name__ == "__main__":
    main()
