"""The adapter of lm-evaluation-harness on a random model of bytes, where `lm_eval` is installed."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cli.test_lm_generate import folder  # noqa: F401  a fixture

harness = pytest.importorskip("kelp.lm.harness", reason="needs the extra lm-eval", exc_type=ImportError)
pytestmark = pytest.mark.slow


def requests(*arguments: tuple) -> list[SimpleNamespace]:
    return [SimpleNamespace(args=each) for each in arguments]


@pytest.fixture
def lm(folder: Path):  # noqa: F811
    return harness.KelpLM(str(folder), block=1)


def test_continuations_and_texts_are_of_one_probability(lm) -> None:
    [(whole, _), (part, _)] = lm.loglikelihood(requests(("", "abc"), ("a", "bc")))
    [(first, _)] = lm.loglikelihood(requests(("", "a")))
    [rolling] = lm.loglikelihood_rolling(requests(("abc",)))
    assert whole == pytest.approx(rolling, abs=1e-5) == pytest.approx(first + part, abs=1e-5)


def test_greedy_text_is_found_greedy_and_ends_at_a_stop(lm) -> None:
    [text] = lm.generate_until(requests(("ab", {"max_gen_toks": 4, "until": []})))
    assert 1 <= len(text) <= 4
    [(_, greedy), (_, other)] = lm.loglikelihood(requests(("ab", text[:1]), ("ab", "a" if text[0] != "a" else "b")))
    assert greedy and not other
    [stopped] = lm.generate_until(requests(("ab", {"max_gen_toks": 4, "until": text[0]})))
    assert stopped == ""
