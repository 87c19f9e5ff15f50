"""Compares a final answer with the reference by algebra where that is safe.

Algebra only ever says *equal*, and only about plain formulas that it cannot misread. The judge decides everything
else: names, phrases, units, equations, matrices, unevaluated integrals, products in another order.
"""

import re
from itertools import accumulate

from autodata.domains.science import symbolic
from autodata.domains.science.compare import is_right, normalize, unwrap
from autodata.domains.science.ordering import needs_commuting

MAX_FORMULA_CHARS = 300
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
    if is_right(reference, answer):
        return True
    pair = read_formulas(*(normalize(unwrap(text)) for text in (reference, answer)))
    return pair is not None and not needs_commuting(*pair) and await symbolic.CHECKER.is_equal(*pair)


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
