"""Tests that examples become typed rows of Arrow and come back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.data import parquet
from autodata.types import Candidate, Criterion, Evidence, Example, Failure, Provenance, Verdict
from tests.helpers.parquet_rows import to_example

TEXT = st.text(max_size=8)
COUNT = st.integers(0, 2**31)
ANY = st.one_of(TEXT, st.none(), st.lists(TEXT, max_size=2), st.dictionaries(TEXT, COUNT, max_size=2))
JSON = st.dictionaries(TEXT, ANY, max_size=2)
MET = st.lists(st.lists(st.booleans(), max_size=3).map(tuple), max_size=2).map(tuple)
SCORES = st.lists(st.floats(0, 1), max_size=3).map(tuple)
SEEDS = st.lists(COUNT, max_size=3).map(tuple)
CRITERIA = st.builds(Criterion, TEXT, st.integers(-10, 10), TEXT)
CANDIDATES = st.builds(Candidate, TEXT, TEXT, st.lists(CRITERIA, max_size=2).map(tuple), TEXT, JSON)
FAILURES = st.one_of(st.none(), st.sampled_from(Failure))
VERDICTS = st.builds(Verdict, st.one_of(st.none(), st.booleans()), FAILURES, TEXT)
EVIDENCE = st.builds(
    Evidence,
    weak_met=MET,
    strong_met=MET,
    gates=st.dictionaries(TEXT, st.dictionaries(TEXT, st.floats(0, 1), max_size=2), max_size=2),
    presets=st.dictionaries(TEXT, VERDICTS, max_size=2),
    review=JSON,
    preset=TEXT,
    weak_planned=COUNT,
    strong_planned=COUNT,
)
PROVENANCE = st.builds(
    Provenance,
    run=TEXT,
    recipe_hash=TEXT,
    prompts_hash=TEXT,
    models=st.dictionaries(TEXT, TEXT, max_size=2),
    licence=TEXT,
    tokens=st.dictionaries(TEXT, COUNT, max_size=2),
    weak_seeds=SEEDS,
    strong_seeds=SEEDS,
)
EXAMPLES = st.builds(
    Example,
    *(TEXT for _ in range(4)),
    split=st.sampled_from(["train", "test"]),
    candidate=CANDIDATES,
    candidate_hash=TEXT,
    round=COUNT,
    rounds=COUNT,
    accepted=st.booleans(),
    weak_scores=SCORES,
    strong_scores=SCORES,
    evidence=EVIDENCE,
    provenance=PROVENANCE,
)


@settings(max_examples=15, deadline=None)
@given(st.lists(EXAMPLES, min_size=1, max_size=2))
def test_an_example_survives_its_row_whatever_is_empty_or_missing(examples):
    from datasets import Dataset

    columns = parquet.declare()
    rows = Dataset.from_list([parquet.to_row(e) for e in examples], features=columns)
    assert rows.features == columns
    assert [to_example(row) for row in rows] == examples
