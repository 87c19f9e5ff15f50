"""Tests the parsers of replies: JSON objects, verdicts, and garbage."""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autodata.loop.parsing import (
    MAX_CHARS,
    ParseError,
    read_integer,
    read_object,
    read_rubric,
    read_text,
    read_texts,
    read_verdicts,
    repair_object,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
GARBAGE = st.text() | st.text(alphabet='{}[]":,`\\ntrue1e9\n', max_size=60) | JSON.map(json.dumps)


def verdicts(*met):
    return [{"criterion": n, "reason": f"r{n}", "met": m} for n, m in enumerate(met, 1)]


def reply(listed):
    return {"verdicts": listed}


@given(GARBAGE)
@example("{")
@example("```json\n{\n```")
@example('{"verdicts": ' + "[" * 100_000)
@example('{"a":' * 100_000)
def test_garbage_raises_nothing_but_parse_error(text):
    for read in (read_object, repair_object):
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
        {"criterion": 1, "met": "partly"},
        {"criterion": 1, "met": 2},
        {"criterion": 1, "met": 0.5},
        {"criterion": 1, "met": None},
        {"criterion": 1, "met": []},
        {"criterion": 1},
        {"criterion": "1.5", "met": True},
        {"criterion": "first", "met": True},
        {"criterion": True, "met": True},
        {"criterion": 1.5, "met": True},
        {"met": True},
        "true",
        None,
        [],
    ],
)
def test_a_verdict_without_a_number_or_a_clear_boolean_is_refused(verdict):
    with pytest.raises(ParseError, match="not a verdict"):
        read_verdicts(reply([verdict]), 1)


@pytest.mark.parametrize("number", [1, "1", 1.0, "1.0", "1.", "Criterion 1", "criterion 1:", "#1", " 1 "])
@pytest.mark.parametrize(
    ("met", "is_met"),
    [(True, True), ("true", True), ("True", True), (" yes ", True), ("met", True), (1, True), ("1", True), (1.0, True),
     (False, False), ("FALSE", False), ("no", False), ("not met", False), (0, False), ("0", False)],
)  # fmt: skip
def test_a_clear_verdict_is_read_however_a_model_writes_it(number, met, is_met):
    assert read_verdicts(reply([{"criterion": number, "met": met, "reason": None}]), 1) == ((is_met,), "")


def test_verdicts_by_number_are_read_as_a_list():
    by_number = {"1": {"reason": "a", "met": True}, "2": {"reason": "b", "met": "false"}}
    assert read_verdicts({"verdicts": by_number}, 2) == ((True, False), "a\nb")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('Draft: {"a": 1}\nFinal: {"a": 2}', {"a": 2}),
        ('In the form {x} or {scratchpad, …}: {"a": 1}', {"a": 1}),
        ('```json\n{"a": 1}\n```\nand then\n```json\n{"a": {"b": 2}}\n```', {"a": {"b": 2}}),
        ('{"a": 1} as in {"a": ', {"a": 1}),
        ('{"a": 1} {}', {"a": 1}),
        ('{"a": 1, "b": 2} Check: {"c": 3}', {"a": 1, "b": 2}),
        ('{"a": 1} Better: {"a": 1, "b": 2}', {"a": 1, "b": 2}),
        ('{"a": 1, "b": 2} Better: {"a": 3}', {"a": 3}),
        ("{}", {}),
    ],
)
def test_of_several_objects_the_last_whole_one_counts(text, value):
    assert read_object(text) == value


def test_a_part_of_a_broken_object_is_not_the_object():
    text = '{"rubric": [{"criterion": "c"}, {"criterion": "d"},], "question": "q",}'
    with pytest.raises(ParseError):
        read_object(text)
    assert repair_object(text) == {"rubric": [{"criterion": "c"}, {"criterion": "d"}], "question": "q"}
    assert repair_object('{“a”: "x", "b": \'y\'}') == {"a": "x", "b": "y"}
    for broken in ('{“a”: "x", "b": [{"c": 1}]}', "{'a': 'x', 'b': [{\"c\": 1}]}"):
        with pytest.raises(ParseError):
            read_object(broken)
        assert repair_object(broken) == {"a": "x", "b": [{"c": 1}]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("In Python {'x': 1} it is {\"a\": 2}", {"a": 2}),
        ("{'x': {'y': 'it is } here'}} and {“z”: “}”} and {\"a\": 2} or {'b': 3}", {"a": 2}),
        ("{'x': 'y } z', 'b': [{\"c\": 1}]}", None),
        ("{'x': 'it's } z', 'b': [{\"c\": 1}]}", None),
        ("{'x': 1} then {'x': [{\"c\": 1}]}", None),
        ("{“x”: “it’s”, 'b': [{\"c\": 1}]}", None),
    ],
)
def test_only_an_object_that_is_still_open_makes_what_follows_a_part(text, value):
    if value is None:
        with pytest.raises(ParseError):
            read_object(text)
    else:
        assert read_object(text) == value


