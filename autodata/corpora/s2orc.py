"""Makes documents from S2ORC papers: the Semantic Scholar release, its older form, or peS2o (paper Sec. 3.1).

The texts come without year and field of study; `papers.py` joins those by corpusid.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from autodata.corpora.papers import Eligible
from autodata.corpora.record import Drop, Record, require_drawn
from autodata.recipes.corpora import S2orcFilters

COLLECTION_LICENCE = "odc-by"  # for S2ORC and peS2o as collections; each paper also has its own
_COMMON_WORDS = {"the", "of", "and", "to", "in", "a", "is", "that", "for", "with", "as", "are", "we", "on", "by"} | {
    "this",
    "be",
    "from",
    "an",
    "it",
    "which",
    "can",
}
_SAMPLED_CHARS = 20_000


class Span(NamedTuple):
    """A stretch of a text, in characters."""

    start: int
    end: int


def parse(row: Mapping[str, object], filters: S2orcFilters, eligible: Eligible, one_in: int = 1) -> Record:
    """Make the document of a paper. Raises Drop; the check that most papers fail comes first."""
    read_paper = _choose_reader(row)
    corpusid = _read_corpusid(row)
    year = eligible.year_of(corpusid)
    if year is None:
        raise Drop("not eligible by year or field of study")
    identity = f"s2orc-{corpusid}"
    require_drawn(identity, one_in)
    paper = read_paper(row)
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
        **paper.identifiers,
    }
    return Record(identity, text, paper.licence or COLLECTION_LICENCE, fields)


@dataclass
class Paper:
    """A paper, whichever form its record had."""

    title: str = ""
    abstract: str = ""
    sections: list[tuple[str, list[str]]] = field(default_factory=list)  # header and paragraphs, in order
    licence: str = ""
    identifiers: dict[str, object] = field(default_factory=dict)
    broken_spans: int = 0

    def write(self) -> str:
        """Return the paper as Markdown: title, abstract, sections. Raises Drop if it has no paragraph."""
        if not any(paragraphs for _, paragraphs in self.sections):
            raise Drop("no paragraphs")
        parts = [f"# {self.title}"] if self.title else []
        parts += ["## Abstract", self.abstract] if self.abstract else []
        for header, paragraphs in self.sections:
            parts += [f"## {header}"] if header else []
            parts += paragraphs
        return "\n\n".join(parts)


def is_english(text: str) -> bool:
    """True if a text looks English: plain letters, and common words as often as English has them."""
    sample = text[:_SAMPLED_CHARS].casefold()
    letters = [c for c in sample if c.isalpha()]
    words = sample.split()
    if not letters or not words:
        return False
    plain = sum(c.isascii() for c in letters) / len(letters)
    return plain > 0.9 and sum(w in _COMMON_WORDS for w in words) / len(words) > 0.12


def _check(paper: Paper, text: str, filters: S2orcFilters) -> None:
    if len(text) < filters.min_chars:
        raise Drop("too short")
    if len(text) > filters.max_chars:
        raise Drop("too long")
    if filters.licences and not paper.licence.casefold().startswith(tuple(p.casefold() for p in filters.licences)):
        raise Drop("licence not in the list")
    if filters.require_abstract and not paper.abstract:
        raise Drop("no abstract")
    if filters.english and not is_english(text):
        raise Drop("not English")


def _choose_reader(row: Mapping[str, object]) -> Callable[[Mapping[str, object]], Paper]:
    """Return the function that reads this record, chosen by the record's shape. Raises Drop."""
    if isinstance(row.get("body"), dict):
        return _read_v2
    if isinstance(row.get("content"), dict):
        return _read_v1
    if isinstance(row.get("text"), str):
        return _read_pes2o
    raise Drop("no text")


def _read_v2(row: Mapping[str, object]) -> Paper:
    body, access = _dict(row.get("body")), _dict(row.get("openaccessinfo"))
    text = _require_text(body)
    spans = _dict(body.get("annotations"))
    sections, broken = _cut_sections(text, _read_spans(spans, "section_header"), _read_spans(spans, "paragraph"))
    return Paper(
        _text(row.get("title")),
        "",
        sections,
        _text(access.get("license")),
        _identify(_dict(access.get("externalids")), access.get("url")),
        broken,
    )


