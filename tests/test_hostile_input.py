"""Tests readers with arbitrary input: each returns a result or raises the error that it promises."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.config import RecipeError, load
from autodata.corpora import own, pile_of_law, principia, s2orc
from autodata.corpora.documents import DocumentsError, read_corpus
from autodata.corpora.papers import Eligible
from autodata.corpora.record import Drop
from autodata.corpora.rows import BadRow, Row, read_rows
from autodata.eval.sampled_answers import ANSWERS, read_all
from autodata.loop import parsing
from autodata.loop.parsing import ParseError
from autodata.loop.prompts import PromptError, PromptSet
from autodata.meta.genome import Genome
from autodata.meta.mutate import read_edit
from autodata.meta.wall import Wall
from autodata.recipes.corpora import OwnFilters, PileOfLawFilters, PrincipiaFilters, S2orcFilters
from autodata.recipes.generation import GenerateRecipe
from autodata.run.records import RunError
from autodata.serving import leases
from autodata.serving.wire.faults import Fault
from autodata.serving.wire.reply import read_reply
from autodata.types import Reply

pytestmark = pytest.mark.slow

settings.register_profile("bounded", max_examples=60, deadline=None, database=None, derandomize=True)
bounded = settings.get_profile("bounded")
WORDS = (
    "text content body title abstract annotations corpusid externalids externalIds id start end url rubric criterion "
    "weight category verdicts met edits prompt find replace hypothesis shape items problem_statement answer choices "
    "message finish_reason usage state beat"
)
NAMES = st.sampled_from(WORDS.split())
ELIGIBLE = Eligible(numpy.array([1], numpy.uint64), numpy.array([2020], numpy.int16))
TEXTS = st.text(max_size=40) | st.sampled_from(
    ["the of and " * 20, "{{ x }}", "../../x", "<think>", "```json\n{", "\ud800"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(NAMES | TEXTS, v, max_size=5),
    max_leaves=20,
)
RECORDS = st.dictionaries(NAMES, VALUES, max_size=8)


@bounded
@given(record=RECORDS)
def test_a_row_of_any_corpus_is_a_document_or_dropped(record):
    for parse in (
        lambda r: s2orc.parse(r, S2orcFilters(), ELIGIBLE),
        lambda r: pile_of_law.parse(r, PileOfLawFilters(min_chars=0)),
        lambda r: principia.parse(r, PrincipiaFilters()),
        lambda r: own.parse(Row("x.jsonl", 1, r), OwnFilters()),
    ):
        try:
            assert parse(record).text
        except Drop as drop:
            assert drop.reason


@bounded
@given(
    data=st.binary(max_size=300), suffix=st.sampled_from([".jsonl", ".gz", ".xz", ".zst", ".parquet", ".txt", ".md"])
)
def test_a_file_of_any_bytes_has_rows_or_says_what_is_wrong(data, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        path.write_bytes(data)
        assert all(isinstance(row, Row | BadRow) for row in read_rows(path))
        try:
            read_corpus(folder)
        except DocumentsError as error:
            assert folder in str(error)


@bounded
@given(value=VALUES, text=TEXTS)
def test_a_reply_is_read_or_refused(value, text):
    body = {"choices": [{"message": {"content": value}, "finish_reason": text}], "usage": {"prompt_tokens": value}}
    for completion in (body, {"choices": value}):
        with suppress(Fault):
            assert isinstance(read_reply(completion), Reply)


@bounded
@given(value=VALUES, before=TEXTS, after=TEXTS)
def test_what_a_model_writes_is_data_or_a_parse_error(value, before, after):
    for text in (before, before + json.dumps(value) + after, json.dumps(value)[:-1]):
        for read in (parsing.read_object, parsing.repair_object):
            with suppress(ParseError):
                assert isinstance(read(text), dict)


@bounded
@given(record=RECORDS)
def test_a_rubric_a_verdict_and_an_edit_are_read_or_refused(record):
    parent = Genome({"challenger": "{% block user %}{{ document }}{% endblock %}"})
    readers = (parsing.read_rubric, lambda r: parsing.read_verdicts(r, 2), lambda r: read_edit(r, parent))
    for read in readers:
        with suppress(ParseError):
            read(record)


@bounded
@given(text=TEXTS | st.sampled_from(["{% include '/etc/passwd' %}", "{{ ''.__class__ }}", "{% macro x() %}", "{{"]))
def test_no_edit_passes_the_wall_that_is_more_than_text(text):
    baseline = Genome({"challenger": "{% block user %}Say {{ document }}{% endblock %}"})
    child = Genome({"challenger": baseline.prompts["challenger"].replace("Say", text)})
    faults = Wall(baseline, [], []).check(baseline, child)
    assert faults or not any(sign in text for sign in ("{{", "{%", "<|"))


@bounded
@given(text=st.text(max_size=60) | st.sampled_from(["{{ x.__init__.__globals__ }}", "{% for i in range(9) %}"]))
def test_a_template_renders_or_names_its_file(text):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "solver.j2").write_bytes(f"{{% block user %}}{text}{{% endblock %}}".encode(errors="replace"))
        try:
            PromptSet(Path(folder)).render("solver", {"x": "1"})
        except PromptError as error:
            assert "solver.j2" in str(error)
        assert len(list(Path(folder).iterdir())) == 1


@bounded
@given(data=st.binary(max_size=80) | VALUES.map(lambda v: json.dumps(v).encode()))
def test_leases_answers_and_recipes_of_any_bytes(data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a-1-0.json").write_bytes(data)
        assert all(isinstance(lease, leases.Lease) for lease in leases.read_leases(folder))
        (folder / ANSWERS).write_bytes(data + b"\n")
        with pytest.raises(RunError, match=ANSWERS):
            read_all(folder)
        (folder / "generate.yaml").write_bytes(data)
        with pytest.raises(RecipeError, match=r"generate\.yaml"):
            load(GenerateRecipe, [str(folder / "generate.yaml")])


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_deep_nesting_is_refused_and_no_crash(depth):
    text = "[" * depth
    for read in (parsing.read_object, parsing.repair_object):
        with pytest.raises(ParseError):
            read('{"a":' + text)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(text)
