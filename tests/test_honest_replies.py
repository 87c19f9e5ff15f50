"""Reads replies that honest models give and a strict parser refuses; where one must be refused, it is told why."""

import json
import re
from collections.abc import Callable
from itertools import cycle

import pytest

from autodata.domains.cs import verifier
from autodata.domains.legal import extractor, loop_judge, writer
from autodata.domains.science.domain import read_decision
from autodata.loop.directing.calls import IllegalMove, read_call
from autodata.loop.parsing import ParseError, read_object, read_rubric, read_text, read_verdicts, repair_object, unwrap
from autodata.types import Candidate, Outcome, Reply
from tests.helpers.fake_world import candidate, quality
from tests.test_legal import EXTRACT, REVIEW, proposal


def read(text: str) -> dict:
    """Read a reply as the agents do."""
    try:
        return read_object(text)
    except ParseError:
        return repair_object(text)


def next_quote() -> Callable[[re.Match[str]], str]:
    """Return a function that writes opening and closing curly quotes in turn."""
    quotes = cycle("“”")
    return lambda match: next(quotes)


def weights_of_paper(record: dict) -> list[int]:
    return [c.weight for c in read_rubric(unwrap(record, "question"))]


def weights_of_law(record: dict) -> list[int]:
    return [c.weight for c in writer.read_candidate(unwrap(record, "question")).rubric]


def read_extract(record: dict) -> list[object]:
    extract = extractor.read_extract(record)
    return [extract["suitable_for_synthetic_question"], extract.get("issues"), extract.get("facts")]


def read_review(record: dict) -> str:
    return loop_judge.read_review(record, 15)["verdict"]


def read_screen(record: dict) -> tuple[bool, str]:
    return read_decision(record, "promising")


def read_move(record: dict) -> str:
    call = read_call(Reply(Outcome.ANSWERED, json.dumps(record), "", "stop", "m", 0, 0, 0.0), ("propose", "read"))
    return f"{call.name} {call.texts['instruction']}".strip()


PAPER, PAPER_WEIGHTS = candidate(1), [*range(1, 11), -5, -5, -5]
LAW, LAW_WEIGHTS = proposal(), [8] * 14 + [-5]
NUMBERED = {str(n): {k: v for k, v in item.items() if k != "number"} for n, item in enumerate(LAW["rubric"], 1)}
MINUS = [{**item, "weight": str(item["weight"]).replace("-", "−")} for item in LAW["rubric"]]
BARE = [{**item, "category": None, "weight_class": item["weight_class"].upper()} for item in LAW["rubric"]]
CLASSED = [{**item, "weight": f"{item['weight']} ({item['weight_class']})"} for item in LAW["rubric"]]
WORDED = [{**item, "weight": "Eight points" if item["weight"] > 0 else "minus five"} for item in LAW["rubric"]]
WRITTEN = json.dumps(LAW, indent=2).replace("Issue spotting", "Issue Spotting")
HIGH = {k: v for k, v in quality(True).items() if k != "feedback"}
FACTS = [True, EXTRACT["issues"], EXTRACT["facts"]]

