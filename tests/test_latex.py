"""Tests how LaTeX commands are restored after JSON turned their first letters into control characters."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.loop.checks.latex import find_control_character, restore, restore_text
from autodata.loop.parsing import ParseError, read_object, read_rubric, read_text, read_verdicts, repair_object

EATEN = [
    r"Give $\frac{\theta}{\nu}$ for all $\rho$.",
    r"$\beta \times \tau \neq \nabla f$",
    r"the limit \(\bar{x} \to \infty\) exists",
    r"$$\begin{pmatrix} \tan x & \text{if } \top \end{pmatrix}$$",
    r"\[\not\in \forall n \ni \ne \neg \right) \rangle\]",
    r"Outside mathematics: \textbf{yes}, \theta, \frac12, \rightarrow, \nabla.",
    r"$x \binom{n}{r} \bigl( \boldsymbol{b} \rfloor \nu_i$",
    r"$a \nless b$, \(l \nparallel m\), $p \nmid n$ and $E = h\nu$",
    r"$$f(x) \ne 0 \text{ where it is}$$",
]
LINES = [
    "First line.\nnot so, said the line.",
    "A list:\ni) one\nii) two\nu = 3\ne.g. this\num, yes\neg this",
    "a solution that\nexists for all n",
    "column\tan apple\to the shelf\tea",
    "if a:\n\treturn b\n\ttext = c\n\ntotal",
    "It costs $5 and\tan extra $",
    "A formula $a\nb$ over two lines, $x\n+ y$ as well.",
    "no control characters at all",
    "Which policy uses\nless memory?",
    "lines that are\nparallel, of\nmid size,\nsim and\nsucc",
    "It costs $p and uses\nless memory than $q do",
    r"$$" "\n" r"i\hbar \partial_t \psi = H\psi$$",
    "$$\ne^{-x}$$ and $f =\ne^{-x}$ and \\[\nu = 3\\]",
    "$$\\begin{aligned} a &= b \\\\\nu &= 3 \\end{aligned}$$",
    "$$x = 1,\n\tu = 3$$",
]


@pytest.mark.parametrize("text", EATEN)
def test_commands_written_with_one_backslash_are_restored(text):
    reply = '{"question": "' + text + '"}'
    try:
        read = read_object(reply)
    except ParseError:
        read = repair_object(reply)
    assert read["question"] == text
    assert read_object(json.dumps({"question": text}))["question"] == text


@pytest.mark.parametrize("text", LINES)
def test_lines_and_columns_stay_as_they_are(text):
    assert restore_text(text) == text


@given(st.text())
def test_what_json_kept_is_left_alone_however_often_it_is_restored(text):
    once = restore_text(text)
    assert restore_text(once) == once
    clean = "".join(" " if c in "\b\f\n\r\t" else c for c in text)
    assert restore_text(clean) == clean


def test_every_text_of_a_reply_is_restored():
    eaten, whole = "$\x0crac12$", r"$\frac12$"
    rubric = {"rubric": [{"criterion": f"States {eaten}", "weight": 3, "category": "positive"}]}
    verdicts = {"verdicts": [{"criterion": 1, "reason": f"It says {eaten}", "met": True}]}
    assert read_rubric(read_object(json.dumps(rubric)))[0].text == f"States {whole}"
    assert read_verdicts(read_object(json.dumps(verdicts)), 1)[1] == f"It says {whole}"
    assert restore({"a": [eaten, 1, None, {"b": eaten}]}) == {"a": [whole, 1, None, {"b": whole}]}


@pytest.mark.parametrize("control", ["\x00", "\x07", "\x08", "\x0b", "\x0c", "\x1b", "\x7f"])
def test_a_control_character_that_remains_is_a_fault_of_the_candidate(control):
    with pytest.raises(
        ParseError, match=r"`question` has a control character .* a backslash of LaTeX is written twice"
    ):
        read_text({"question": f"Give{control} x"}, "question")
    assert find_control_character("tabs\tand\nlines\r\n") == ""