def test_curly_quotes_inside_a_text_stay():
    assert repair_object('{“a”: “a “hit”, then a "miss"”, “b”: “x”}') == {"a": 'a “hit”, then a "miss"', "b": "x"}
    assert read_object('{"a": "the key “b”: a word"}') == {"a": "the key “b”: a word"}
    assert repair_object('{"a": "he said “go”, then left",}') == {"a": "he said “go”, then left"}


@pytest.mark.parametrize("text", ["{“a”: " + "“" * 50_000, "{“a”: " + "“x” " * 20_000, "{“a”: " + '"' * 50_000])
def test_hostile_quotes_take_no_time(text):
    for read in (read_object, repair_object):
        with suppress(ParseError):
            read(f'{text}{{"a": 1')


@pytest.mark.parametrize("text", ["{}", '{"verdicts": {}}', '{"verdicts": null}', '{"score": 1}'])
def test_a_reply_without_the_list_is_refused(text):
    with pytest.raises(ParseError, match="no list `verdicts`"):
        read_verdicts(json.loads(text), 1)


@pytest.mark.parametrize(("met", "is_met"), [("Yes.", True), ("**No**", False), ("Not met.", False), ("1.0", True)])
def test_a_boolean_may_be_a_word_with_marks(met, is_met):
    assert read_verdicts(reply([{"criterion": 1, "met": met}]), 1)[0] == (is_met,)


def test_a_reason_is_optional():
    assert read_verdicts(reply([{"criterion": 1, "met": False}]), 1) == ((False,), "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,}', {"a": 1}),
        ('{"a": "x" "b": 2}', {"a": "x", "b": 2}),
        ("Sure: {'a': 'it is'}", {"a": "it is"}),
        ('{"a": "one\ntwo"}', {"a": "one\ntwo"}),
    ],
)
def test_what_is_nearly_json_is_repaired(text, value):
    with pytest.raises(ParseError):
        read_object(text)
    assert repair_object(text) == value


@pytest.mark.parametrize("text", ["", "no object", "[1]", "{}", "{"])
def test_what_is_not_json_at_all_is_not_repaired(text):
    with pytest.raises(ParseError, match="no JSON object"):
        repair_object(text)


@pytest.mark.parametrize(
    ("value", "number"), [("+8", 8), (" -3 ", -3), ("−3", -3), ("–3", -3), (8.0, 8), (7, 7), ("0", 0), ("8.0", 8),
     ("eight", 8), ("Minus three", -3), ("—3", -3), ("- 3", -3), ("－３", -3), ("(5)", 5), ("**7**", 7),
     ("5 points", 5),
     ("9 (critical)", 9)],
)  # fmt: skip
def test_weights_as_models_write_them(value, number):
    assert read_integer(value) == number


@pytest.mark.parametrize("value", [
    "8.5", 8.5, "eleven", "high", "5/10", "5 or 6", "5 (of 10)", "points", True, None, "", "٣", "99999", [8],
    float("inf"), float("nan"),
])  # fmt: skip
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(ParseError, match="not a whole number"):
        read_integer(value)


def criterion(text="states X", weight=5, category="positive", **more):
    return {"criterion": text, "weight": weight, "category": category, **more}


def test_the_category_gives_the_sign():
    items = [criterion(), criterion("says Y", 4, "negative"), criterion("says Z", "-4", "negative", capability="law")]
    read = read_rubric({"rubric": items})
    assert [(c.weight, c.capability) for c in read] == [(5, ""), (-4, ""), (-4, "law")]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (None, "no list of criteria"),
        ("x", "no list of criteria"),
        (["x"], "no list of criteria"),
        ([], "no criterion of positive weight"),
        ([criterion(weight=3, category="negative")], "no criterion of positive weight"),
        ([criterion(), criterion(" States  x")], "the same criterion twice"),
        ([criterion(weight=0)], "weight 0"),
        ([criterion(weight=-2)], "weight -2 in category positive"),
        ([criterion(category="neutral")], "neither positive nor negative"),
        ([criterion(text=" ")], "no text in `criterion`"),
        ([criterion(text="x" * 2001)], "more than 2000"),
        ([{"weight": 5, "category": "positive"}], "no text in `criterion`"),
    ],
)
def test_a_rubric_that_is_none_is_refused(items, message):
    with pytest.raises(ParseError, match=message):
        read_rubric({"rubric": items})


def test_texts_are_bounded_and_not_blank():
    assert read_text({"a": " x y \n"}, "a") == "x y"
    assert read_text({"a": ["x", "y "]}, "a") == "x\n\ny"
    assert len(read_text({"a": "x" * MAX_CHARS}, "a")) == MAX_CHARS
    for value in (None, "", "  ", 3, [], ["x", 3], "x" * (MAX_CHARS + 1)):
        with pytest.raises(ParseError, match="`a`"):
            read_text({"a": value}, "a")


def test_lists_of_texts_lose_their_blanks():
    assert read_texts({"a": ["x", " ", " y"]}, "a") == ["x", "y"]
    assert read_texts({"a": " x "}, "a") == ["x"]
    for value in (None, 3, [1]):
        with pytest.raises(ParseError, match="not a list of texts"):
            read_texts({"a": value}, "a")
