"""Tests which answers algebra calls equal and which it leaves to the judge, and that hostile text does no harm."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.domains.science import symbolic
from autodata.domains.science.compare import read_answer, unwrap
from autodata.domains.science.equivalence import is_equal, read_formulas

pytestmark = pytest.mark.slow


def equal(reference: str, answer: str) -> bool:
    return asyncio.run(is_equal(reference, answer))


EQUAL = [
    ("1/2", "0.5"),
    ("0.25", r"\frac{1}{4}"),
    (r"$\frac{x^2}{2}$", r"\(x^2/2\)"),
    ("a+b+c", "c + a + b"),
    (r"\{1, 2, x\}", r"\{x, 1, 2\}"),
    ("x = 5", "5."),
    ("$r = a/2$", r"r=\frac{a}{2}"),
    (r"\boxed{\frac12}", "$$0.5$$"),
    (r"\sin^2 x + \cos^2 x", "1"),
    ("x^{3}-1", "(x-1)(x^{2}+x+1)"),
    (r"\dfrac{x}{2}", r"\frac{x}{2}"),
    (r"\tfrac{x}{2}", "x/2"),
    (r"\frac{\delta}{2}", r"\delta/2"),
    (r"\left(\dfrac12\right)", "0.5"),
    (r"\mathrm{SL}_2(\mathbb Z)", r"\operatorname{SL}_2(\mathbb{Z})"),
    (r"x \geq \sqrt2", r"x\, \ge \sqrt{2}"),
    ("\N{MINUS SIGN}x", "-x"),
    (r"\hbar\omega/2", r"\frac{\omega\hbar}{2}"),
    ("The Klein  four-group", "The Klein four-group."),
    ("", ""),
]


@pytest.mark.parametrize(("reference", "answer"), EQUAL)
def test_equal_beyond_doubt(reference, answer):
    assert equal(reference, answer) == bool(reference)


DIFFERENT = [
    ("1/2", "1/3"),
    ("x^2", "x^3"),
    ("(1,2)", "(2,1)"),
    ("[1,2]", "(1,2)"),
    (r"\{1,2\}", r"\{1,3\}"),
    ("1/3", "0.333333"),
    ("n!", "n"),
    ("x_1", "x_2"),
    (r"\frac{1}{0}", "5"),
    ("0.5", "0.6"),
]


@pytest.mark.parametrize(("reference", "answer"), DIFFERENT)
def test_algebra_looks_and_does_not_call_it_equal(reference, answer):
    assert read_formulas(reference, answer)
    assert not equal(reference, answer)


# The library itself calls each of these equal, or could read it wrongly.
LEFT_TO_THE_JUDGE = {
    "names": ("Gauss's theorem", "Stokes's theorem in 3 dimensions"),
    "numbers inside phrases": ("the 3 groups of order 8", "the 3 fields"),
    "units": (r"\frac12 \mathrm{J}", r"\frac12 \mathrm{kg}"),
    "tiny numbers": (r"6.63\times10^{-34}", r"9.11\times10^{-31}"),
    "tiny fractions": (r"\pi \cdot 10^{-34}", r"\pi \cdot 10^{-31}"),
    "per cent": (r"50\%", "50"),
    "order of factors": ("AB", "BA"),
    "conjugation": ("aba^{-1}b^{-1}", "1"),
    "case": ("x", "X"),
    "case of Greek": (r"\Delta", r"\delta"),
    "primes": ("f'(x)", "f(x)"),
    "transposes": ("A^T", "A"),
    "orders of derivatives": ("x^{(n)}", "x^n"),
    "a function of 2": ("f(2)", "2f"),
    "an unevaluated integral": ("1/2", r"\int_0^1 x dx"),
    "an unevaluated sum": ("n(n+1)/2", r"\sum_{k=1}^n k"),
    "an undone derivative": ("2x", r"\frac{d}{dx}x^2"),
    "an undone derivative in display style": ("2x", r"\dfrac{d}{dx}x^2"),
    "a differential": ("d", "dx/x"),
    "a fraction without brackets": (r"\frac{x}{2}", "1/2x"),
    "an exponent without braces": ("2x", "x^12"),
    "other names": ("x=5", "y=5"),
    "equations": ("x^2=1", "x=1=1"),
    "lists": ("1,2", "2,1"),
    "double factorials": ("n!!", "(n!)!"),
    "powers of a programming language": ("x**2", "x^2"),
    "base of the logarithm": (r"\log 100", "2"),
    "scientific notation": ("1.2e8", "8+1.2e"),
    "Unicode": ("π/2", r"\pi/2"),
}


@pytest.mark.parametrize(("reference", "answer"), LEFT_TO_THE_JUDGE.values(), ids=LEFT_TO_THE_JUDGE)
def test_what_algebra_might_misread_is_left_to_the_judge(reference, answer):
    assert read_formulas(reference, answer) is None
    assert not equal(reference, answer)


# The symbols may be operators or matrices, whose products have an order.
COMMUTED = [
    (r"\sigma_x\sigma_y", r"\sigma_y\sigma_x"),
    ("pq-qp", "0"),
    ("ba+1", "ab+1"),
    ("(a+b)^2", "a^2+2ab+b^2"),
    (r"\left(a+b\right)^2", "a^2+2ab+b^2"),
    ("(a+b)(a-b)", "a^2-b^2"),
    ("e^{a+b}", "e^a e^b"),
    (r"\exp(a+b)", r"\exp(b)\exp(a)"),
    (r"\frac{1}{ab}", r"\frac{1}{a}\frac{1}{b}"),
    (r"1/(ab)", r"\frac{1}{a}\frac{1}{b}"),
    (r"\sqrt{ab}", r"\sqrt{a}\sqrt{b}"),
    ("aba", "a^2b"),
    (r"\frac{a}{b}", r"\frac{1}{b}a"),
]
ORDERED = [
    ("ab+1", "1+ab"),
    ("x(a+b)", "xb+xa"),
    ("(a+b)c", "ac+bc"),
    (r"\frac{\hbar\omega}{2}", r"\omega\hbar/2"),
    (r"\frac{a}{2b}", r"\frac{1}{2}\frac{a}{b}"),
    ("(x+1)^2", "x^2+2x+1"),
]


@pytest.mark.parametrize(("reference", "answer"), COMMUTED)
def test_equal_only_if_symbols_commute_is_left_to_the_judge(reference, answer):
    assert not equal(reference, answer)


@pytest.mark.parametrize(("reference", "answer"), ORDERED)
def test_products_in_the_same_order_are_compared_by_algebra(reference, answer):
    assert equal(reference, answer)


@pytest.fixture(autouse=True, scope="module")
def _impatient():
    """Starts one worker for the module, whose comparisons end after a second of CPU time."""
    checker, symbolic.CHECKER = symbolic.CHECKER, symbolic.Checker(cpu_seconds=1)
    yield
    symbolic.CHECKER.close()
    symbolic.CHECKER = checker


HOSTILE = {
    "a tower": "9^{9^{9^9}}",
    "a tower of Python": "9**9**9**9",
    "a large factorial": "99999999!",
    "100k characters": "x+" * 50_000,
    "100k letters": "x" * 100_000,
    "nul": "\x00",
    "deep brackets": "(" * 140 + "x" + ")" * 140,
    "deep braces": "{" * 50_000 + "x" + "}" * 50_000,
    "nested braces within the limit": "{" * 140 + "x" + "}" * 140,
    "unclosed": r"\frac{\frac{\sqrt{",
    "a lone surrogate": "\ud800",
    "boxes": r"\boxed{" * 20_000,
    "code": "__import__('os').system('exit 64')",
    "line breaks": "x\n\n" * 30_000,
    "marks": "final answer" + " " * 50_000,
}


SLOW = {"a tower", "a large factorial", "deep brackets", "nested braces within the limit"}  # until the limit ends them


@pytest.mark.parametrize(
    "text", [pytest.param(t, id=n, marks=pytest.mark.slow if n in SLOW else ()) for n, t in HOSTILE.items()]
)
def test_hostile_text_is_not_equal_and_the_next_question_is_answered(text):
    assert not equal("x^2/2", read_answer(text))
    assert not equal("x^2/2", text)
    assert equal("x^2/2", r"\frac{x^2}{2}")


def test_what_takes_too_much_is_undecided_and_costs_the_worker_nothing():
    assert read_formulas("9^{9^{9^9}}", "9^{9^{9^8}}")
    assert equal("1/2", "0.5")
    worker = symbolic.CHECKER._worker.pid
    assert not equal("9^{9^{9^9}}", "9^{9^{9^8}}")
    assert equal("1/3", "2/6")
    assert symbolic.CHECKER._worker.pid == worker


def test_a_worker_that_died_is_replaced():
    assert equal("1/2", "0.5")
    symbolic.CHECKER._worker.kill()
    symbolic.CHECKER._worker.wait()
    assert equal("1/2", "0.5")


def test_comparisons_from_other_event_loops_and_many_at_once():
    async def many():
        return await asyncio.gather(*(is_equal(f"{n}/2", f"{2 * n}/4") for n in range(1, 9)))

    assert asyncio.run(many()) == asyncio.run(many()) == [True] * 8


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text):
    final = read_answer(text)
    assert len(final) <= len(text)
    assert unwrap(final) is not None
    read_formulas("x", final)


FINALS = [
    ("So it follows.\n\nFinal answer: $x^2$", "x^2"),
    ("**Final answer:** $x$.", "x"),
    ("**Final Answer**: x", "x"),
    ("Final answer is: x", "x"),
    ("Final answer: 1\n\nNo, wait.\n\nFinal answer: 2", "2"),
    ("Final answer:\n\n$$x$$\n\nI hope this helps.", "x"),
    (r"Final answer: $\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
    (r"First \boxed{1}, then \boxed{a{b}c}.", "a{b}c"),
    ("Some thought.\n\nThe Klein group", "The Klein group"),
    ("Thus x.\n\nFinal answer:", "Final answer:"),
    ("$a$ and $b$", "$a$ and $b$"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "final"), FINALS)
def test_the_final_answer_is_found(text, final):
    assert read_answer(text) == final