READ = {
    "a paper's example under a name": (weights_of_paper, json.dumps({"example": PAPER}), PAPER_WEIGHTS),
    "a rubric under a name": (
        weights_of_paper,
        json.dumps(PAPER | {"rubric": {"items": PAPER["rubric"]}}),
        PAPER_WEIGHTS,
    ),
    "a draft in the thinking": (
        weights_of_paper,
        f'<think>{{"question": "?"}}</think>\n{json.dumps(PAPER)}',
        PAPER_WEIGHTS,
    ),
    "Python instead of JSON": (weights_of_paper, f"candidate = {PAPER!r}", PAPER_WEIGHTS),
    "a reference in paragraphs": (
        lambda record: read_text(record, "reference_answer"),
        json.dumps({"reference_answer": ["Delay limits it.", "Bursts do not."]}),
        "Delay limits it.\n\nBursts do not.",
    ),
    "criteria of the law by number": (weights_of_law, json.dumps(LAW | {"rubric": NUMBERED}), LAW_WEIGHTS),
    "a typographic minus": (weights_of_law, json.dumps(LAW | {"rubric": MINUS}, ensure_ascii=False), LAW_WEIGHTS),
    "a class beside the weight": (weights_of_law, json.dumps(LAW | {"rubric": CLASSED}), LAW_WEIGHTS),
    "weights in words": (weights_of_law, json.dumps(LAW | {"rubric": WORDED}), LAW_WEIGHTS),
    "curly quotes throughout": (weights_of_paper, re.sub('"', next_quote(), json.dumps(PAPER)), PAPER_WEIGHTS),
    "curly quotes around one key": (
        weights_of_paper,
        json.dumps(PAPER).replace('"question"', "“question”"),
        PAPER_WEIGHTS,
    ),
    "a remark after the object": (
        weights_of_paper,
        f'{json.dumps(PAPER)}\nCheck: {{"weak": 0.3, "strong": 0.7}}',
        PAPER_WEIGHTS,
    ),
    "a rubric that is JSON once more": (
        weights_of_paper,
        json.dumps(PAPER | {"rubric": json.dumps(PAPER["rubric"])}),
        PAPER_WEIGHTS,
    ),
    "verdicts without objects": (
        lambda record: read_verdicts(record, 2)[0],
        '{"verdicts": {"1": true, "Criterion 2": "N"}}',
        (True, False),
    ),
    "verdicts with the criterion's text": (
        lambda record: read_verdicts(record, 2)[0],
        '{"verdicts": [{"criterion": "1. States X", "met": true}, {"number": 2, "met": "Not-met."}]}',
        (True, False),
    ),
    "categories left to the class": (weights_of_law, json.dumps(LAW | {"rubric": BARE}), LAW_WEIGHTS),
    "a fence, a comment and a comma too many": (
        weights_of_law,
        f"```jsonc\n// the task\n{WRITTEN[:-1].rstrip()},\n}}\n```",
        LAW_WEIGHTS,
    ),
    "an extract with yes": (read_extract, json.dumps(EXTRACT | {"suitable_for_synthetic_question": "Yes"}), FACTS),
    "an extract with one issue as text": (read_extract, json.dumps(EXTRACT | {"issues": EXTRACT["issues"][0]}), FACTS),
    "facts in paragraphs": (read_extract, json.dumps(EXTRACT | {"facts": ["a", "b"]}), [*FACTS[:2], "a\n\nb"]),
    "a review in bold": (read_review, f"My review:\n\n{json.dumps(REVIEW | {'verdict': '**Accept.**'})}", "accept"),
    "no concerns in words": (read_review, json.dumps(REVIEW | {"rubric_concerns": "None."}), "accept"),
    "a screen that says yes": (
        read_screen,
        '{"own_answer": "$x$", "reason": "They agree.", "promising": "yes"}',
        (True, "own answer: $x$; They agree."),
    ),
    "a screen without a reason": (read_screen, '{"promising": "False", "reason": null}', (False, "")),
    "an equivalence with 0": (lambda record: read_decision(record, "equivalent")[0], '{"equivalent": 0}', False),
    "labels in prose": (
        lambda record: verifier.read_quality(record, Candidate("q", "", ())).passed,
        json.dumps(
            {name: {**check, "label": check["label"].replace("_", " ").lower() + "."} for name, check in HIGH.items()}
        ),
        True,
    ),
    "labels alone": (
        lambda record: verifier.read_quality(record, Candidate("q", "", ())).passed,
        json.dumps({name: check["label"] for name, check in HIGH.items()}),
        True,
    ),
    "verdicts as words by number": (
        lambda record: read_verdicts(record, 2)[0],
        '{"verdicts": {"1": {"met": "yes"}, "2": {"met": "not met"}}}',
        (True, False),
    ),
    "a call as servers write it": (
        read_move,
        json.dumps(
            {"tool_calls": [{"function": {"name": "propose", "arguments": '{"instruction": "Ask of wear."}'}}]}
        ),
        "propose Ask of wear.",
    ),
    "a call with a prefix and a list": (
        read_move,
        '{"tool": "functions.propose", "parameters": {"instruction": ["Ask of wear.", "Not of hits."]}}',
        "propose Ask of wear.\nNot of hits.",
    ),
}


