"""Writes a paper as Markdown, whichever form its record had; numbered headings become a tree."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from autodata.corpora.record import Drop

UNCOVERED = "characters outside headings, paragraphs and formulas"  # the name of what is left out
_NUMBER = re.compile(
    r"((?:\d{1,2}|[IVX]{2,6})\.[A-Z](?:\.\d{1,2})?|(?:\d{1,2}|[A-Z])(?:\.\d{1,2}){0,5}|[IVX]{1,6})[.)]?(?:\s+(?=\S)|\Z)"
)
_BARE_LETTER = re.compile(r"[A-Z]\s")  # a number if the headings count on with B; or else a word, as in "A Novel Idea"
_ROMAN = re.compile(r"[IVX]+")


@dataclass
class Section:
    """A heading with its own paragraphs and formulas. The heading is empty for text before the first one."""

    heading: str = ""
    number: str = ""  # if it is not part of the heading
    depth: int = 1  # of a heading without a number
    blocks: list[str] = field(default_factory=list)

    def write_heading(self) -> str:
        number = self.number.strip().rstrip(".")
        has_number = re.match(
            rf"{re.escape(number)}(?![^\W_])", self.heading
        )  # "Intro" does not begin with the number I
        return self.heading if not number or has_number else f"{number} {self.heading}"


@dataclass
class Paper:
    """A paper, whichever form its record had."""

    title: str = ""
    abstract: str = ""
    sections: list[Section] = field(default_factory=list)
    licence: str = ""
    identifiers: dict[str, object] = field(default_factory=dict)
    broken_spans: int = 0
    uncovered: int = 0  # characters of the text that are in none of the parts above

    @property
    def changes(self) -> Mapping[str, int]:
        return {UNCOVERED: self.uncovered} if self.uncovered else {}

    def write(self) -> str:
        """Return the paper as Markdown: title, abstract, sections. Raises Drop if it has no paragraph."""
        if not any(section.blocks for section in self.sections):
            raise Drop("no paragraphs")
        parts = [f"# {self.title}"] if self.title else []
        parts += ["## Abstract", self.abstract] if self.abstract else []
        for section, level in zip(self.sections, find_levels(self.sections), strict=True):
            heading = section.write_heading()
            parts += [f"{'#' * (level + 1)} {heading}"] if heading else []
            parts += section.blocks
        return "\n\n".join(parts)

    def drop_empty_sections(self) -> None:
        """Leave out headings with neither text nor a section below them, and count their characters."""
        kept: list[Section] = []
        below = 0  # level of the section after the one that is looked at
        for section, level in reversed(list(zip(self.sections, find_levels(self.sections), strict=True))):
            if section.blocks or below > level:
                kept.insert(0, section)
                below = level
            else:
                self.uncovered += len("".join(section.heading.split()))
        self.sections = kept


def find_levels(sections: list[Section]) -> list[int]:
    """Return the level of each heading, from 1.

    "2" is above "2.1". Where Roman numbers occur, "II." is above "A." and that above "1)".
    """
    counts_letters = any(s.write_heading().startswith("B ") for s in sections)
    numbers = [_find_number(section, counts_letters=counts_letters) for section in sections]
    has_roman = any(_ROMAN.fullmatch(number) and len(number) > 1 for number in numbers)
    levels = (_find_level(number, has_roman) for number in numbers)
    return [level if number else s.depth for s, number, level in zip(sections, numbers, levels, strict=True)]


def _find_number(section: Section, *, counts_letters: bool) -> str:
    heading = section.write_heading()
    if _BARE_LETTER.match(heading) and not (section.number or counts_letters):
        return ""
    match = _NUMBER.match(heading)
    return match[1] if match else ""


def _find_level(number: str, has_roman: bool) -> int:
    if has_roman and number.isdecimal():
        return 3
    is_letter = len(number) == 1 and number.isalpha()
    if is_letter and has_roman and not _ROMAN.fullmatch(number):
        return 2
    return number.count(".") + 1
