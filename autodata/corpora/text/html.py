"""Takes the text out of an HTML page, as Markdown headings and paragraphs."""

import re

from bs4 import BeautifulSoup, NavigableString, PageElement, Tag

from autodata.corpora.text.raised import write_raised

_CHARSET = re.compile(rb"<meta[^<>]{0,200}?charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE)
_HIDDEN = ("script", "style", "template", "noscript", "svg", "nav", "footer", "head")  # the page, not its text
_BLOCKS = (
    "address",
    "article",
    "aside",
    "blockquote",
    "dd",
    "div",
    "dl",
    "dt",
    "figure",
    "figcaption",
    "form",
    "header",
)
_BLOCKS += ("hr", "li", "main", "ol", "p", "pre", "section", "table", "tr", "ul")
_HEADINGS = {f"h{level}": f"{'#' * level} " for level in range(1, 7)}


def find_charset(page: bytes) -> str:
    """Return the encoding that a page states for itself, '' if it states none."""
    match = _CHARSET.search(page[:4_000])
    return match[1].decode("ascii").lower() if match else ""


def extract_text(page: str) -> str:
    """Return the text that a reader sees, without menus; paragraphs are separated by blank lines."""
    soup = BeautifulSoup(page, "html.parser")
    for tag in soup.find_all(_HIDDEN):
        tag.decompose()
    for string in soup.find_all(string=True):
        if type(string) is not NavigableString:  # a comment or a declaration
            string.extract()
        elif string.find_parent("pre") is None:
            string.replace_with(re.sub(r"\s+", " ", string))
    for tag in soup.find_all("sup"):
        before = tag.find_previous(string=True) or ""
        tag.replace_with(write_raised(str(before)[-80:], tag.get_text().strip()))
    for tag in soup.find_all(True):
        _mark(tag)
    lines = (line.rstrip() for line in soup.get_text().split("\n"))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    return re.sub(r"^ (?=\S)", "", text, flags=re.MULTILINE).strip()


def _mark(tag: Tag) -> None:
    """Write what a tag means into the text."""
    if tag.name == "br":
        _surround(tag, "", "\n")
    elif tag.name in _HEADINGS:
        _surround(tag, f"\n\n{_HEADINGS[tag.name]}", "\n\n")
    elif tag.name == "li":
        _surround(tag, "\n- ", "\n")
    elif tag.name in ("td", "th"):
        _surround(tag, "", " | ")
    elif tag.name in _BLOCKS:
        _surround(tag, "\n\n", "\n\n")


def _surround(tag: Tag, before: str, after: str) -> None:
    first: PageElement = NavigableString(before)
    tag.insert(0, first)
    tag.append(NavigableString(after))
