"""Finds the final answer in a solver's text, and compares it with the reference as far as text goes.

Exported environments take this file with them, as it is.
"""

import re

MAX_FINAL_CHARS = 4_000  # the judge sees no more of a final answer
_MARK = re.compile(r"final\s{1,5}answer[*_\s]{0,5}(?:is)?[*_\s]{0,5}:", re.IGNORECASE)
_WRAPS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"))
# Different spellings of the same notation.
_SPELLINGS = {
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), r"\frac"),
    "operatorname": r"\mathrm",
    "text": r"\mathrm",
    "textrm": r"\mathrm",
    "leq": r"\le",
    "geq": r"\ge",
    "neq": r"\ne",
    "rightarrow": r"\to",
    "lbrace": r"\{",
    "rbrace": r"\}",
}
_SAME = re.compile(rf"\\({'|'.join(_SPELLINGS)})(?![A-Za-z])")
_LOOKS = re.compile(r"\\(?:displaystyle|textstyle|limits|left|right|[bB]igg?[lr]?)(?![A-Za-z])\s*|\\!")
_SPACES = re.compile(r"\\[,;: ]|\\q?quad(?![A-Za-z])|~")
_FONT = re.compile(r"\\(mathrm|mathbb|mathcal|mathfrak|mathbf|sqrt)\s*([A-Za-z0-9])(?![A-Za-z0-9])")


def is_right(reference: str, answer: str) -> bool | None:
    """Return True if a final answer has the text of the reference; None means that algebra or a judge must decide."""
    reference, answer = (normalize(unwrap(text)) for text in (reference, answer))
    return True if reference and reference == answer else None


def read_answer(text: str) -> str:
    """Find the text after the last "Final answer:", else in the last box, else the last paragraph."""
    text = text.strip()
    marks = list(_MARK.finditer(text))
    tail = text[marks[-1].end() :].strip(" *_\n\t") if marks else ""
    paragraphs = tail.split("\n\n") if tail else text.split("\n\n")[::-1]
    answer = _find_boxed(tail or text) or next((p for p in paragraphs if p.strip()), "")
    return unwrap(answer[:MAX_FINAL_CHARS])


def normalize(text: str) -> str:
    """Write equal notation of LaTeX in one way: what only changes the look of a formula is dropped."""
    text = _LOOKS.sub("", text.replace("\N{MINUS SIGN}", "-"))
    text = _SPACES.sub(" ", _SAME.sub(lambda match: _SPELLINGS[match[1]], text))
    return " ".join(_FONT.sub(r"\\\1{\2}", text).split())


def unwrap(text: str) -> str:
    """Remove the math delimiters, the box and the full stop around a whole text."""
    text = text.strip().removesuffix(".").strip()
    for before, after in _WRAPS:
        inner = text[len(before) : -len(after)]
        if text.startswith(before) and text.endswith(after) and before not in inner and inner.strip():
            return unwrap(inner)
    boxed = _find_boxed(text)
    return boxed.strip() if boxed and text == rf"\boxed{{{boxed}}}" else text


def _find_boxed(text: str) -> str:
    """Return the content of the last \\boxed{…}; empty if it is missing or not closed."""
    start = text.rfind(r"\boxed{")
    depth = 0
    for at in range(start + len(r"\boxed"), len(text)) if start >= 0 else ():
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[start + len(r"\boxed{") : at]
    return ""
