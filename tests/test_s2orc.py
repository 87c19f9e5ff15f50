"""Tests papers in their three forms, and the join that decides which are eligible."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora import papers
from autodata.corpora.papers import Eligible
from autodata.corpora.record import Drop, Record
from autodata.corpora.s2orc import is_english, parse
from autodata.recipes.corpora import S2orcFilters as Filters

BODY = "1 Introduction\nCaches wear out, and that is the cost of writes.\nWe show why.\n2 Results\nIt is the delay."
LOOSE = Filters(min_chars=1, english=False)


def span(text, part, **changes):
    start = text.index(part)
    return {"start": start, "end": start + len(part), **changes}


def spans(*pairs, dump=True):
    return json.dumps(list(pairs)) if dump else list(pairs)


def v2(corpusid=7, **changes):
    annotations = {
        "section_header": spans(span(BODY, "1 Introduction"), span(BODY, "2 Results")),
        "paragraph": spans(
            span(BODY, "Caches wear out, and that is the cost of writes."),
            span(BODY, "We show why."),
            span(BODY, "It is the delay."),
        ),
        "bib_ref": None,
    } | changes.pop("annotations", {})
    access = {"license": "CCBY", "url": "https://x.org/p", "externalids": {"DOI": "10.1/x", "ArXiv": None}}
    return {
        "corpusid": corpusid,
        "title": "On  Caches",
        "openaccessinfo": access,
        "body": {"text": BODY, "annotations": annotations},
    } | changes


def v1(corpusid=7, **annotations):
    text = f"On Caches\nAn abstract.\n{BODY}"
    marked = {
        "title": spans(span(text, "On Caches")),
        "abstract": spans(span(text, "An abstract.", start="10", end="22")),
        "sectionheader": spans(span(text, "1 Introduction")),
        "paragraph": spans(span(text, "We show why."), dump=False),
        "figure": None,
    } | annotations
    source = {"oainfo": {"license": "CC0", "openaccessurl": "https://y.org"}}
    return {
        "corpusid": str(corpusid),
        "externalids": {"arxiv": "2201.1", "doi": None},
        "content": {"text": text, "annotations": marked, "source": source},
    }


@pytest.fixture(scope="module")
def eligible(tmp_path_factory):
    folder = tmp_path_factory.mktemp("papers")
    counts = papers.build([*ROWS, None], folder, 2022, "Computer Science")
    assert counts == {"rows": 9, "without corpusid": 1, "eligible": 3, "duplicates": 1, "damaged": 1}
    return Eligible.load(folder)


CS, LAW = [{"category": "Computer Science", "source": "external"}], [{"category": "Law", "source": "s2-fos-model"}]
ROWS = [
    {"corpusid": 9, "year": 2024, "s2fieldsofstudy": CS},
    {"corpusid": 7, "year": 2022, "s2fieldsofstudy": LAW + CS},
    {"corpusid": 8, "year": 2021, "s2fieldsofstudy": CS},
    {"corpusid": 6, "year": 2023, "s2fieldsofstudy": LAW},
    {"corpusid": 5, "year": 99_999, "s2fieldsofstudy": CS},
    {"corpusid": 4, "year": 2023, "s2fieldsofstudy": None},
    {"corpusid": 7, "year": 2025, "s2fieldsofstudy": CS},
    {"corpusid": 2**62, "year": 2023, "s2fieldsofstudy": CS},
    {"corpusid": None, "year": 2023, "s2fieldsofstudy": CS},
]


def test_the_join_keeps_year_and_field(eligible):
    years = {i: eligible.year_of(i) for i in (4, 5, 6, 7, 8, 9, 10, 2**62, 2**63 - 1, 0)}
    assert years == {7: 2022, 9: 2024, 2**62: 2023} | dict.fromkeys((4, 5, 6, 8, 10, 2**63 - 1, 0))


@given(st.dictionaries(st.integers(0, 2**63 - 1), st.integers(2022, 2030), max_size=30), st.randoms())
def test_every_eligible_paper_is_found_and_no_other(tmp_path_factory, years, chance):
    rows = [{"corpusid": i, "year": y, "s2fieldsofstudy": CS} for i, y in years.items()]
    chance.shuffle(rows)
    folder = tmp_path_factory.mktemp("papers")
    papers.build(rows, folder, 2022, "Computer Science")
    loaded = Eligible.load(folder)
    assert {i: loaded.year_of(i) for i in years} == years
    assert all(loaded.year_of(i + 1) is None for i in years if i + 1 not in years)


def test_a_paper_of_the_present_release(eligible):
    record = parse(v2(), LOOSE, eligible)
    assert record == Record(
        "s2orc-7",
        "# On Caches\n\n## 1 Introduction\n\nCaches wear out, and that is the cost of writes.\n\nWe show why.\n\n"
        "## 2 Results\n\nIt is the delay.",
        "CCBY",
        {
            "corpusid": 7,
            "title": "On Caches",
            "year": 2022,
            "sections": 2,
            "has_abstract": False,
            "broken_spans": 0,
            "fields_of_study": ["Computer Science"],
            "doi": "10.1/x",
            "url": "https://x.org/p",
        },
    )


def test_a_paper_of_the_older_release(eligible):
    record = parse(v1(), LOOSE, eligible)
    assert record.text == "# On Caches\n\n## Abstract\n\nAn abstract.\n\n## 1 Introduction\n\nWe show why."
    assert (record.licence, record.fields["arxiv"], record.fields["has_abstract"]) == ("CC0", "2201.1", True)


def test_a_paper_of_pes2o(eligible):
    row = {"id": "9", "source": "s2orc/train", "text": "On Caches\nFirst.\n\nSecond.", "created": "2022-05-01"}
    record = parse(row, LOOSE, eligible)
    assert (record.text, record.licence) == ("# On Caches\n\nFirst.\n\nSecond.", "")
    assert record.fields["collection_licence"] == "odc-by"
    assert (record.fields["created"], record.fields["year"]) == ("2022-05-01", 2024)


@pytest.mark.parametrize(
    ("paragraphs", "kept", "broken"),
    [
        ([{"start": 0, "end": 4}, {"start": 2, "end": 9}], 1, 1),  # overlapping
        ([{"start": 5, "end": 5}, {"start": 9, "end": 4}, {"start": 0, "end": 4}], 1, 2),  # empty, reversed
        ([{"start": -1, "end": 4}, {"start": 0, "end": 10_000}, {"start": 0, "end": 4}], 1, 2),  # out of bounds
        ([{"start": "x", "end": 4}, {}, None, 7, {"start": "0", "end": "4"}], 1, 4),  # no offsets
        ([{"start": 0, "end": float("inf")}, {"start": 0, "end": float("nan")}, {"start": 0, "end": 4}], 1, 2),
        ([{"start": 20, "end": 30}, {"start": 0, "end": 4}], 2, 0),  # out of order
    ],
)
def test_spans_that_are_not_where_they_say_are_left_out(eligible, paragraphs, kept, broken):
    record = parse(v2(annotations={"paragraph": json.dumps(paragraphs), "section_header": None}), LOOSE, eligible)
    assert len(record.text.split("\n\n")) - 1 == kept
    assert record.fields["broken_spans"] == broken


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (v2(corpusid=8), "not eligible by year or field of study"),
        (v2(corpusid=None), "no corpusid"),
        (v2(corpusid="seven"), "no corpusid"),
        (v2(corpusid=True), "no corpusid"),
        (v2(corpusid=2**70), "no corpusid"),
        (v2(annotations={"paragraph": "[{broken"}), "annotations are not JSON"),
        (v2(annotations={"paragraph": "[" * 100_000}), "annotations are not JSON"),
        (v2(annotations={"paragraph": '{"a": 1}'}), "annotations are not a list"),
        (v2(annotations={"paragraph": None}), "no paragraphs"),
        (v2(annotations={"paragraph": '[{"start": 0, "end": 99999}]'}), "no paragraphs"),
        (v2(annotations={"paragraph": '[{"start": 0, "end": 1e999}]'}), "no paragraphs"),
        (v2(body={"text": " ", "annotations": {}}), "no text"),
        (v2(body={"text": None}), "no text"),
        ({"corpusid": 7}, "no text"),
        ({}, "no text"),
    ],
)
def test_what_is_no_paper_is_dropped_with_a_reason(eligible, row, reason):
    with pytest.raises(Drop) as raised:
        parse(row, LOOSE, eligible)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        (Filters(min_chars=126, english=False), None),
        (Filters(min_chars=127, english=False), "too short"),
        (Filters(min_chars=1, max_chars=126, english=False), None),
        (Filters(min_chars=1, max_chars=125, english=False), "too long"),
        (Filters(min_chars=1, english=False, licences=["cc"]), None),
        (Filters(min_chars=1, english=False, licences=["public"]), "licence not in the list"),
        (Filters(min_chars=1, english=False, require_abstract=True), "no abstract"),
    ],
)
def test_filters_on_both_sides(eligible, filters, reason):
    assert len(parse(v2(), LOOSE, eligible).text) == 126
    if reason is None:
        assert parse(v2(), filters, eligible)
        return
    with pytest.raises(Drop) as raised:
        parse(v2(), filters, eligible)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We show that the cost of a cache is in the writes, and that it can be cut by a policy of delay.", True),
        ("Nous montrons que le coût d'un cache tient aux écritures et que l'on peut le réduire.", False),
        ("Wir zeigen, dass die Kosten eines Speichers vor allem beim Schreiben entstehen.", False),
        ("我们证明缓存的成本在于写入。" * 5, False),
        ("cache policy write delay burst predictor admission flash", False),
        ("", False),
        ("12 34 56", False),
    ],
)
def test_english_is_told_by_letters_and_common_words(text, expected):
    assert is_english(text) is expected
