"""Proposals of a small model with random weights, against the same probabilities computed the plain way."""

import math
from collections.abc import Iterable
from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
import pytest
from tests.programs import PYTHON, parse

from kelp.data import toy
from kelp.diffusion.mutations import candidates, log_priors, near_misses
from kelp.encoding.condition import Condition
from kelp.encoding.encoder import Encoder, pad
from kelp.encoding.tokenizer import ImpliedSpaceTokenizer
from kelp.languages.python.lint import lint
from kelp.languages.python.names import free_names
from kelp.model import inference
from kelp.model.config import DenoiserConfig, TransformerConfig
from kelp.model.denoiser import Denoiser
from kelp.model.leaves import named_leaves
from kelp.search.baselines import NoModel
from kelp.search.model_policy import (
    BLIND_SHARE,
    KIND_WEIGHT,
    LINE_WEIGHT,
    LINT_PENALTY_NATS,
    OF_NO_KIND_NATS,
    SITE_WEIGHT,
    TEXT_WEIGHT,
    TYPICAL_TEXT_NATS,
    UNDEFINED_PENALTY_NATS,
    DecodeConfig,
    Model,
    ModelPolicy,
    evidence,
)
from kelp.search.policy import MODEL, NEAR_MISS, Bound, Proposal
from kelp.search.policy import proposals as proposed
from kelp.search.suspicion import SUSPICION_FLOOR, may_matter
from kelp.search.swaps import swaps
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import is_valid, sites

pytestmark = pytest.mark.slow

TASK = toy.TASKS[4]  # count_between
PROGRAM = parse(TASK.source.rstrip("\n").encode())
CONDITION = Condition(TASK.intent, TASK.asserts, "2/5 count_between([1, 2, 3], 0, 5) got 0 want 3")
LONG = parse(b"def f(x):\n    a = x\n    b = '" + b" ".join(b"%d" % (97 * i) for i in range(60)) + b"'\n    return a")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    texts = [text.encode() for record in toy.TRAIN for text in (record.source, record.intent, *record.asserts)]
    return Encoder(ImpliedSpaceTokenizer.train(texts, 400, PYTHON))


def make_denoiser(encoder: Encoder, seed: int) -> Denoiser:
    sizes = TransformerConfig(
        vocab_size=encoder.tokenizer.size, dim=32, layers=1, heads=4, kv_heads=2, mlp_dim=48
    )  # fmt: skip
    weights = Denoiser.init(DenoiserConfig(sizes, len(encoder.kinds), pointer_dim=16), key=jax.random.key(seed))
    return jax.tree.map(lambda w: 3 * w if w.ndim > 1 else w, weights)  # so that it is sure of something


def make_model(encoder: Encoder, seed: int, config: DecodeConfig) -> Model:
    weights = make_denoiser(encoder, seed)
    return Model(inference.Denoiser.of(weights.cfg, named_leaves(weights)), encoder, config)


@pytest.fixture(scope="module")
def policy(encoder: Encoder) -> ModelPolicy:
    config = DecodeConfig(sites=6, batch=2, beams=3, max_tokens=8)
    return ModelPolicy(make_model(encoder, 0, config))


@pytest.fixture(scope="module")
def proposals(policy: ModelPolicy) -> list[Proposal]:
    return list(proposed(policy, PROGRAM, CONDITION))


def results(program: Program, proposals: Iterable[Proposal]) -> list[bytes]:
    return [proposal.edit.apply(program.source) for proposal in proposals]


def test_proposals_are_legal_edits_each_with_a_result_of_its_own(proposals: list[Proposal]) -> None:
    assert all(is_valid(PROGRAM, proposal.edit) for proposal in proposals)
    assert len(set(results(PROGRAM, proposals))) == len(proposals)
    assert {proposal.origin for proposal in proposals} == {MODEL, NEAR_MISS}


def test_the_likeliest_come_first(proposals: list[Proposal]) -> None:
    log_probs = [proposal.log_prob for proposal in proposals]
    assert log_probs == sorted(log_probs, reverse=True)
    assert log_probs[0] < 0


