"""scripts/suggest_patch.py, as action.yml runs it: a real repair, the runner's files, and an API such as GitHub's."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHAPES = "def area(width, height):\n    '''Area, ```of a rectangle.'''\n    return width + height\n"


class GitHub:
    """Comments of one pull request, and the requests that changed them; `refuses` answers with status 403."""

    def __init__(self) -> None:
        self.comments: list[dict[str, object]] = [{"id": 5, "body": "Nice."}]
        self.seen: list[tuple[str, str, str | None]] = []
        self.refuses = False
        github = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
                github.seen.append((self.command, self.path, self.headers["Authorization"]))
                if self.command == "POST":
                    github.comments.append({"id": 6, "body": body["body"]})
                elif self.command == "PATCH":
                    github.comments[-1]["body"] = body["body"]
                self.send_response(403 if github.refuses else 200)
                self.end_headers()
                self.wfile.write(json.dumps(github.comments if self.command == "GET" else {}).encode())

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def github():
    github = GitHub()
    yield github
    github.server.shutdown()


@pytest.fixture
def run(tmp_path, github):
    """Runs the script in a project with one fault; returns its output. Extra keywords are variables."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project/shapes.py").write_text(SHAPES)
    (tmp_path / "project/test_shapes.py").write_text(
        "from shapes import area\n\n\ndef test_area():\n    assert area(3, 5) == 15\n"
    )
    (tmp_path / "event.json").write_text(json.dumps({"pull_request": {"number": 7}}))

    def run(**variables: str) -> str:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_API_URL": f"http://127.0.0.1:{github.server.server_port}",
            "GITHUB_REPOSITORY": "us/shapes",
            "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "KELP_TARGET": "shapes.py",
            "KELP_PYTHON": sys.executable,
            "KELP_ARGUMENTS": "--model none --patches 1",
            "KELP_COMMENT": "true",
            "KELP_TOKEN": "secret",
        }  # fmt: skip
        command = [sys.executable, str(ROOT / "scripts/suggest_patch.py")]
        done = subprocess.run(
            command, cwd=tmp_path / "project", env=environment | variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_patch_is_annotated_summarized_and_commented_once(run, github, tmp_path):
    output = run()
    assert output.startswith("::error file=shapes.py,line=3,title=Kelp%3A a patch::--- a/shapes.py%0A")
    assert "status=repaired\npatch=" in (tmp_path / "output").read_text()
    patch = (tmp_path / "project/kelp.patch").read_text()
    assert "+    return width * height\n" in patch
    assert (tmp_path / "project/shapes.py").read_text() == SHAPES
    [nice, ours] = github.comments
    assert nice["body"] == "Nice." and "1 of 1 tests fail" in ours["body"]
    assert f"\n````diff\n{patch}````\n" in ours["body"] and ours["body"] in (tmp_path / "summary").read_text()
    run()
    assert len(github.comments) == 2 and [seen[0] for seen in github.seen] == ["GET", "POST", "GET", "PATCH"]
    assert github.seen[0][1:] == ("/repos/us/shapes/issues/7/comments?per_page=100", "Bearer secret")


@pytest.mark.slow
def test_a_token_that_may_only_read_leaves_the_summary(run, github, tmp_path):
    github.refuses = True
    assert "::notice title=Kelp::The pull request cannot be commented on: HTTP Error 403" in run()
    assert "With this patch 1 of 1 pass" in (tmp_path / "summary").read_text()


@pytest.mark.slow
def test_without_a_pull_request_or_a_patch_no_comment_is_made(run, github, tmp_path):
    (tmp_path / "event.json").write_text("{}")
    assert "::warning title=Kelp::" in run(KELP_ARGUMENTS="--model none --max-runs 1")
    assert "status=not repaired\npatch=\n" in (tmp_path / "output").read_text()
    assert "cannot repair this: nowhere.py does not exist." in run(KELP_TARGET="nowhere.py")
    assert github.seen == []


def test_every_input_of_the_action_reaches_the_script():
    action = (ROOT / "action.yml").read_text()
    script = (ROOT / "scripts/suggest_patch.py").read_text()
    inputs = re.findall(r"(?m)^  (\w+):$", action.split("outputs:")[0])
    assert inputs == ["target", "python", "seconds", "arguments", "comment", "token"]
    for name in inputs:
        assert (
            f"KELP_{name.upper()}: ${{{{ inputs.{name} }}}}" in action
            and f'"KELP_{name.upper()}"' in script.replace("'", '"')
        )
