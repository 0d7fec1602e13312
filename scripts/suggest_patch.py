"""Run `kelp repair` in a GitHub workflow whose tests fail, and suggest its patch. Standard library alone.

action.yml runs it with its inputs as KELP_* variables. The patch goes to kelp.patch, as an annotation beside the line,
to the job's summary, and to one comment of the pull request, which later runs replace. The exit status is 0 whatever
comes of it: the tests have made the build red already.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MARK = "<!-- kelp -->"  # by which the comment is found again
PATCH = Path("kelp.patch")


def main() -> None:
    result = repair()
    text = report(result)
    patches = result["patches"]
    if patches:
        PATCH.write_text(patches[0]["diff"])
    print(f"::{'error' if patches else 'warning'} {annotation(result)}")
    append("GITHUB_STEP_SUMMARY", text)
    append("GITHUB_OUTPUT", f"status={result['status']}\npatch={PATCH.resolve() if patches else ''}")
    number = pull_request()
    if os.environ.get("KELP_COMMENT") == "true" and number is not None and (patches or "error" not in result):
        try:
            comment(number, text)
        except (urllib.error.URLError, OSError) as error:  # of a fork the token may only read
            print(f"::notice title=Kelp::The pull request cannot be commented on: {error}")


def repair() -> dict[str, Any]:
    """The object that `kelp repair --json` prints."""
    name = os.environ.get("KELP_PYTHON", "python")
    command = [shutil.which("kelp") or "kelp", "repair", os.environ.get("KELP_TARGET", ".")]
    command += ["--python", shutil.which(name) or name, "--max-seconds", os.environ.get("KELP_SECONDS", "60"), "--json"]
    command += shlex.split(os.environ.get("KELP_ARGUMENTS", ""))
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"status": "error", "error": f"kelp repair ended with status {done.returncode}.", "patches": []}
    return result


def report(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    if "error" in result:
        return f"{MARK}\n**Kelp** cannot repair this: {result['error']}\n"
    before = result["tests_before"]
    failing = ", ".join(f"`{name}`" for name in before["failing"][:5])
    head = f"{MARK}\n**Kelp**: {len(before['failing'])} of {before['total']} tests fail ({failing})."
    if not result["patches"]:
        return f"{head} No patch was found in {result['runs']} test runs.\n"
    best = result["patches"][0]
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", best["diff"]))])
    passed = f"With this patch {best['tests_passed']} of {best['tests_total']} pass. Read it: tests may be too weak."
    return (
        f"{head} {passed}\n\n"
        f"{fence}diff\n{best['diff']}{fence}\n\nTo apply it, save it as `kelp.patch` and run `git apply kelp.patch`.\n"
    )


def annotation(result: dict[str, Any]) -> str:
    """Properties and message of a workflow command, at the first changed line."""
    if not result["patches"]:
        return f"title=Kelp::{escaped(report(result).removeprefix(MARK))}"
    diff = result["patches"][0]["diff"]
    file, line = "", 0
    for text in diff.splitlines():
        hunk = re.match(r"@@ -(\d+)", text)
        if text.startswith("--- a/"):
            file = text[6:].partition("\t")[0]
        elif hunk is not None:
            line = int(hunk[1]) - 1
        elif text.startswith(("-", "+")) and line:
            return f"file={escaped(file, ':,')},line={line + 1},title=Kelp%3A a patch::{escaped(diff)}"
        else:
            line += 1
    return f"title=Kelp::{escaped(diff)}"


def escaped(text: str, more: str = "") -> str:
    for sign in f"%\r\n{more}":
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def append(variable: str, text: str) -> None:
    """Append to the file that a variable of the runner names, if any."""
    if path := os.environ.get(variable):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def pull_request() -> int | None:
    """Number of the pull request that started the workflow."""
    try:
        event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
        number: int = event["pull_request"]["number"]
    except (KeyError, OSError, ValueError):
        return None
    return number


def comment(number: int, text: str) -> None:
    """Replace Kelp's comment on a pull request, or add one. Raises URLError."""
    issues = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    comments = call("GET", f"{issues}/{number}/comments?per_page=100")
    ours = [each["id"] for each in comments if each["body"].startswith(MARK)]
    if ours:
        call("PATCH", f"{issues}/comments/{ours[-1]}", {"body": text})
    else:
        call("POST", f"{issues}/{number}/comments", {"body": text})


def call(method: str, url: str, body: dict[str, str] | None = None) -> Any:
    headers = {"Authorization": f"Bearer {os.environ['KELP_TOKEN']}", "Accept": "application/vnd.github+json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
