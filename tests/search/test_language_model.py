"""Order of edits by a language model, against log-likelihoods of whole programs computed the plain way."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.programs import parse
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from kelp.data import toy
from kelp.encoding.condition import Condition
from kelp.model import inference, masks
from kelp.model.config import TransformerConfig
from kelp.model.leaves import named_leaves
from kelp.model.transformer import Transformer
from kelp.search import language_model
from kelp.search.baselines import NoModel
from kelp.search.language_model import LanguageModel, Reordered, comments
from kelp.search.policy import Bound, Proposal, proposals

pytestmark = pytest.mark.slow

PROGRAM = b"def total(values):\n    found = 0\n    for each in values:\n        found -= each\n    return found"
CONDITION = Condition("Add all values.", ("total([1, 2]) == 3",))


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<end>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([record.source for record in toy.TRAIN], trainer)
    sizes = TransformerConfig(
        vocab_size=tokenizer.get_vocab_size(), dim=32, layers=2, heads=4, kv_heads=2, mlp_dim=48, tie_embeddings=False
    )
    sure = named_leaves(make_weights(sizes))
    return LanguageModel(inference.Transformer.of(sizes, sure), tokenizer, tokenizer.token_to_id("<end>"))


def make_weights(sizes: TransformerConfig) -> Transformer:
    weights = Transformer.init(sizes, key=jax.random.key(0))
    return jax.tree.map(lambda w: 3 * w if w.ndim > 1 else w, weights)  # so that tokens differ in probability


def log_likelihood(model: LanguageModel, before: str, program: str) -> float:
    """Log-probability of a program after a text, token by token, in JAX and without a cache."""
    transformer = make_weights(model.transformer.cfg)
    head = [model.end, *model.encode(before)]
    tokens = jnp.asarray([head + model.encode(program)])
    hidden = transformer(tokens, jnp.arange(tokens.shape[1])[None], masks.causal(jnp.ones_like(tokens, bool)))
    log_probs = jax.nn.log_softmax(transformer.logits(hidden)[0])
    own = jnp.take_along_axis(log_probs[:-1], tokens[0, 1:, None], axis=1)[:, 0]
    return float(own[len(head) - 1 :].sum())


EDITED = [
    PROGRAM.replace(b"-=", b"+="),
    PROGRAM.replace(b"found = 0", b"found = 1"),
    PROGRAM.replace(b"return found", b"return max(found, 0)"),
    PROGRAM.replace(b"    found = 0\n", b""),
    PROGRAM.replace(b"return found", b"return"),
    PROGRAM,
]


def test_changes_are_those_of_the_whole_programs_where_the_window_reaches_their_ends(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_model, "WINDOW", 1000)
    monkeypatch.setattr(language_model, "LONGEST", 1000)
    monkeypatch.setattr(language_model, "TOKEN_NATS", 0.0)
    before = comments(CONDITION)
    reading = model.read(before, PROGRAM.decode())
    found = model.changes(reading, [each.decode() for each in EDITED])
    was = log_likelihood(model, before, PROGRAM.decode())
    expected = [log_likelihood(model, before, each.decode()) - was for each in EDITED]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.ptp(expected) > 1


def test_a_window_counts_the_changed_tokens_and_those_after_them_alone(model: LanguageModel) -> None:
    """Tokens after the window change nothing: the same program with another end."""
    longer = PROGRAM + b"\n\n\n# " + b"and so on " * 20
    changes = []
    for source in (PROGRAM, longer):
        reading = model.read("", source.decode())
        changes.append(model.changes(reading, [source.replace(b"found = 0", b"found = 1").decode()]))
    np.testing.assert_allclose(*changes, atol=1e-3)


def test_a_change_does_not_depend_on_the_others_that_are_scored_with_it(model: LanguageModel) -> None:
    reading = model.read("", PROGRAM.decode())
    many = [each.decode() for each in EDITED] * 9  # more than fit into one tree
    together = model.changes(reading, many)
    alone = [model.changes(reading, [each.decode()])[0] for each in EDITED]
    np.testing.assert_allclose(together, alone * 9, atol=1e-3)


def test_intent_and_tests_stand_before_the_program_as_comments() -> None:
    assert comments(CONDITION) == "# Add all values.\n# total([1, 2]) == 3\n"
    assert comments(Condition("One\n\ntwo")) == "# One\n# two\n"
    assert comments(Condition()) == ""


def test_longer_programs_are_not_at_a_disadvantage_for_their_length_alone(model: LanguageModel) -> None:
    reading = model.read("", PROGRAM.decode())
    longer = PROGRAM.decode().replace("found = 0", "found = 0 + 0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language_model, "TOKEN_NATS", 0.0)
        [bare] = model.changes(reading, [longer])
    [found] = model.changes(reading, [longer])
    more = len(model.encode(longer)) - len(model.encode(PROGRAM.decode()))
    assert more > 0 and math.isclose(found - bare, language_model.TOKEN_NATS * more, abs_tol=1e-4)


def test_each_proposal_of_the_policy_comes_once_in_the_order_of_both_scores(model: LanguageModel) -> None:
    program = parse(PROGRAM)
    given = {p.edit: p.log_prob for p in proposals(NoModel(0, "frequency"), program, CONDITION)}
    found = list(proposals(Reordered(NoModel(0, "frequency"), model, len(given)), program, CONDITION))
    assert {p.edit for p in found} == given.keys() and len(found) == len(given) > 100
    assert [p.log_prob for p in found] == sorted((p.log_prob for p in found), reverse=True)
    reading = model.read(comments(CONDITION), PROGRAM.decode())
    most = min(0.0, max(given.values()) + language_model.HEADROOM_NATS)
    for proposal in found[:: len(found) // 7]:
        [change] = model.changes(reading, [proposal.edit.apply(PROGRAM).decode()])
        expected = min(most, given[proposal.edit] + language_model.WEIGHT * change)
        assert math.isclose(proposal.log_prob, expected, abs_tol=1e-3)


def test_groups_lose_no_proposal(model: LanguageModel) -> None:
    given = [p.edit for p in proposals(NoModel(0, "frequency"), parse(PROGRAM), CONDITION)]
    found = [p.edit for p in proposals(Reordered(NoModel(0, "frequency"), model, 48), parse(PROGRAM), CONDITION)]
    assert len(given) > 2 * 48 and sorted(map(repr, found)) == sorted(map(repr, given)) and found != given


def test_no_proposal_is_likelier_than_a_bound_before_it(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "GROUP", 48)
    most, bounds = 0.0, 0
    for each in Reordered(NoModel(0, "frequency"), model).propose(parse(PROGRAM), CONDITION):
        if isinstance(each, Bound):
            bounds += 1
        assert isinstance(each, Bound | Proposal) and each.log_prob <= most
        most = each.log_prob
    assert bounds > 2


def test_the_model_is_not_asked_for_more_groups_than_are_used(model: LanguageModel) -> None:
    asked: list[int] = []

    class Counting(LanguageModel):
        def changes(self, reading, programs):
            asked.append(len(programs))
            return super().changes(reading, programs)

    counting = Counting(model.transformer, model.tokenizer, model.end)
    next(proposals(Reordered(NoModel(0, "frequency"), counting), parse(PROGRAM), CONDITION))
    assert asked == [language_model.GROUP]
