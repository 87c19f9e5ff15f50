import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autodata.parsing import ParseError, read_object, read_verdicts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
GARBAGE = st.text() | st.text(alphabet='{}[]":,`\\ntrue1e9\n', max_size=60) | JSON.map(json.dumps)


def verdicts(*met):
    return [{"criterion": n, "reason": f"r{n}", "met": m} for n, m in enumerate(met, 1)]


def reply(listed):
    return json.dumps({"verdicts": listed})


@given(GARBAGE)
@example("{")
@example("```json\n{\n```")
@example('{"verdicts": ' + "[" * 100_000)
@example('{"a":' * 100_000)
def test_garbage_raises_nothing_but_parse_error(text):
    for read in (read_object, lambda reply: read_verdicts(reply, 2)):
        try:
            read(text)
        except ParseError as error:
            assert str(error)


def test_an_endless_number_is_a_parse_error():
    try:
        read_object('{"criterion": ' + "1" * 5_000 + "}")
    except ParseError:
        return
    pytest.fail("an integer of 5000 digits was accepted")


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=5), JSON))
def test_an_object_is_found_alone_in_a_fence_and_between_sentences(value):
    text = json.dumps(value)
    assert read_object(text) == value
    assert read_object(f"Sure, here it is:\n```json\n{text}\n```\nAnything else?") == value
    assert read_object(f"```\n{text}\n```") == value
    assert read_object(f"My answer is {text}. That is all.") == value


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_reply_is_called_empty(text):
    with pytest.raises(ParseError, match="the reply is empty"):
        read_object(text)


@pytest.mark.parametrize("text", ["no braces", "[1, 2]", '"text"', "{'single': 1}", '{"cut": '])
def test_a_reply_without_an_object_says_so(text):
    with pytest.raises(ParseError, match="no JSON object in the reply"):
        read_object(text)


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.randoms())
def test_verdicts_come_in_the_order_of_their_numbers(met, chance):
    listed = verdicts(*met)
    chance.shuffle(listed)
    read, reasons = read_verdicts(reply(listed), len(met))
    assert read == tuple(met)
    assert reasons.splitlines() == [f"r{n}" for n in range(1, len(met) + 1)]


@given(st.lists(st.booleans(), min_size=2, max_size=6), st.data())
def test_a_missing_verdict_is_refused(met, data):
    listed = verdicts(*met)
    del listed[data.draw(st.integers(0, len(met) - 1))]
    with pytest.raises(ParseError, match=f"instead of 1 to {len(met)}"):
        read_verdicts(reply(listed), len(met))


@pytest.mark.parametrize("second", [True, False])
def test_a_duplicate_verdict_is_refused_even_when_it_agrees(second):
    listed = [*verdicts(True, True), {"criterion": 2, "met": second}]
    with pytest.raises(ParseError, match="criterion 2 was judged twice"):
        read_verdicts(reply(listed), 2)


@pytest.mark.parametrize(("number", "count"), [(0, 1), (-1, 1), (3, 2), (2, 1)])
def test_a_number_outside_the_rubric_is_refused(number, count):
    listed = [*verdicts(*[True] * (count - 1)), {"criterion": number, "met": True}]
    with pytest.raises(ParseError, match=f"instead of 1 to {count}"):
        read_verdicts(reply(listed), count)


@pytest.mark.parametrize(
    "verdict",
    [
        {"criterion": 1, "met": "true"},
        {"criterion": 1, "met": 1},
        {"criterion": 1, "met": None},
        {"criterion": 1},
        {"criterion": "1", "met": True},
        {"criterion": True, "met": True},
        {"criterion": 1.0, "met": True},
        {"met": True},
        "true",
        None,
        [],
    ],
)
def test_a_verdict_is_a_number_and_a_true_boolean(verdict):
    with pytest.raises(ParseError, match="not a verdict"):
        read_verdicts(reply([verdict]), 1)


@pytest.mark.parametrize("text", ["{}", '{"verdicts": {}}', '{"verdicts": null}', '{"score": 1}'])
def test_a_reply_without_the_list_is_refused(text):
    with pytest.raises(ParseError, match="no list `verdicts`"):
        read_verdicts(text, 1)


def test_a_reason_is_optional():
    assert read_verdicts(reply([{"criterion": 1, "met": False}]), 1) == ((False,), "")
