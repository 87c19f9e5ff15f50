"""Makes the outline of a document: all of a short one; else its abstract, and each heading with its first sentence."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from autodata.loop.directing.recap import shorten

WHOLE_CHARS = 4_000  # a text without markup that is no longer is shown whole
ABSTRACT_CHARS = 1_500
SENTENCE_CHARS = 200
SHOWN_SECTIONS = 40
SECTION_CHARS = 6_000  # the most that is shown of one section
_PART_CHARS = 4_000  # a text without headings is cut into parts of about this length

_HEADING = re.compile(
    r"^[ \t]{0,3}(?:"
    # In LaTeX the text may begin on the line of its heading.
    r"\\(?:chapter|(?:sub){0,2}section|paragraph)\*?(?:\[[^\[\]\n]{0,150}\])?"
    r"\{(?P<latex>(?:[^{}\n]|\{[^{}\n]{0,80}\}){1,150})\}"
    r"|(?:#{1,6}[ \t]+(?P<markdown>\S[^\n]{0,150}?)[ \t#]*"
    r"|(?P<numbered>(?:\d{1,2}\.?|\d{1,2}(?:\.\d{1,2}){1,3}\.?|[IVX]{1,5}\.|[A-H]\.)[ \t]+[A-Z][^\n.!?]{2,80})"
    r"|(?P<named>(?:Abstract|ABSTRACT|Introduction|INTRODUCTION|Related [Ww]ork|Methods?|Results|Discussion"
    r"|Conclusions?|BACKGROUND|DISCUSSION|ANALYSIS|CONCLUSION|FACTS|OPINION)[ \t]*:?)"
    r")[ \t]*$)",
    re.MULTILINE,
)
_ABSTRACT = re.compile(r"\\begin\{abstract\}(.{1,20000}?)\\end\{abstract\}", re.DOTALL)
# What stands around the text of a paper in LaTeX, with its argument.
_FRONT_MATTER = re.compile(
    r"\\(?:documentclass|usepackage|author|orcid|orcidlink|affiliation|affil|address|institute|email|thanks|date|keywords|title"
    r"|ccsdesc|acm\w{1,30}|copyrightyear|setcopyright|bibliography(?:style)?|input|include|label|cite\w{0,6}|maketitle"
    r"|begin|end|vspace|hspace|includegraphics|newcommand|renewcommand|thispagestyle|pagestyle|graphicspath)\*?"
    r"(?:\[[^\[\]]{0,300}\])?(?:\{(?:[^{}]|\{[^{}]{0,300}\}){0,1000}\}){0,3}"
)
_IS_LATEX = re.compile(r"\\[A-Za-z]{3,20}\*?[\[{]")
_COMMENT = re.compile(r"(?<!\\)%[^\n]*")
_COMMAND = re.compile(r"\\(?:text\w{2}|emph|underline|mbox|section\*?|caption)\{([^{}]{0,2000})\}")
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)\]][.!?])\s")
_TITLE = re.compile(r"\\title\*?(?:\[[^\[\]]{0,300}\])?\{((?:[^{}]|\{[^{}]{0,100}\}){1,300})\}")


@dataclass(frozen=True)
class Section:
    heading: str
    text: str


@dataclass(frozen=True)
class Outline:
    """What an orchestrating model sees of a document. `sections` is empty if the text shows all of it."""

    text: str
    sections: tuple[Section, ...] = ()

    def read(self, number: int) -> str:
        """Return the beginning of section `number`, from 1. Raises LookupError."""
        if not 1 <= number <= len(self.sections):
            raise LookupError(f"there is no section {number}; the outline lists 1 to {len(self.sections)}")
        section = self.sections[number - 1]
        left_out = len(section.text) - SECTION_CHARS
        note = f"\n[the section goes on for {left_out:,} characters, which are not shown]" if left_out > 0 else ""
        return f"{number}. {section.heading}\n{section.text[:SECTION_CHARS]}{note}"


def make_outline(text: str) -> Outline:
    """Make the outline of a text in Markdown, LaTeX or neither."""
    plain = remove_markup(text)
    if len(plain) <= WHOLE_CHARS:
        return Outline(plain or text.strip()[:WHOLE_CHARS])
    title = _TITLE.search(text)
    abstract, every = _find_abstract(text), tuple(_cut(text))
    sections, more = every[:SHOWN_SECTIONS], len(every) - SHOWN_SECTIONS
    listed = [f"{n}. {shorten(s.heading, 100)}: {_first_sentence(s.text)}" for n, s in enumerate(sections, 1)]
    listed += [f"[{more} more sections are not listed and cannot be read]"] if more > 0 else []
    parts = [remove_markup(title[1]) if title else "", shorten(abstract, ABSTRACT_CHARS), "\n".join(listed)]
    return Outline("\n\n".join(filter(None, parts)), sections)


def remove_markup(text: str) -> str:
    """Remove what LaTeX puts around a text: front matter, citations, labels and comments."""
    if _IS_LATEX.search(text):
        text = _COMMAND.sub(r"\1", _FRONT_MATTER.sub("", _COMMENT.sub("", text))).replace("~", " ")
    return re.sub(r"\n[ \t]*(?:\n[ \t]*)+", "\n\n", text).strip()


def _find_abstract(text: str) -> str:
    """Find the abstract, or else the first paragraph of prose."""
    if marked := _ABSTRACT.search(text):
        return remove_markup(marked[1])
    for section in _cut(text):
        if section.heading.strip(" :").casefold() == "abstract":
            return section.text
    paragraphs = (" ".join(p.split()) for p in remove_markup(text).split("\n\n"))
    return next((p for p in paragraphs if len(p) >= SENTENCE_CHARS), "")


def _cut(text: str) -> Iterator[Section]:
    """Cut a text at its headings, or into parts of paragraphs if it has fewer than two."""
    headings = list(_HEADING.finditer(text))
    if len(headings) < 2:
        yield from _cut_paragraphs(remove_markup(text))
        return
    ends = [*(h.start() for h in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=True):
        body = remove_markup(text[heading.end() : end])
        if body:
            name = next(filter(None, heading.groupdict().values()))
            yield Section(remove_markup(name), body)


def _cut_paragraphs(text: str) -> Iterator[Section]:
    part: list[str] = []
    number = 1
    for paragraph in text.split("\n\n"):
        if part and sum(map(len, part)) + len(paragraph) > _PART_CHARS:
            yield Section(f"part {number}", "\n\n".join(part))
            part, number = [], number + 1
        part.append(paragraph)
    if part:
        yield Section(f"part {number}", "\n\n".join(part))


def _first_sentence(text: str) -> str:
    return shorten(_SENTENCE_END.split(" ".join(text[:2_000].split()), maxsplit=1)[0], SENTENCE_CHARS)
