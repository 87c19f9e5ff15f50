"""Finds the final answer in a solver's text, and compares it with the reference by algebra where that is safe.

Algebra only ever says *equal*, and only about plain formulas that it cannot misread. The judge decides everything
else: names, phrases, units, equations, matrices, unevaluated integrals.
"""

import re
from itertools import accumulate

from autodata.domains.science import symbolic

MAX_FINAL_CHARS = 4_000  # the judge sees no more of a final answer
MAX_FORMULA_CHARS = 300
_MARK = re.compile(r"final\s{1,5}answer[*_\s]{0,5}(?:is)?[*_\s]{0,5}:", re.IGNORECASE)
_WRAPS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"))
_TOKEN = re.compile(r"\\[A-Za-z]+|\\[{},;! ]|[A-Za-z]+|[0-9]+(?:\.[0-9]+)?|[-+*/^_(){}\[\],|! ]")
_DECIMAL = re.compile(r"([0-9]+)\.([0-9]+)")
_NAMED = re.compile(r"([A-Za-z]|\\[A-Za-z]+)(_(?:[A-Za-z0-9]|\{[A-Za-z0-9]+\}))?\s*=(?!=)")
_GREEK = (
    "alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|varphi"
    "|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega"
)
_COMMAND = re.compile(
    rf"\\(?:{_GREEK}|frac|dfrac|tfrac|sqrt|cdot|left|right|infty|hbar|exp|ln"
    r"|sin|cos|tan|cot|sec|csc|sinh|cosh|tanh|arcsin|arccos|arctan)"
)
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
# The parser of formulas misreads these patterns; each was seen to give a false "equal".
_MISREAD = re.compile(
    r"[A-Za-df-z]\s*\^\s*\{?\s*-"  # f^{-1}, A^{-1}: an inverse, not a quotient
    r"|\^\s*\{?\s*[T(*]"  # the parser drops transposes and orders of derivatives
    r"|\^\s*-?[0-9]{2}|_\s*[0-9]{2}"  # x^12 may mean 12, or 1 and 2
    r"|[0-9}]\s*\^\s*\{\s*-?[0-9]{2}"  # 10^{-34}: rounding hides differences of such numbers
    r"|[0-9]\s*e\s*[-+]?[0-9]|\*\*|!!|'"
    r"|(?<!\\)\bd[a-z]|\{\s*d\s*[\^}]"  # derivatives repeat the question instead of answering it
    rf"|(?:[A-Zfgh]|\\(?:{_GREEK}))\s*(?:\\left\s*)?\("  # f(2) is not 2f
    r"|/\s*(?:[0-9.]+|[A-Za-z]|\\[A-Za-z]+|\([^()]*\))\s*[A-Za-z0-9({\\_]"  # 1/2x
)


async def is_equal(reference: str, answer: str) -> bool:
    """Return True if text or algebra leaves no doubt; False means that a judge has to decide."""
    reference, answer = (normalize(unwrap(text)) for text in (reference, answer))
    if reference and reference == answer:
        return True
    pair = read_formulas(reference, answer)
    return pair is not None and await symbolic.CHECKER.is_equal(*pair)


def normalize(text: str) -> str:
    """Write equal notation of LaTeX in one way: what only changes the look of a formula is dropped."""
    text = _LOOKS.sub("", text.replace("\N{MINUS SIGN}", "-"))
    text = _SPACES.sub(" ", _SAME.sub(lambda match: _SPELLINGS[match[1]], text))
    return " ".join(_FONT.sub(r"\\\1{\2}", text).split())


def find_final_answer(text: str) -> str:
    """Find the text after the last "Final answer:", else in the last box, else the last paragraph."""
    text = text.strip()
    marks = list(_MARK.finditer(text))
    tail = text[marks[-1].end() :].strip(" *_\n\t") if marks else ""
    paragraphs = tail.split("\n\n") if tail else text.split("\n\n")[::-1]
    answer = _find_boxed(tail or text) or next((p for p in paragraphs if p.strip()), "")
    return unwrap(answer[:MAX_FINAL_CHARS])


def unwrap(text: str) -> str:
    """Remove the math delimiters, the box and the full stop around a whole text."""
    text = text.strip().removesuffix(".").strip()
    for before, after in _WRAPS:
        inner = text[len(before) : -len(after)]
        if text.startswith(before) and text.endswith(after) and before not in inner and inner.strip():
            return unwrap(inner)
    boxed = _find_boxed(text)
    return boxed.strip() if boxed and text == rf"\boxed{{{boxed}}}" else text


def read_formulas(reference: str, answer: str) -> tuple[str, str] | None:
    """Prepare both texts for algebra, without a leading "x ="; None unless both are plain and comparable."""
    names = [_NAMED.match(text) for text in (reference, answer)]
    variables = {name.group(1, 2) for name in names if name}
    if len(variables) > 1:
        return None
    pairs = zip((reference, answer), names, strict=True)
    formulas = [(text[name.end() :] if name else text).strip() for text, name in pairs]
    tokens = [_read_tokens(formula) for formula in formulas]
    if not all(tokens) or _differ_in_case({token for some in tokens for token in some}):
        return None
    return _make_exact(formulas[0]), _make_exact(formulas[1])


def _read_tokens(formula: str) -> list[str]:
    """Split a plain formula into tokens; empty if it is not a plain formula."""
    if len(formula) > MAX_FORMULA_CHARS or _MISREAD.search(formula):
        return []
    tokens = _TOKEN.findall(formula)
    capitals = {t for t in tokens if len(t) == 1 and t.isupper()}  # two of them may be matrices, which do not commute
    is_plain = "".join(tokens) == formula and len(capitals) < 2 and all(map(_is_plain, tokens))
    return tokens if is_plain and not _has_bare_comma(tokens) else []


def _is_plain(token: str) -> bool:
    """Return True for a token that the parser of formulas reads as it is meant."""
    if token.startswith("\\") and len(token) > 2:
        return _COMMAND.fullmatch(token) is not None
    return not token.isalpha() or len(token) == 1 or (len(token) == 2 and token.islower())


def _has_bare_comma(tokens: list[str]) -> bool:
    """Return True for a list without brackets: it is unknown whether the order of its items counts."""
    depths = accumulate((token in ("(", "[", r"\{")) - (token in (")", "]", r"\}")) for token in tokens)
    return any(token == "," and depth == 0 for token, depth in zip(tokens, depths, strict=True))


def _differ_in_case(tokens: set[str]) -> bool:
    """Return True if a letter occurs in both cases: the parser of formulas takes x and X for the same."""
    letters = {c for token in tokens for c in ([token] if token.startswith("\\") else token)}
    return len({c.lower() for c in letters}) < len(letters)


def _make_exact(formula: str) -> str:
    """Write 0.5 as 5/10, because decimals would be compared to six places only."""
    return _DECIMAL.sub(lambda d: rf"\frac{{{int(d[1] + d[2])}}}{{1{'0' * len(d[2])}}}", formula)


def _find_boxed(text: str) -> str:
    """Return the content of the last \\boxed{…}; empty if it is missing or not closed."""
    start = text.rfind(r"\boxed{")
    depth = 0
    for at in range(start + len(r"\boxed"), len(text)) if start >= 0 else ():
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[start + len(r"\boxed{") : at]
    return ""
