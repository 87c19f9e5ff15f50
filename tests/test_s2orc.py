"""Tests papers in their three forms, and the join that decides which are eligible."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora import papers, parses
from autodata.corpora.paper import UNCOVERED, Section, find_levels
from autodata.corpora.papers import Abstracts, Eligible
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
    for stated in ({"license": "cc-by"}, '{"license": "cc-by"}'):
        assert parse(row | {"metadata": stated}, LOOSE, eligible).licence == "cc-by"


def marked_paper(*parts):
    """A record of the older release whose text is the parts, (kind, text), one per line; '' is marked by nothing."""
    annotations, text = {}, ""
    for kind, part in parts:
        number, _, words = part.partition("|") if "|" in part else ("", "", part)
        span = {"start": len(text), "end": len(text) + len(words)} | ({"attributes": {"n": number}} if number else {})
        annotations.setdefault(kind, []).append(span)
        text += f"{words}\n"
    annotations.pop("", None)
    marked = {kind: json.dumps(places) for kind, places in annotations.items()}
    return {"corpusid": 7, "content": {"text": text, "annotations": marked, "source": {}}}


def test_the_first_of_two_titles_is_the_title(eligible):
    record = parse(
        marked_paper(("title", "Solidarity"), ("title", "* Solidarity *"), ("paragraph", "x")), LOOSE, eligible
    )
    assert (record.fields["title"], record.text) == ("Solidarity", "# Solidarity\n\nx")


def test_formulas_are_kept_and_what_is_not_kept_is_counted(eligible):
    row = marked_paper(
        ("title", "T"),
        ("author", "Ann Author"),
        ("paragraph", "For each x,"),
        ("formula", "f(x) = 2 x (1)"),
        ("paragraph", "holds."),
        ("figurecaption", "Figure 1: a cache"),
        ("table", "1 2 3"),
        ("", "lost words"),
        ("bibentry", "[1] A book"),
    )
    record = parse(row, LOOSE, eligible)
    assert record.text == "# T\n\nFor each x,\n\nf(x) = 2 x (1)\n\nholds."
    lost = len("Figure1:acache123lostwords")
    assert (record.fields["uncovered_chars"], record.changes) == (lost, {UNCOVERED: lost})
    assert record.fields["broken_spans"] == 0


def test_a_formula_inside_a_paragraph_is_written_once(eligible):
    row = v2(annotations={"formula": spans(span(BODY, "wear out"))})
    assert parse(row, LOOSE, eligible) == parse(v2(), LOOSE, eligible)


def test_a_paragraph_of_the_abstract_is_written_once(eligible):
    text = "T\nAn abstract of two lines.\nBody."
    places = [span(text, "An abstract of two lines.")]
    annotations = {"abstract": places, "paragraph": [*places, span(text, "Body.")], "title": [span(text, "T")]}
    record = parse({"corpusid": 7, "content": {"text": text, "annotations": annotations}}, LOOSE, eligible)
    assert record.text == "# T\n\n## Abstract\n\nAn abstract of two lines.\n\nBody."
    assert (record.fields["broken_spans"], record.changes) == (0, {})


@pytest.mark.parametrize(
    ("headings", "tree"),
    [
        (
            ["1 One", "2 Two", "2.1 In", "2.1.1 Deep", "3 C"],
            ["## 1 One", "## 2 Two", "### 2.1 In", "#### 2.1.1 Deep", "## 3 C"],
        ),
        (["1.|One", "2.|Two", "2.1.|Below"], ["## 1 One", "## 2 Two", "### 2.1 Below"]),
        (
            ["I. ONE", "II. TWO", "A. In", "B. In", "III. C"],
            ["## I. ONE", "## II. TWO", "### A. In", "### B. In", "## III. C"],
        ),
        (
            ["I. ONE", "D. In", "1) sub", "2) sub", "II. TWO", "A Novel Idea"],
            ["## I. ONE", "### D. In", "#### 1) sub", "#### 2) sub", "## II. TWO", "## A Novel Idea"],
        ),
        (["I ONE", "A In", "B In", "II TWO"], ["## I ONE", "### A In", "### B In", "## II TWO"]),
        (["A Proofs", "A.1 First"], ["## A Proofs", "### A.1 First"]),
        (["Introduction", "3D printing", "2019 results"], ["## Introduction", "## 3D printing", "## 2019 results"]),
    ],
)
def test_numbered_headings_become_a_tree(eligible, headings, tree):
    parts = [part for heading in headings for part in (("sectionheader", heading), ("paragraph", "words"))]
    lines = parse(marked_paper(*parts), LOOSE, eligible).text.split("\n\n")
    assert [line for line in lines if line.startswith("#")] == tree


def test_a_heading_without_text_stays_if_sections_below_it_have_text(eligible):
    row = marked_paper(
        ("sectionheader", "2 Methods"), ("sectionheader", "2.1 Data"), ("paragraph", "words"),
        ("sectionheader", "3 Nothing"), ("sectionheader", "4 End"), ("paragraph", "more"),
    )  # fmt: skip
    record = parse(row, LOOSE, eligible)
    assert record.text == "## 2 Methods\n\n### 2.1 Data\n\nwords\n\n## 4 End\n\nmore"
    assert record.changes == {UNCOVERED: len("3Nothing")}


def test_an_unknown_licence_is_unknown(eligible):
    row = v2()
    row["openaccessinfo"]["license"] = None
    record = parse(row, LOOSE, eligible)
    assert (record.licence, record.fields["collection_licence"]) == ("", "odc-by")
    assert "collection_licence" not in parse(v2(), LOOSE, eligible).fields


OLD_BODY = [
    {"section": "Introduction", "sec_num": "1", "text": "Caches  wear out."},
    {
        "section": "Introduction",
        "sec_num": "1",
        "text": "EQUATION",
        "eq_spans": [{"start": 0, "end": 8, "latex": "f = 2"}],
    },
    {"section": "Data", "sec_num": "1.1", "text": "We measure."},
]
OLD_TEXT = "## Abstract\n\nShort.\n\n## 1 Introduction\n\nCaches wear out.\n\nf = 2\n\n### 1.1 Data\n\nWe measure."
OLD_FORMS = {
    "S2ORC of 2020": {"paper_id": "7", "abstract": [{"text": "Short."}], "body_text": OLD_BODY},
    "doc2json": {"paper_id": "x", "corpusid": 7, "abstract": "Short.", "pdf_parse": {"body_text": OLD_BODY}},
    "S2ORC of 2019": {
        "paper_id": "7",
        "metadata": {"title": ""},
        "grobid_parse": {"abstract": [{"text": "Short."}], "body_text": OLD_BODY},
    },
    "CORD-19": {"corpusid": "7", "metadata": {}, "abstract": [{"text": "Short."}], "body_text": OLD_BODY},
}


@pytest.mark.parametrize("form", OLD_FORMS)
def test_older_forms_of_a_paper(eligible, form):
    record = parse(
        OLD_FORMS[form] | {"title": "On Caches", "ref_entries": {"F0": {"text": "A figure"}}}, LOOSE, eligible
    )
    assert record.text == f"# On Caches\n\n{OLD_TEXT}"
    assert (record.id, record.fields["has_abstract"]) == ("s2orc-7", True)


def test_captions_and_tables_of_older_forms_are_counted():
    entries = {
        "F0": {"text": "A figure"},
        "T0": {"text": "Sizes", "content": "1 2", "html": "<td>1</td><td>2</td>"},
        "T1": {"text": "", "html": "<table><td>34</td></table>"},
    }
    paper = parses.read({"body_text": OLD_BODY, "ref_entries": entries, "back_matter": [{"text": "Thank you"}]})
    assert paper.uncovered == len("Afigure" + "Sizes" + "12" + "34" + "Thankyou")


def test_abstracts_are_joined_by_corpusid(eligible, tmp_path):
    rows = [
        {"corpusid": 9, "abstract": "Ü  nine."},
        None,
        {"corpusid": 8, "abstract": "not eligible"},
        {"corpusid": 7, "abstract": "Seven."},
        {"corpusid": 7, "abstract": "again"},
        {"corpusid": 2**62, "abstract": None},
    ]
    papers.build_abstracts(rows[:4], tmp_path / "00000", eligible)
    papers.build_abstracts(rows[4:], tmp_path / "00001", eligible)
    assert papers.merge_abstracts(tmp_path, 2) == {"rows": 5, "damaged": 1, "joined": 2}
    abstracts = Abstracts(tmp_path)
    assert [abstracts.find(i) for i in (7, 8, 9, 2**62, 10)] == ["Seven.", "", "Ü nine.", "", ""]
    record = parse(v2(), Filters(min_chars=1, english=False, require_abstract=True), eligible, abstracts)
    assert record.text.startswith("# On Caches\n\n## Abstract\n\nSeven.\n\n## 1 Introduction")


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


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((value, 7) for value in (7, "7", 7.0)),
        *((value, None) for value in (7.5, float("nan"), -1, True, None, "7a", 1 << 63, 2.0**53)),
        (0, 0),
        ((1 << 63) - 1, (1 << 63) - 1),
    ],
)
def test_numbers_as_tables_write_them(value, number):
    assert papers.read_number(value) == number


@pytest.mark.parametrize(
    ("section", "headings"),
    [
        ([["1", "Caches"], ["1.1", "Wear"]], ["## 1 Caches", "### 1.1 Wear"]),
        (["A.1", "Proofs"], ["### A.1 Proofs"]),
        (["Caches", "Wear"], ["## Caches", "### Wear"]),
        (["Wear"], ["## Wear"]),
        ([], []),
    ],
)
def test_a_list_of_headings_is_written_with_all_of_them(section, headings):
    lines = parses.read({"body_text": [{"text": "Words.", "section": section}]}).write().split("\n\n")
    assert lines == [*headings, "Words."]


def test_a_heading_above_several_sections_is_written_once():
    above, places = ["2", "Caches"], (["2.1", "Wear"], ["2.2", "Age"])
    body = [{"text": "Words.", "section": [above, place]} for place in places for _ in "ab"]
    body += [{"text": "More.", "section": [above]}, {"text": "", "section": [["3", "Empty"]]}]
    paper = parses.read({"body_text": body})
    lines = paper.write().split("\n\n")
    assert [line for line in lines if line != "Words."] == [
        "## 2 Caches",
        "### 2.1 Wear",
        "### 2.2 Age",
        "## 2 Caches",
        "More.",
    ]
    assert paper.uncovered == len("Empty")


@pytest.mark.parametrize(
    ("heading", "level"),
    [("2.A Data", 2), ("II.B. Model", 2), ("2.A.1 Details", 3), ("U.S. Policy", 1), ("I.V. Access", 1), ("A.1 B", 2)],
)
def test_letters_inside_a_number(heading, level):
    assert find_levels([Section(heading)]) == [level]


@pytest.mark.parametrize(
    ("heading", "number", "written"),
    [
        ("Intro", "I.", "I Intro"),
        ("I. Intro", "I.", "I. Intro"),
        ("2.1 Data", "2.1", "2.1 Data"),
        ("10 Ways", "1", "1 10 Ways"),
    ],
)
def test_a_heading_has_its_number_once(heading, number, written):
    assert Section(heading, number).write_heading() == written
