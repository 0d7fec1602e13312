"""Where the kernel or a container refuses protections, the others hold and the sandbox says what is missing."""

import ctypes
import errno
import inspect
import json
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tests.execution.test_needs import WITHOUT_NAMESPACES

pytestmark = pytest.mark.slow

UNSHARE = {"x86_64": 272, "aarch64": 97}.get(platform.machine())
PRCTL = {"x86_64": 157, "aarch64": 167}.get(platform.machine())
LANDLOCK = 444
PR_SET_SECCOMP = 22

SCRIPT = """
import json, sys
from pathlib import Path
from kelp.execution import Limits, Sandbox, Suite, WeakSandbox
folder = Path(sys.argv[1])
(folder / "calc.py").write_text("def add(a, b):\\n    return a + b\\n")
(folder / "test_calc.py").write_text("from calc import add\\ndef test_add(tmp_path):\\n    assert add(1, 2) == 3\\n")
def said(sandbox, body):
    source = f"import os, socket\\ndef f():\\n    {body}\\n    return 1\\n"
    observation = sandbox.run(source.encode(), asserts=["f() == 1"])
    return observation.outcomes[0].exception or observation.outcomes[0].status
with Sandbox(limits=Limits(seconds=60), allow_weak=True) as sandbox:
    answers = {
        "protections": dict(sandbox.protections),
        "good": said(sandbox, "pass"),
        "fork": said(sandbox, "os.fork()"),
        "socket": said(sandbox, "socket.socket()"),
        "chmod": said(sandbox, "os.chmod('/tmp', 0o1777)"),
        "kill": said(sandbox, "os.kill(os.getppid(), 9)"),
        "exit": said(sandbox, "os._exit(0)"),
    }
    sources = {body: f"def f():\\n {body}\\n".encode() for body in json.loads(sys.argv[2])}
    needs = {body: sandbox.run(source, asserts=["f() == 1"]).outcomes[0].needs for body, source in sources.items()}
    answers["needs"] = needs
with Sandbox(limits=Limits(seconds=0.5), allow_weak=True) as sandbox:
    answers["loop"] = said(sandbox, "while True: pass")
suite = Suite(pytest_files=(folder / "test_calc.py",))
with Sandbox(suite, module=folder / "calc.py", limits=Limits(seconds=60), allow_weak=True) as s:
    answers["pytest"] = s.run((folder / "calc.py").read_bytes()).ok
try:
    Sandbox().close()
    answers["refused"] = None
except WeakSandbox as weak:
    answers["refused"] = str(weak)
print(json.dumps(answers))
"""


def refuse(*calls: int, seccomp: bool = False) -> None:
    """Have the kernel refuse these calls, and further filters where told, to this process and its children."""
    program = [(0x20, 0, 0, 0)]
    for number in calls:
        program += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | errno.EPERM)]
    if seccomp:
        program += [(0x15, 0, 3, PRCTL), (0x20, 0, 0, 16), (0x15, 0, 1, PR_SET_SECCOMP)]
        program += [(0x06, 0, 0, 0x00050000 | errno.EINVAL)]
    code = b"".join(struct.pack("=HBBI", *step) for step in [*program, (0x06, 0, 0, 0x7FFF0000)])

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))

    libc = ctypes.CDLL(None)
    libc.prctl(38, 1, 0, 0, 0)
    assert libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(Filter(len(code) // 8, code)), 0, 0) == 0


@pytest.mark.skipif(UNSHARE is None, reason="the numbers of this machine's system calls are not known here")
@pytest.mark.parametrize("missing", ["nothing", "privileges", "namespaces", "namespaces and Landlock", "everything"])
def test_what_is_left_still_holds(missing: str, tmp_path: Path) -> None:
    calls = {"nothing": [], "privileges": [], "namespaces": [UNSHARE]}.get(missing, [UNSHARE, LANDLOCK])
    script = f"""
import ctypes, errno, struct
from kelp.execution.worker.protection import drop_privileges
PRCTL, PR_SET_SECCOMP = {PRCTL}, {PR_SET_SECCOMP}
{inspect.getsource(refuse)}
if {missing != "nothing"}:
    drop_privileges()
refuse(*{calls}, seccomp={missing == "everything"})
{SCRIPT}
"""
    bodies = WITHOUT_NAMESPACES if missing == "namespaces" else {}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), json.dumps(bodies)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    active, refused = answers.pop("protections"), answers.pop("refused")
    closed = active["mounts"] == "none"  # also for root without rights, whom no user namespace can know
    assert closed or UNSHARE not in calls
    inside = "PermissionError" if closed else "pass"
    assert answers.pop("needs") == bodies
    assert answers == {
        "good": "pass",
        "fork": inside,
        "socket": inside,
        "chmod": "pass" if missing == "everything" else "PermissionError" if closed else "OSError",
        "kill": inside,
        "exit": "ProcessDied",
        "loop": "timeout",
        "pytest": True,
    }
    if UNSHARE in calls:
        assert active["network"] == "none" and active["processes"].startswith("own process group")
    if LANDLOCK in calls:
        assert active["files"] == "none"
    assert active["calls"].startswith("audit hook" if missing == "everything" else "seccomp")
    assert (refused is not None) == (LANDLOCK in calls)
    if refused is not None:
        assert refused.startswith("This machine cannot keep a program from reading and writing files anywhere")
        assert ("seccomp" in refused) == (missing == "everything")
