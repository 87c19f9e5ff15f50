"""Makes documents from S2ORC papers: the Semantic Scholar release, its older form, or peS2o (paper Sec. 3.1).

The texts come without year and field of study; `papers.py` joins those by corpusid.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from autodata.corpora.papers import Eligible
from autodata.corpora.record import Drop, Record, require_drawn, require_length
from autodata.recipes.corpora import S2orcFilters

COLLECTION_LICENCE = "odc-by"  # for S2ORC and peS2o as collections; each paper also has its own
_COMMON_WORDS = {"the", "of", "and", "to", "in", "a", "is", "that", "for", "with", "as", "are", "we", "on", "by"}
_COMMON_WORDS |= {"this", "be", "from", "an", "it", "which", "can"}


def parse(row: Mapping[str, object], filters: S2orcFilters, eligible: Eligible, one_in: int = 1) -> Record:
    """Make the document of a paper. Raises Drop; the check that most papers fail comes first."""
    read_paper = next((read for key, kind, read in _READERS if isinstance(row.get(key), kind)), None)
    if read_paper is None:
        raise Drop("no text")
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
    sections, broken = _cut_sections(_dict(row.get("body")), "section_header")
    identifiers = _identify(access.get("externalids"), access.get("url"))
    return Paper(_text(row.get("title")), "", sections, _text(access.get("license")), identifiers, broken)


def _read_v1(row: Mapping[str, object]) -> Paper:
    content = _dict(row.get("content"))
    access = _dict(_dict(content.get("source")).get("oainfo"))
    sections, broken = _cut_sections(content, "sectionheader")
    title, abstract = (_cut(content, key) for key in ("title", "abstract"))
    identifiers = _identify(row.get("externalids"), access.get("openaccessurl"))
    return Paper(title, abstract, sections, _text(access.get("license")), identifiers, broken)


def _read_pes2o(row: Mapping[str, object]) -> Paper:
    """Read a record of peS2o: title, abstract and paragraphs in one text, one per line, none of them marked."""
    text = _require_text(row)
    title, _, rest = text.partition("\n")
    paragraphs = [line.strip() for line in rest.split("\n") if line.strip()]
    fields = {"created": _text(row.get("created")), "origin": _text(row.get("source"))}
    return Paper(title.strip(), "", [("", paragraphs)], "", fields)


# The key and its type by which each form of a record is known, and the function that reads it.
_READERS = (("body", dict, _read_v2), ("content", dict, _read_v1), ("text", str, _read_pes2o))


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


def _read_spans(holder: Mapping[str, object], key: str) -> list[tuple[int, int] | None]:
    """Read start and end of each span of one kind, in the order of the list. Raises Drop.

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
    return [_read_span(item, length) for item in value]


def _read_span(item: object, length: int) -> tuple[int, int] | None:
    try:
        start, end = (int(item[key]) for key in ("start", "end"))  # type: ignore[index]
    except (TypeError, KeyError, ValueError, OverflowError):  # int(inf) overflows
        return None
    return (start, end) if 0 <= start < end <= length else None


def _cut(holder: Mapping[str, object], key: str) -> str:
    """Return the words in all spans of one kind."""
    text, spans = _require_text(holder), _read_spans(holder, key)
    return " ".join(word for span in spans if span for word in text[slice(*span)].split())


def _cut_sections(holder: Mapping[str, object], header: str) -> tuple[list[tuple[str, list[str]]], int]:
    """Group paragraphs under the header before them, and count the spans that are left out. Raises Drop.

    A span is left out if it overlaps an earlier one or lies outside the text.
    """
    text = _require_text(holder)
    marked = [(span, key == header) for key in (header, "paragraph") for span in _read_spans(holder, key)]
    valid = sorted((span, is_header) for span, is_header in marked if span)
    sections: list[tuple[str, list[str]]] = []
    last_end = broken = 0
    for (start, end), is_header in valid:
        if start < last_end:
            broken += 1
            continue
        last_end = end
        words = _text(text[start:end])
        if is_header:
            sections.append((words, []))
        elif words:
            sections = sections or [("", [])]
            sections[-1][1].append(words)
    return [s for s in sections if s[1]], broken + len(marked) - len(valid)


def _identify(external: object, url: object) -> dict[str, object]:
    names = {key.casefold(): value for key, value in _dict(external).items() if isinstance(value, str | int)}
    names["url"] = url if isinstance(url, str) else None
    return {key: names[key] for key in ("doi", "arxiv", "url") if names.get(key)}


def _dict(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
