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


def test_only_the_likeliest_continuation_is_greedy(lm) -> None:
    found = lm.loglikelihood(requests(*(("ab", chr(byte)) for byte in range(128) if not chr(byte).isspace())))
    greedy = [log_prob for log_prob, same in found if same]
    assert greedy in ([], [max(log_prob for log_prob, _ in found)])


def test_text_ends_at_the_first_stop(lm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm.tokenizer, "decode", lambda tokens: b"one; two\n three")
    options = {"max_gen_toks": 4}
    texts = lm.generate_until(requests(*(("ab", options | {"until": until}) for until in (["\n", ";"], "t", []))))
    assert texts == ["one", "one; ", "one; two\n three"]
