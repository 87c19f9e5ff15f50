"""Restores the LaTeX commands that JSON turned into control characters, because their backslash was written once.

In JSON, `"\\frac"` with a single backslash is valid: it means a form feed and "rac". No schema can prevent this.
"""

import re
from collections.abc import Iterator

# The commands whose first letter makes an escape of JSON, by that letter.
_COMMANDS = {
    "b": "backslash bar because begin beta beth between bf bfseries bibitem big bigcap bigcirc bigcup bigg biggl "
    "biggm "
    "biggr bigl bigm bigodot bigoplus bigotimes bigr bigsqcup bigstar bigtriangledown bigtriangleup biguplus bigvee "
    "bigwedge binom blacksquare blacktriangle bm bmatrix bmod boldmath boldsymbol bot bowtie box boxed boxplus "
    "boxtimes "
    "bra braket breve bullet bumpeq",
    "f": "fallingdotseq fbox fint flat footnote footnotesize forall frac frak framebox frown",
    "n": "nLeftarrow nRightarrow nabla natural ncong ne nearrow neg neq newcommand newline nexists ngeq ngtr ni "
    "nleftarrow "
    "nleq nless nmid nobreak nolimits nonumber norm normalsize not notag notin nparallel nprec nrightarrow nsim "
    "nsubseteq nsucc nsupseteq ntriangleleft nu num nvdash nwarrow",
    "r": "rVert raisebox rang rangle rbrace rbrack rceil ref relax renewcommand rfloor rgroup rho right rightarrow "
    "rightarrowtail rightharpoondown rightharpoonup rightleftarrows rightleftharpoons rightrightarrows "
    "rightsquigarrow rightthreetimes risingdotseq rm rmfamily root rotatebox row rtimes rule rvert",
    "t": "tag tan tanh tau tbinom texorpdfstring text textbf textcolor textit textnormal textrm textsc textsf textsl "
    "textstyle textsubscript textsuperscript texttt textup tfrac therefore theta thick thickapprox thicksim thinspace "
    "tilde times tiny to top triangle triangledown triangleleft trianglelefteq triangleq triangleright "
    "trianglerighteq twoheadleftarrow twoheadrightarrow",
}
_CONTROL = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_EATEN = re.compile(r"[\b\f\n\r\t](?=([A-Za-z]+))")
_NAMES = {control: frozenset(_COMMANDS[letter].split()) for control, letter in _CONTROL.items()}
_DELIMITERS = re.compile(r"(?<!\\)\$\$?|\\[()\[\]]")
_ENDS_NONE = re.compile(r"(?<= )\$(?!\$)|\$(?=[0-9])")  # a price: no formula ends so
_WORDS = frozenset({"exists"})  # rests of commands that begin a line as words of their own
_SHORT = 2  # a rest of so few letters may begin a line of its own, as in "\ni) first" or "\ne.g."
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

    A line break or tab is restored only if that is certain: inside mathematics, or before a long rest of a command.
    """
    eaten = list(_EATEN.finditer(text))
    if not eaten:
        return text
    formulas = list(_find_formulas(text))
    pieces, end = [], 0
    for match in eaten:
        at, control = match.start(), match[0]
        if _is_eaten(control, match[1], any(start <= at < stop for start, stop in formulas)):
            pieces += [text[end:at], "\\" + _CONTROL[control]]
            end = at + 1
    return "".join([*pieces, text[end:]])


def find_control_character(text: str) -> str:
    """Return the first control character that no text needs, as Python writes it, or an empty string."""
    match = _FAULTY.search(text)
    return repr(match[0])[1:-1] if match else ""


def _is_eaten(control: str, rest: str, in_formula: bool) -> bool:
    is_command = _CONTROL[control] + rest in _NAMES[control]
    if control in "\n\t":
        # A tab before a letter has no use inside mathematics, while a line may end there.
        return (in_formula and (is_command or control == "\t")) or (
            is_command and len(rest) > _SHORT and rest not in _WORDS
        )
    return is_command or in_formula


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