@pytest.mark.parametrize("program", [PROGRAM, LONG], ids=["small", "long lines"])
def test_every_near_miss_is_among_them(policy: ModelPolicy, program: Program) -> None:
    wanted = {mutation.edit.apply(program.source) for mutation in near_misses(program)}
    assert wanted <= set(results(program, proposed(policy, program, CONDITION)))


@pytest.mark.parametrize("suspicion", [(), (0.0, 0.3, 1.0, 0.5, 0.5, 0.0)], ids=["", "suspicion"])
def test_log_probabilities_are_those_of_one_plain_pass_over_program_and_edit(
    policy: ModelPolicy, encoder: Encoder, suspicion: tuple[float, ...]
) -> None:
    proposals = list(proposed(policy, PROGRAM, replace(CONDITION, suspicion=suspicion)))
    state = encoder.state(PROGRAM, CONDITION)
    scored = [proposal for proposal in proposals if proposal.origin == NEAR_MISS and proposal.edit.text]
    rows = [state.row_of(proposal.edit) for proposal in scored]
    suffixes = [
        encoder.suffix(state, row, encoder.text_tokens(state, row, p.edit.text)) for row, p in zip(rows, scored)
    ]
    longest = max(len(tokens) for tokens, _, _ in suffixes)
    tokens, positions, targets = (pad([s[i] for s in suffixes], longest, fill) for i, fill in enumerate((0, 0, -1)))
    prefix = np.tile(np.asarray(state.tokens, np.int32), (len(scored), 1))
    sites = np.tile(np.asarray(state.rows, np.int32), (len(scored), 1, 1))
    length = prefix.shape[1]
    where, logits = eqx.filter_jit(make_denoiser(encoder, 0))(
        np.concatenate([prefix, tokens], axis=1),
        np.concatenate([np.tile(np.arange(length), (len(scored), 1)), positions], axis=1),
        np.concatenate([np.ones_like(prefix), (tokens != 0) * 2], axis=1),
        sites,
        np.tile(length + np.arange(longest), (len(scored), 1)),
    )
    each = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), np.maximum(targets, 0)[..., None], axis=-1)
    weights = np.zeros(len(state.rows))
    for row, site in enumerate(state.sites, start=1):
        spanned = PROGRAM.source[: max(site.end, site.start + 1)].count(b"\n", site.start) + (site.op == "insert")
        first = PROGRAM.source[: site.start].count(b"\n")
        spanned -= site.end > site.start and PROGRAM.source[site.end - 1 : site.end] == b"\n"
        weights[row] = np.log(max(SUSPICION_FLOOR, *suspicion[first : first + spanned + 1])) if suspicion else 0.0
    sites_alone = SITE_WEIGHT * np.asarray(where, np.float64)[0] + LINE_WEIGHT * weights
    priors = log_priors(PROGRAM, candidates(PROGRAM, may_matter(PROGRAM, suspicion)))
    known = {edit: sites_alone[state.row_of(edit)] + KIND_WEIGHT * prior for edit, prior in priors.items()}
    total = np.logaddexp.reduce([*known.values()]) + TEXT_WEIGHT * TYPICAL_TEXT_NATS - np.log(1 - BLIND_SHARE)
    texts = np.where(targets >= 0, each[..., 0], 0).sum(axis=1)
    plain = np.asarray([known[proposal.edit] for proposal in scored]) - total + TEXT_WEIGHT * texts
    shares = {edit: prior + weights[state.row_of(edit)] for edit, prior in priors.items()}
    rest = np.log(BLIND_SHARE) - np.logaddexp.reduce([*shares.values()])
    plain = np.minimum(0, np.logaddexp(plain, [shares[proposal.edit] + rest for proposal in scored]))
    odd = {p.edit: -LINT_PENALTY_NATS * (lint(p.edit.apply(PROGRAM.source)) - lint(PROGRAM.source)) for p in proposals}
    plain += [odd[proposal.edit] for proposal in scored]
    assert len(scored) > 20 and len(set(odd.values())) > 1
    np.testing.assert_allclose([proposal.log_prob for proposal in scored], plain, rtol=1e-4, atol=1e-4)

    for proposal in proposals:
        of_kind = proposal.origin == NEAR_MISS
        site = sites_alone[state.row_of(proposal.edit)] + KIND_WEIGHT * OF_NO_KIND_NATS - total
        most = np.logaddexp(known[proposal.edit] - total, shares[proposal.edit] + rest) if of_kind else site
        most = min(0.0, most)
        log_prob = proposal.log_prob - odd[proposal.edit]
        assert log_prob <= most + 1e-4
        assert proposal.edit.text or log_prob == pytest.approx(most, abs=1e-4)  # a deletion writes nothing


