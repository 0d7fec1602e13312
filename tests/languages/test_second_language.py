"""A second language, JSON, goes through every generic room: sites, mutations, diff, encoding and the closed loop."""

import ast
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from benchmarks.closed_loop import Loop, Score, broken, check_sites, unrelated
from tests.encoding.hugging_face import byte_level
from tests.languages.json_language import JSON
from tests.programs import PYTHON

import kelp
from kelp.diffusion.bank import Bank
from kelp.diffusion.mutations import KINDS, near_misses
from kelp.diffusion.rewriting.apply import rewrites
from kelp.encoding.encoder import Encoder
from kelp.encoding.tokenizer import ImpliedSpaceTokenizer, LexicalTokenizer, Tokenizer
from kelp.encoding.vocabulary import site_kinds
from kelp.languages.registry import by_name, by_suffix
from kelp.syntax.functions import functions
from kelp.syntax.program import NearMiss, parse, parses
from kelp.syntax.sites import is_valid, sites

DOCUMENTS = [
    b'{"name": "kelp", "tags": ["a", "b", "c"], "size": 3, "deep": {"x": [1, 2, [true, null]], "y": -4}}',
    b'[{"id": 1, "ok": true}, {"id": 2, "ok": false}, {"id": 3, "ok": null, "note": "third"}]',
    b'{\n  "lines": [\n    1,  // one\n    2\n  ],\n  // alone\n  "empty": {},\n  "none": [],\n  "text": "\\"b\\""\n}',
    b"[[1, 2, 3], [4, 5, 6], [7, 8, 9]]",
    b'{"a":{"b":{"c":[0,10,20]}},"d":"e"}',
]
GENERIC = ["syntax", "diffusion", "encoding", "model", "training", "search", "repair", "execution"]
OF_PYTHON = ["diffusion/rewriting", "search/synthesis"]  # rewriting, and synthesis from values: Python's alone today


@pytest.fixture(scope="module", params=["ours", "lexical"])
def loop(request: pytest.FixtureRequest) -> Loop:
    ours = request.param == "ours"
    tokenizer: Tokenizer = (
        ImpliedSpaceTokenizer.train(DOCUMENTS * 2, 400, JSON) if ours else LexicalTokenizer(byte_level(DOCUMENTS), JSON)
    )
    return Loop(Encoder(tokenizer))


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank.build(parse(document, JSON) for document in DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_sites_are_unique_at_pieces_outside_strings_and_can_be_deleted(document: bytes) -> None:
    score = Score()
    check_sites(parse(document, JSON), score)
    assert not score.failures, score.failures


def test_pairs_and_elements_are_replaced_inserted_and_deleted() -> None:
    document = b'{"a": [1], "b": {}}'
    found = {(s.op, s.category, document[s.start : s.end]) for s in sites(parse(document, JSON))}
    assert {("replace", "element", b"1"), ("delete", "element", b"1"), ("delete", "pair", b', "b": {}')} <= found
    assert {("replace", "pairs", document[1:-1]), ("replace", "name", b'"a"'), ("insert", "pair", b"")} <= found


def test_near_misses_are_those_that_the_roles_of_the_language_allow() -> None:
    program = parse(b'{"a": [1, true], "b": "x"}', JSON)
    found = near_misses(program)
    assert all(is_valid(program, mutation.edit) for mutation in found)
    assert {mutation.kind for mutation in found} == {"constant", "order", "missing element"}
    results = {mutation.edit.apply(program.source) for mutation in found}
    assert {b'{"a": [2, true], "b": "x"}', b'{"a": [1, null], "b": "x"}', b'{"a": [true, 1], "b": "x"}'} <= results
    assert {b'{"b": "x", "a": [1, true]}', b'{"b": "x"}', b'{"a": [true], "b": "x"}'} <= results


def test_no_mutation_kind_assumes_a_role_that_the_language_lacks() -> None:
    bare = replace(JSON, near_miss=NearMiss())
    for language in (JSON, bare):
        for document in DOCUMENTS:
            for kind in KINDS.values():
                list(kind.edits(parse(document, language)))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_broken_documents_are_restored_byte_for_byte_through_diff_and_encoding(
    document: bytes, loop: Loop, bank: Bank
) -> None:
    total = Score()
    for seed in range(8):
        total.add(broken(document, loop, bank, random.Random(seed)))
    assert not total.failures, total.failures
    assert total.held["the program is restored, byte for byte"] == 8


def test_a_document_is_turned_into_one_that_has_nothing_to_do_with_it(loop: Loop) -> None:
    total = Score()
    for start, goal in pairwise(DOCUMENTS):
        total.add(unrelated((start, goal), loop, random.Random(0)))
    assert not total.failures, total.failures


def test_every_byte_survives_the_tokens(loop: Loop) -> None:
    tokenizer = loop.encoder.tokenizer
    for document in DOCUMENTS:
        assert tokenizer.decode(tokenizer.encode(document)) == document
    assert len(site_kinds(JSON)) == 2 + 3 * len(JSON.categories)


def test_a_capability_that_a_language_lacks_finds_nothing() -> None:
    program = parse(DOCUMENTS[0], JSON)
    assert functions(DOCUMENTS[0], JSON) == [] and program.root == 0
    assert rewrites(program) == ()
    assert JSON.specs.wanted(["assert f(1) == 2"], "f") == [] and JSON.specs.asserts_about("assert f(1)", "f") == ()
    assert JSON.lint(b"[]") == 0 and JSON.free_names(b"[]") == frozenset() and JSON.bound_names(b"[]") is None
    assert not parses(b"[1,", JSON)


def test_languages_are_found_by_name_and_by_suffix() -> None:
    assert by_name("python") is PYTHON is by_suffix(Path("a/b.py"))
    assert by_suffix(Path("script")) is None
    with pytest.raises(ValueError, match="unknown language 'cobol'; known are python"):
        by_name("cobol")


def test_no_generic_room_imports_a_language() -> None:
    root = Path(kelp.__file__).parent
    rooms = [path for room in GENERIC for path in sorted((root / room).rglob("*.py"))]
    checked = [path for path in rooms if not path.relative_to(root).as_posix().startswith(tuple(OF_PYTHON))]
    assert len(checked) > 40
    for path in checked:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [f"{node.module}.{a.name}" for a in node.names] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith("kelp.languages.") and "registry" not in name for name in names), path
