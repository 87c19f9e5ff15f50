"""Restores the LaTeX commands that JSON turned into control characters, because their backslash was written once.

In JSON, `"\\frac"` with a single backslash is valid: it means a form feed and "rac". No schema can prevent this.
"""

import re
from collections.abc import Iterator

# The commands whose first letter makes an escape of JSON, by that letter.
_COMMANDS = {
    "b": "backslash bar because begin beta beth between bf bfseries bibitem big bigcap bigcirc bigcup bigg "
    "biggl biggm biggr bigl bigm bigodot bigoplus bigotimes bigr bigsqcup bigstar bigtriangledown "
    "bigtriangleup biguplus bigvee bigwedge binom blacksquare blacktriangle bm bmatrix bmod boldmath "
    "boldsymbol bot bowtie box boxed boxplus boxtimes bra braket breve bullet bumpeq",
    "f": "fallingdotseq fbox fint flat footnote footnotesize forall frac frak framebox frown",
    "n": "nLeftarrow nRightarrow nabla natural ncong ne nearrow neg neq newcommand newline nexists ngeq ngtr "
    "ni nleftarrow nleq nless nmid nobreak nolimits nonumber norm normalsize not notag notin nparallel "
    "nprec nrightarrow nsim nsubseteq nsucc nsupseteq ntriangleleft nu num nvdash nwarrow",
    "r": "rVert raisebox rang rangle rbrace rbrack rceil ref relax renewcommand rfloor rgroup rho right "
    "rightarrow rightarrowtail rightharpoondown rightharpoonup rightleftarrows rightleftharpoons "
    "rightrightarrows rightsquigarrow rightthreetimes risingdotseq rm rmfamily root rotatebox row rtimes "
    "rule rvert",
    "t": "tag tan tanh tau tbinom texorpdfstring text textbf textcolor textit textnormal textrm textsc textsf "
    "textsl textstyle textsubscript textsuperscript texttt textup tfrac therefore theta thick thickapprox "
    "thicksim thinspace tilde times tiny to top triangle triangledown triangleleft trianglelefteq "
    "triangleq triangleright trianglerighteq twoheadleftarrow twoheadrightarrow",
}
_CONTROL = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_EATEN = re.compile(r"[\b\f\n\r\t](?=([A-Za-z]+))")
_NAMES = {control: frozenset(_COMMANDS[letter].split()) for control, letter in _CONTROL.items()}
_DELIMITERS = re.compile(r"(?<!\\)\$\$?|\\[()\[\]]")
_ENDS_NONE = re.compile(r"(?<= )\$(?!\$)|\$(?=[0-9])")  # a price: no formula ends so
_SHORT = 2  # a rest of so few letters may stand behind a tab by itself, as in "\tan apple"
# Rests of commands that begin a line as words or names of their own: "uses\nless memory", "\ne.g.", "\nu = 3".
# These stand between two operands.
_RELATIONS = frozenset({"e", "eq", "i", "less", "parallel", "mid", "sim", "prec", "succ", "cong"})
_LINES = _RELATIONS | frozenset({"u", "eg", "um", "exists"})
_NO_WORDS = re.compile(r"(?:\\t|\t)ext\w{0,2}\{[^{}]*\}|\\[A-Za-z]+|[\b\f\n\r\t][A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{3}")
_ENDED_LINE = re.compile(r"\\\\\s*\n")
_FIRST_LINE = re.compile(rf" *\n(?:{'|'.join(_LINES)})(?![A-Za-z])")
_OPERAND = re.compile(r"[\w)\]}|']$")
_FAULTY = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
BACKSLASHES = "in JSON a backslash of LaTeX is written twice: \\\\frac"


def restore(value: object) -> object:
    """Restore the commands in all texts of a JSON value."""
    if isinstance(value, str):
        return restore_text(value)
    if isinstance(value, list):
        return [restore(item) for item in value]
    return {key: restore(item) for key, item in value.items()} if isinstance(value, dict) else value


def restore_text(text: str) -> str:
    """Put a backslash and a letter where a control character stands before letters that make a command with it.

    A line break or tab is restored only if that is certain: before the rest of a command that is no word, or inside a
    formula on one line, where a line break makes no sense.
    """
    eaten = list(_EATEN.finditer(text))
    if not eaten:
        return text
    formulas = list(_find_formulas(text))
    pieces, end = [], 0
    for match in eaten:
        at = match.start()
        formula = next(((start, stop) for start, stop in formulas if start <= at < stop), None)
        if _is_eaten(text, match, formula):
            pieces += [text[end:at], "\\" + _CONTROL[match[0]]]
            end = at + 1
    return "".join([*pieces, text[end:]])


def find_control_character(text: str) -> str:
    """Return the first control character that no text needs, as Python writes it, or an empty string."""
    match = _FAULTY.search(text)
    return repr(match[0])[1:-1] if match else ""


def _is_eaten(text: str, match: re.Match[str], formula: tuple[int, int] | None) -> bool:
    control, rest, at = match[0], match[1], match.start()
    is_command = _CONTROL[control] + rest in _NAMES[control]
    if control == "\n":
        return is_command and (rest not in _LINES or (formula is not None and _is_within(text, match, formula)))
    if control == "\t":
        # A tab at the beginning of a line indents it; elsewhere a tab before a letter has no use inside mathematics.
        return (is_command and len(rest) > _SHORT) or (formula is not None and text[at - 1] not in "\n\t")
    return is_command or formula is not None


def _is_within(text: str, match: re.Match[str], formula: tuple[int, int]) -> bool:
    """Return True if a line break stands where its formula has none, and where the command makes sense."""
    if match[1] in _RELATIONS:  # "$$\ne^{-x}" and "=\ne^{-x}" begin a line with a number
        before, after = text[formula[0] : match.start()].rstrip(), text[match.end(1) : formula[1]]
        if not _OPERAND.search(before) or after.startswith(("^", "_")):
            return False
    return _is_on_one_line(text, formula)


def _is_on_one_line(text: str, formula: tuple[int, int]) -> bool:
    """Return True for a formula without words whose line breaks all stand before rests of commands.

    A display usually begins on a line of its own.
    """
    body = text[formula[0] : formula[1]]
    if any("n" + rest not in _NAMES["\n"] for rest in re.findall(r"\n([A-Za-z]*)", body)):
        return False
    is_display = text[: formula[0]].endswith(("$$", "\\["))
    begins_a_line = is_display and _FIRST_LINE.match(body)
    return not (begins_a_line or _ENDED_LINE.search(body) or _WORD.search(_NO_WORDS.sub(" ", body)))


def _find_formulas(text: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each formula. One that never ends is none, as after a price in dollars."""
    opened: re.Match[str] | None = None
    for mark in _DELIMITERS.finditer(text):
        if opened is None:
            opened = mark if mark[0] in ("$", "$$", "\\(", "\\[") else None
        elif not _ENDS_NONE.match(text, mark.start()) and mark[0] == {"\\(": "\\)", "\\[": "\\]"}.get(
            opened[0], opened[0]
        ):
            yield opened.end(), mark.start()
            opened = None