def test_edits_that_read_a_name_defined_nowhere_come_late_where_the_names_are_known(
    policy: ModelPolicy, proposals: list[Proposal]
) -> None:
    found = list(proposed(policy, PROGRAM, replace(CONDITION, names=frozenset({"limit"}))))
    assert [p.log_prob for p in found] == sorted((p.log_prob for p in found), reverse=True)
    plain = {p.edit.apply(PROGRAM.source): p.log_prob for p in proposals}
    assert set(plain) == set(results(PROGRAM, found))
    late = 0
    for proposal in found:
        result = proposal.edit.apply(PROGRAM.source)
        lost = plain[result] - proposal.log_prob
        undefined = not free_names(result) <= {"limit"}
        assert lost == pytest.approx(UNDEFINED_PENALTY_NATS if undefined else 0.0, abs=1e-4), result.decode()
        late += undefined
    assert 0 < late < len(found) / 2


def test_edits_that_leave_a_program_less_odd_come_earlier(policy: ModelPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    program = parse(PROGRAM.source.replace(b"    return", b"    rest = 0\n    return"))
    found = list(policy.propose(program, CONDITION))
    assert [each.log_prob for each in found] == sorted((each.log_prob for each in found), reverse=True)
    monkeypatch.setattr("kelp.search.model_policy.LINT_PENALTY_NATS", 0.0)
    plain = {p.edit: p.log_prob for p in proposed(policy, program, CONDITION)}
    changes = set()
    for proposal in found:
        if isinstance(proposal, Proposal):
            change = lint(proposal.edit.apply(program.source)) - lint(program.source)
            assert proposal.log_prob == pytest.approx(
                min(0.0, plain[proposal.edit] - LINT_PENALTY_NATS * change), abs=1e-4
            )
            changes.add(change)
    assert {-1, 0, 1} <= changes


def test_what_is_nested_too_deeply_is_not_judged_by_its_lint() -> None:
    deep = parse(b"def f(x):\n    return x" + b" + 1" * 3000)
    score, most = evidence(deep, frozenset())
    assert (score(Edit(17, 18, b"y")), most) == (0.0, 0.0)


def test_the_same_program_gets_the_same_proposals(policy: ModelPolicy, proposals: list[Proposal]) -> None:
    list(proposed(policy, LONG, CONDITION))
    assert list(proposed(policy, PROGRAM, CONDITION)) == proposals
    assert next(proposed(policy, PROGRAM, CONDITION)) == proposals[0]


def test_nothing_is_likelier_than_a_bound_before_it(policy: ModelPolicy, proposals: list[Proposal]) -> None:
    found = list(policy.propose(PROGRAM, CONDITION))
    assert [each for each in found if isinstance(each, Proposal)] == proposals
    bounds = [each.log_prob for each in found if isinstance(each, Bound)]
    assert bounds == sorted(bounds, reverse=True) and len(set(bounds)) > 3
    least = math.inf
    for each in found:
        assert each.log_prob <= least + 1e-9
        least = min(least, each.log_prob)


def test_the_pointer_is_known_before_the_first_proposal(policy: ModelPolicy) -> None:
    found = list(policy.propose(PROGRAM, CONDITION))
    [first, *others] = [each.pointer for each in found if isinstance(each, Bound) and each.pointer]
    before = next(i for i, each in enumerate(found) if isinstance(each, Proposal))
    assert not others and any(isinstance(each, Bound) and each.pointer for each in found[:before])
    places = {(site.start, site.end) for site in sites(PROGRAM)}
    assert {(start, end) for start, end, _ in first} <= places
    shares = [site.probability for site in first]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1 + 1e-6


def test_what_is_known_changes_the_order(policy: ModelPolicy, proposals: list[Proposal]) -> None:
    blind = list(proposed(policy, PROGRAM, Condition()))
    assert results(PROGRAM, blind) != results(PROGRAM, proposals)


def test_other_weights_propose_otherwise(policy: ModelPolicy, encoder: Encoder, proposals: list[Proposal]) -> None:
    other = ModelPolicy(make_model(encoder, 1, policy.config))
    assert list(proposed(other, PROGRAM, CONDITION)) != proposals


def test_without_a_model_the_near_misses_are_proposed_and_nothing_else() -> None:
    found = list(proposed(NoModel(seed=3), PROGRAM, CONDITION))
    near = {mutation.edit.apply(PROGRAM.source) for mutation in near_misses(PROGRAM)}
    assert len(found) == len(near)
    assert set(results(PROGRAM, found)) == near
    assert len({proposal.log_prob for proposal in found}) == 1
    assert results(PROGRAM, found) != results(PROGRAM, proposed(NoModel(seed=4), PROGRAM, CONDITION))


def test_without_a_model_suspicious_lines_can_come_first() -> None:
    condition = replace(CONDITION, suspicion=(0.0, 0.0, 0.0, 1.0, 0.0, 0.0))
    by_line = [list(proposed(NoModel(seed, "spectrum"), PROGRAM, condition)) for seed in (3, 3, 4)]
    assert by_line[0] == by_line[1] != by_line[2]
    assert set(results(PROGRAM, by_line[0])) == set(results(PROGRAM, proposed(NoModel(), PROGRAM, CONDITION)))
    start = PROGRAM.source.index(b"        if x > low")
    line = range(start, PROGRAM.source.index(b"\n", start) + 1)
    first, last = by_line[0][:10], by_line[0][-10:]
    assert sum(p.edit.start in line for p in first) > 7 > 3 > sum(p.edit.start in line for p in last)


def test_without_a_model_operators_and_constants_can_come_first() -> None:
    condition = replace(CONDITION, suspicion=(0.0, 0.3, 0.5, 0.5, 0.0, 1.0))
    found = list(proposed(NoModel(3, "swaps"), PROGRAM, condition))
    assert set(results(PROGRAM, found)) == set(results(PROGRAM, proposed(NoModel(), PROGRAM, CONDITION)))
    changed = [(PROGRAM.source[p.edit.start : p.edit.end], p.edit.text) for p in found]
    at = [PROGRAM.source[: p.edit.start].count(b"\n") for p in found]
    assert sorted(changed[:2]) == [(b"<", b"<="), (b">", b">=")]
    likely = [edit for edit in swaps(PROGRAM, condition.suspicion) if is_valid(PROGRAM, edit)]
    assert {p.edit for p in found[: len(likely)]} == set(likely) and 5 < len(likely) < len(found) / 2
    assert {1, 3} <= {*at[: len(likely)]} <= {1, 2, 3, 5}  # what no failing test executes comes later
    assert set(likely) < set(swaps(PROGRAM, ()))


def test_without_a_model_frequent_mistakes_can_come_first() -> None:
    found = list(proposed(NoModel(3, "frequency"), PROGRAM, CONDITION))
    assert set(results(PROGRAM, found)) > set(results(PROGRAM, proposed(NoModel(), PROGRAM, CONDITION)))
    priors = log_priors(PROGRAM, candidates(PROGRAM))
    often = [priors[proposal.edit] for proposal in found]
    assert often == sorted(often, reverse=True) and often[0] > often[-1]
    assert [proposal.log_prob for proposal in found] == pytest.approx(often)
    assert found != list(proposed(NoModel(4, "frequency"), PROGRAM, CONDITION))


@pytest.mark.parametrize("name", ["sites", "batch", "beams", "max_tokens"])
def test_decoding_needs_at_least_one_of_everything(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        DecodeConfig(**{name: 0})
