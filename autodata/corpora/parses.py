"""Reads parsed papers in the older forms: S2ORC up to 2020, the output of doc2json, and CORD-19."""

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile

from autodata.corpora.paper import Paper, Section

_NUMBER = re.compile(r"(?:\d{1,2}|[A-Z]|[IVX]{1,6})(?:\.\d{1,2}){0,5}\.?")
_TAG = re.compile(r"<[^<>]*>")
FORMS = ("pdf_parse", "grobid_parse", "latex_parse")  # in the order in which they are preferred


def is_paper(row: Mapping[str, object]) -> bool:
    """True for a record with a list of paragraphs, its own or that of a parse."""
    return isinstance(row.get("body_text"), list) or any(isinstance(row.get(key), dict) for key in FORMS)


def read(row: Mapping[str, object]) -> Paper:
    """Read a record for which `is_paper` is true."""
    parse, metadata = _find_parse(row), _dict(row.get("metadata"))
    title, licence = (_text(row.get(key)) or _text(metadata.get(key)) for key in ("title", "license"))
    abstract = _text(row.get("abstract")) or "\n\n".join(_list_texts(parse.get("abstract") or row.get("abstract")))
    figures = list(_dict(parse.get("ref_entries")).values())
    rest = [*_list_texts(parse.get("back_matter")), *_list_texts(figures), *map(_read_cells, _list(figures))]
    uncovered = sum(len("".join(text.split())) for text in rest)
    sections = _read_sections(parse.get("body_text"))
    paper = Paper(title, abstract, sections, licence, _identify(row, metadata), 0, uncovered)
    paper.drop_empty_sections()
    return paper


def _find_parse(row: Mapping[str, object]) -> Mapping[str, object]:
    """Return the first parse with a body, or else the record itself, as in S2ORC of 2020 and in CORD-19."""
    parses = [_dict(row.get(key)) for key in FORMS]
    return next((parse for parse in parses if parse.get("body_text")), row)


def _read_sections(body: object) -> list[Section]:
    """Group the paragraphs by their headings. A heading may have no paragraph of its own, only others below it."""
    sections: list[Section] = []
    path: list[tuple[str, str]] = []
    for paragraph in _list(body):
        *above, (heading, number) = _read_headings(paragraph.get("section")) or [("", "")]
        headings = [*above, (heading, _text(paragraph.get("sec_num")) or number)]
        known = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(headings, path, strict=False))))
        if not sections or headings != path:
            numbered = list(enumerate(headings, 1))[min(known, len(above)) :]
            sections += [Section(*heading, depth) for depth, heading in numbered]
        path = headings
        if text := _restore_formulas(paragraph):
            sections[-1].blocks.append(text)
    return sections


def _read_headings(section: object) -> list[tuple[str, str]]:
    """Return the headings above a paragraph with their numbers, the innermost last.

    Most parses have the innermost alone; others list all of them, each as text or as [number, text].
    """
    if not isinstance(section, list):
        return [(_text(section), "")]
    if len(section) == 2 and _NUMBER.fullmatch(_text(section[0])):
        return [(_text(section[1]), _text(section[0]))]
    return [heading for item in section for heading in _read_headings(item)]


def _read_cells(table: Mapping[str, object]) -> str:
    """Return what stands in a table, '' for a figure."""
    return _text(table.get("content")) or _TAG.sub(" ", _text(table.get("html")))


def _restore_formulas(paragraph: Mapping[str, object]) -> str:
    """Return the text of a paragraph, with each formula in the place of the word that stands for it."""
    text = paragraph.get("text")
    if not isinstance(text, str):
        return ""
    for span in sorted(_list(paragraph.get("eq_spans")), key=lambda s: str(s.get("start")).zfill(12), reverse=True):
        start, end = span.get("start"), span.get("end")
        formula = _text(span.get("latex")) or _text(span.get("raw_str"))
        if formula and isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text):
            text = f"{text[:start]}{formula}{text[end:]}"
    return _text(text)


def _identify(row: Mapping[str, object], metadata: Mapping[str, object]) -> dict[str, object]:
    names: dict[str, object] = {}
    for holder in (_dict(row.get("identifiers")), metadata, row):
        for key, name in (("doi", "doi"), ("arxiv_id", "arxiv"), ("arxiv", "arxiv"), ("url", "url")):
            value = holder.get(key)
            if value and isinstance(value, str):
                names[name] = value
    return names


def _list(value: object) -> Iterator[Mapping[str, object]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _list_texts(value: object) -> list[str]:
    return [text for item in _list(value) if (text := _text(item.get("text")))]


def _dict(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