def _read_v1(row: Mapping[str, object]) -> Paper:
    content = _dict(row.get("content"))
    text = _require_text(content)
    spans, access = _dict(content.get("annotations")), _dict(_dict(content.get("source")).get("oainfo"))
    sections, broken = _cut_sections(text, _read_spans(spans, "sectionheader"), _read_spans(spans, "paragraph"))
    title, abstract = (" ".join(_cut(text, _read_spans(spans, key))[0]) for key in ("title", "abstract"))
    return Paper(
        title,
        abstract,
        sections,
        _text(access.get("license")),
        _identify(_dict(row.get("externalids")), access.get("openaccessurl")),
        broken,
    )


def _read_pes2o(row: Mapping[str, object]) -> Paper:
    """Read a record of peS2o: title, abstract and paragraphs in one text, one per line, none of them marked."""
    text = _require_text(row)
    title, _, rest = text.partition("\n")
    paragraphs = [line.strip() for line in rest.split("\n") if line.strip()]
    fields = {"created": _text(row.get("created")), "origin": _text(row.get("source"))}
    return Paper(title.strip(), "", [("", paragraphs)], "", fields)


def _read_corpusid(row: Mapping[str, object]) -> int:
    value = row.get("corpusid", row.get("id"))  # peS2o calls it `id`
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise Drop("no corpusid")
    return value


def _require_text(holder: Mapping[str, object]) -> str:
    text = holder.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Drop("no text")
    return text


def _read_spans(annotations: Mapping[str, object], key: str) -> list[Span | None]:
    """Read the spans of one kind, in the order of the list; None for an item that is not a span. Raises Drop.

    The release writes each list as a JSON string, and offsets sometimes as strings.
    """
    value = annotations.get(key)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Drop("annotations are not JSON") from None
    if value is None:
        return []
    if not isinstance(value, list):
        raise Drop("annotations are not a list")
    return [_read_span(item) for item in value]


def _read_span(item: object) -> Span | None:
    try:
        start, end = (int(item[key]) for key in ("start", "end"))  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return None
    return Span(start, end)


def _cut(text: str, spans: Sequence[Span | None]) -> tuple[list[str], int]:
    """Return the texts of the spans, and how many spans lie outside the text."""
    valid = [span for span in spans if span and 0 <= span.start < span.end <= len(text)]
    pieces = [" ".join(text[span.start : span.end].split()) for span in valid]
    return [piece for piece in pieces if piece], len(spans) - len(valid)


def _cut_sections(
    text: str, headers: Sequence[Span | None], paragraphs: Sequence[Span | None]
) -> tuple[list[tuple[str, list[str]]], int]:
    """Group paragraphs under the header before them, and count the spans that are left out.

    A span is left out if it overlaps an earlier one or lies outside the text.
    """
    marked = [(s, is_header) for spans, is_header in ((headers, True), (paragraphs, False)) for s in spans]
    valid = sorted((s, h) for s, h in marked if s and 0 <= s.start < s.end <= len(text))
    sections: list[tuple[str, list[str]]] = []
    last_end = broken = 0
    for span, is_header in valid:
        if span.start < last_end:
            broken += 1
            continue
        last_end = span.end
        words = " ".join(text[span.start : span.end].split())
        if is_header:
            sections.append((words, []))
        elif words:
            sections = sections or [("", [])]
            sections[-1][1].append(words)
    return [s for s in sections if s[1]], broken + len(marked) - len(valid)


def _identify(external: Mapping[str, object], url: object) -> dict[str, object]:
    identifiers = {key.casefold(): value for key, value in external.items() if isinstance(value, str | int)}
    kept = {
        "doi": identifiers.get("doi"),
        "arxiv": identifiers.get("arxiv"),
        "url": url if isinstance(url, str) else None,
    }
    return {key: value for key, value in kept.items() if value}


def _dict(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
