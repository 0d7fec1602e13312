"""`kelp lm bench` on a random model of bytes, and on a recipe."""

from pathlib import Path

import pytest
from tests.cli.conftest import Kelp
from tests.cli.test_lm_generate import folder  # noqa: F401  a fixture
from tests.lm.fake import RUN

pytestmark = pytest.mark.slow


def test_a_model_is_timed(kelp_here: Kelp, folder: Path) -> None:  # noqa: F811
    ran = kelp_here("lm", "bench", folder, "--rows", 1, "--write", 8, "--repeats", 2, "--length", 16, "--json")
    assert ran.code == 0, ran.err
    training, decoding = ran.json["training"], ran.json["decoding"]
    for times in (training["forward"], training["optimizer"], decoding["one_row"], ran.json["tokenizer"]):
        assert 0 < times["low"] <= times["median"] <= times["high"]
    assert 0.4 <= training["mask_ratio"] <= 0.6  # complementary pairs
    assert decoding["all_rows"]["rows"] == 1 and decoding["one_row"]["passes"] >= 2
    assert ran.json["tokenizer"]["bytes_per_token"] == pytest.approx(1, abs=0.01)


def test_a_recipe_needs_no_tokenizer(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RUN)
    ran = kelp_here("lm", "bench", "tiny.toml", "--rows", 1, "--write", 4, "--repeats", 1, "--accept", "threshold")
    assert ran.code == 0, ran.err
    assert "tokens/s a step" in ran.out.decode() and "tokenizer" not in ran.out.decode()
    ran = kelp_here("lm", "bench", "tiny.toml", "--length", 32)
    assert (ran.code, ran.sentence) == (2, "--length 32 and --write 64 do not fit a context of 16 tokens.")
