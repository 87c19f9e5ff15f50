"""Makes documents from S2ORC papers: the Semantic Scholar release, its older forms, or peS2o (paper Sec. 3.1).

The texts come without year and field of study; `papers.py` joins those by corpusid, and the abstracts of s2orc_v2.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autodata.corpora import parses
from autodata.corpora.own import find_licence
from autodata.corpora.paper import Paper, Section
from autodata.corpora.papers import Abstracts, Eligible, read_number
from autodata.corpora.record import Drop, Record, require_length
from autodata.recipes.corpora import OwnFilters, S2orcFilters

COLLECTION_LICENCE = "odc-by"  # for S2ORC and peS2o as collections; each paper also has its own
_COMMON_WORDS = {"the", "of", "and", "to", "in", "a", "is", "that", "for", "with", "as", "are", "we", "on", "by"}
_COMMON_WORDS |= {"this", "be", "from", "an", "it", "which", "can"}


def parse(
    row: Mapping[str, object],
    filters: S2orcFilters,
    eligible: Eligible,
    abstracts: Abstracts | None = None,
) -> Record:
    """Make the document of a paper. Raises Drop."""
    read_paper = next((read for key, kind, read in _READERS if isinstance(row.get(key), kind)), None)
    if read_paper is None:
        raise Drop("no text")
    corpusid = read_corpusid(row)
    year = require_eligible(corpusid, eligible)
    paper = read_paper(row)
    paper.abstract = paper.abstract or (abstracts.find(corpusid) if abstracts else "")
    text = paper.write()
    _check(paper, text, filters)
    fields = {
        "corpusid": corpusid,
        "title": paper.title,
        "year": year,
        "sections": len(paper.sections),
        "has_abstract": bool(paper.abstract),
        "broken_spans": paper.broken_spans,
        "fields_of_study": [filters.field_of_study],
        **({"uncovered_chars": paper.uncovered} if paper.uncovered else {}),
        **({} if paper.licence else {"collection_licence": COLLECTION_LICENCE}),
        **paper.identifiers,
    }
    return Record(f"s2orc-{corpusid}", text, paper.licence, fields, paper.changes)


def require_eligible(corpusid: int, eligible: Eligible) -> int:
    """Return the year of a paper. Raises Drop for one that is not eligible, as most are not."""
    year = eligible.year_of(corpusid)
    if year is None:
        raise Drop("not eligible by year or field of study")
    return year


def is_english(text: str) -> bool:
    """True if a text looks English: plain letters, and common words as often as English has them."""
    sample = text[:20_000].casefold()
    letters = [c for c in sample if c.isalpha()]
    words = sample.split()
    if not letters or not words:
        return False
    plain = sum(c.isascii() for c in letters) / len(letters)
    return plain > 0.9 and sum(w in _COMMON_WORDS for w in words) / len(words) > 0.12


def _check(paper: Paper, text: str, filters: S2orcFilters) -> None:
    require_length(text, filters.min_chars, filters.max_chars)
    if filters.licences and not paper.licence.casefold().startswith(tuple(p.casefold() for p in filters.licences)):
        raise Drop("licence not in the list")
    if filters.require_abstract and not paper.abstract:
        raise Drop("no abstract")
    if filters.english and not is_english(text):
        raise Drop("not English")


def _read_v2(row: Mapping[str, object]) -> Paper:
    access = _dict(row.get("openaccessinfo"))
    identifiers = _identify(access.get("externalids"), access.get("url"))
    paper = Paper(_text(row.get("title")), "", [], _text(access.get("license")), identifiers)
    _cut_sections(_dict(row.get("body")), "section_header", paper)
    return paper


def _read_v1(row: Mapping[str, object]) -> Paper:
    content = _dict(row.get("content"))
    access = _dict(_dict(content.get("source")).get("oainfo"))
    titles, abstracts = (_cut(content, key) for key in ("title", "abstract"))
    identifiers = _identify(row.get("externalids"), access.get("openaccessurl"))
    # The title is marked at the head of the paper and again in the body.
    paper = Paper(next(iter(titles), ""), "\n\n".join(abstracts), [], _text(access.get("license")), identifiers)
    _cut_sections(content, "sectionheader", paper)
    return paper


def _read_pes2o(row: Mapping[str, object]) -> Paper:
    """Read a record of peS2o: title, abstract and paragraphs in one text, one per line, none of them marked."""
    text = _require_text(row)
    title, _, rest = text.partition("\n")
    paragraphs = [line.strip() for line in rest.split("\n") if line.strip()]
    fields = {"created": _text(row.get("created")), "origin": _text(row.get("source"))}
    return Paper(title.strip(), "", [Section(blocks=paragraphs)], find_licence(row, OwnFilters()), fields)


# The key and its type by which each form of a record is known, and the function that reads it.
_READERS = (
    ("body", dict, _read_v2),
    ("content", dict, _read_v1),
    ("text", str, _read_pes2o),
    *((key, kind, parses.read) for key, kind in (("body_text", list), *((key, dict) for key in parses.FORMS))),
)


def read_corpusid(row: Mapping[str, object]) -> int:
    """Return the number by which data sets are joined; peS2o calls it `id`, older releases `paper_id`. Raises Drop."""
    value = next((row[key] for key in ("corpusid", "corpus_id", "id", "paper_id") if key in row), None)
    if (number := read_number(value)) is None:
        raise Drop("no corpusid")
    return number


def _require_text(holder: Mapping[str, object]) -> str:
    text = holder.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Drop("no text")
    return text


@dataclass(frozen=True, order=True)
class Span:
    """The place of a part of the text, and what kind of part it is: an index in `_KINDS`."""

    start: int
    kind: int
    end: int
    number: str = ""  # of a heading, if the release states it


def _read_spans(holder: Mapping[str, object], key: str, kind: int = 0) -> list[Span | None]:
    """Read each span under one key, in the order of the list. Raises Drop.

    An item that is not a span inside the text becomes None. The release writes each list as a JSON string, and offsets
    sometimes as strings.
    """
    value = _dict(holder.get("annotations")).get(key)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Drop("annotations are not JSON") from None
    if value is None:
        return []
    if not isinstance(value, list):
        raise Drop("annotations are not a list")
    length = len(_require_text(holder))
    return [_read_span(item, length, kind) for item in value]


def _read_span(item: object, length: int, kind: int) -> Span | None:
    try:
        start, end = (int(item[key]) for key in ("start", "end"))  # type: ignore[index]
    except (TypeError, KeyError, ValueError, OverflowError):  # int(inf) overflows
        return None
    number = _dict(_dict(item).get("attributes")).get("n")
    return Span(start, kind, end, _text(number)) if 0 <= start < end <= length else None


def _cut(holder: Mapping[str, object], key: str) -> list[str]:
    """Return the different texts in the spans of one kind, in their order."""
    text = _require_text(holder)
    return list(dict.fromkeys(_text(text[span.start : span.end]) for span in _read_spans(holder, key) if span))


_KINDS = ("heading", "paragraph", "formula")
# Parts that are no body text: what they cover is not counted as lost.
_OTHER_PARTS = ("title", "abstract", "author", "authoraffiliation", "bibentry", "publisher", "venue")


def _cut_sections(holder: Mapping[str, object], heading: str, paper: Paper) -> None:
    """Group paragraphs and formulas under the heading before them, and count what is left out. Raises Drop.

    A span is left out if it overlaps an earlier one or lies outside the text. A formula inside a paragraph is a part
    of its text.
    """
    text = _require_text(holder)
    marked = [s for kind, key in enumerate((heading, *_KINDS[1:])) for s in _read_spans(holder, key, kind)]
    other = [span for key in _OTHER_PARTS for span in _read_spans(holder, key) if span]
    abstracts = [span for span in _read_spans(holder, "abstract") if span]
    covered, last_end = [*other], 0
    paper.broken_spans = marked.count(None)
    for span in sorted(span for span in marked if span):
        if span.start < last_end or any(a.start <= span.start and span.end <= a.end for a in abstracts):
            paper.broken_spans += not _is_inside(span, last_end, abstracts)
            continue
        last_end = span.end
        covered.append(span)
        _add(paper.sections, span, _text(text[span.start : span.end]))
    paper.uncovered = _count_uncovered(text, covered)
    paper.drop_empty_sections()


def _is_inside(span: Span, last_end: int, abstracts: Sequence[Span]) -> bool:
    """True for a formula that a paragraph contains, and for any part of the abstract, which is not written twice."""
    is_in_abstract = any(a.start <= span.start and span.end <= a.end for a in abstracts)
    return is_in_abstract or (_KINDS[span.kind] == "formula" and span.end <= last_end)


def _add(sections: list[Section], span: Span, words: str) -> None:
    if _KINDS[span.kind] == "heading":
        sections.append(Section(words, span.number))
    elif words:
        if not sections:
            sections.append(Section())
        sections[-1].blocks.append(words)


def _count_uncovered(text: str, covered: Sequence[Span]) -> int:
    """Count the characters outside all spans, without blanks."""
    count = end = 0
    for span in (*sorted(covered), Span(len(text), 0, len(text))):
        count += sum(map(len, text[end : span.start].split())) if span.start > end else 0
        end = max(end, span.end)
    return count


def _identify(external: object, url: object) -> dict[str, object]:
    names = {key.casefold(): value for key, value in _dict(external).items() if isinstance(value, str | int)}
    names["url"] = url if isinstance(url, str) else None
    return {key: names[key] for key in ("doi", "arxiv", "url") if names.get(key)}


def _dict(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