@pytest.mark.parametrize(("reader", "text", "meant"), READ.values(), ids=READ)
def test_an_honest_reply_is_read_as_it_is_meant(reader, text, meant):
    assert reader(read(text)) == meant


def change(item: int, **values: object) -> str:
    rubric = [dict(c) for c in LAW["rubric"]]
    rubric[item] |= values
    return json.dumps(LAW | {"rubric": rubric})


REFUSED = {
    "an apology": (weights_of_law, "I am sorry, but I cannot help with that.", "no JSON object in the reply"),
    "nothing": (weights_of_paper, "  ", "no JSON object in the reply"),
    "a weight without a number": (weights_of_law, change(2, weight="high"), "criterion 3: 'high' is not a whole"),
    "a weight of two numbers": (weights_of_law, change(2, weight="9/10"), "criterion 3: '9/10' is not a whole"),
    "half a point": (weights_of_law, change(4, weight=7.5), "criterion 5: '7.5' is not a whole number"),
    "a point in no class": (weights_of_law, change(0, weight=1), "criterion 1: weight 1 is in no class"),
    "the same criterion twice": (
        weights_of_law,
        change(1, criterion="states  point 1"),
        "the same criterion twice: states point 1",
    ),
    "criteria as a list of texts": (
        weights_of_law,
        json.dumps(LAW | {"rubric": ["States X"]}),
        "no list of criteria in `rubric`",
    ),
    "a question under another name": (
        weights_of_law,
        json.dumps({**LAW, "question": None, "prompt": "q"}),
        "no text in `question`",
    ),
    "a review without numbers": (
        read_review,
        json.dumps(REVIEW | {"weak_pattern": "good spread"}),
        "names no criterion by its number from 1 to 15",
    ),
    "a review that is torn": (
        read_review,
        json.dumps(REVIEW | {"verdict": "accept with changes"}),
        "not one of accept, improve",
    ),
    "an extract that doubts": (
        read_extract,
        json.dumps(EXTRACT | {"suitable_for_synthetic_question": "maybe"}),
        "is neither true nor false",
    ),
    "a screen that explains": (
        read_screen,
        '{"promising": "Yes, since both agree"}',
        "`promising` is not true or false",
    ),
    "a judge who divides": (
        lambda record: read_verdicts(record, 1),
        '{"verdicts": [{"criterion": 1, "met": "partially"}]}',
        "not a verdict",
    ),
    "a judge who skips": (
        lambda record: read_verdicts(record, 2),
        '{"verdicts": [{"criterion": 1, "met": true}]}',
        "instead of 1 to 2",
    ),
    "a verifier with a label of its own": (
        lambda record: verifier.read_quality(record, Candidate("q", "", ())),
        json.dumps(HIGH | {"rubric": {"reason": "r", "label": "MOSTLY_PASS"}}),
        "is none of PASS, FAIL",
    ),
    "a move that is none": (read_move, '{"name": "accept"}', "accept is not legal now; legal: propose, read"),
    "a plan without a move": (read_move, '{"plan": "go on"}', "no function is named in the reply"),
    "a section in words": (
        read_move,
        '{"name": "read", "arguments": {"section": "the second"}}',
        "read takes section: its number",
    ),
}


@pytest.mark.parametrize(("reader", "text", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_words_that_say_what_to_change(reader, text, words):
    with pytest.raises((ParseError, IllegalMove)) as refusal:
        reader(read(text))
    assert words in str(refusal.value)
