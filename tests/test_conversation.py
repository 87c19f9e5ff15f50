"""Replays the conversation on one document, in the forms in which real models answer: good, sloppy and cheating."""

import json

import pytest

from autodata.loop.orchestrator import orchestrate_by_agent
from autodata.loop.parsing import ParseError, read_object, read_rubric, read_verdicts, repair_object
from autodata.types import Failure
from tests.helpers.fake_server import completion
from tests.helpers.fake_world import World, candidate, choose_met, quality, rubric, verdicts
from tests.test_cs import play

GOOD = json.dumps(candidate(1))
MOVE = {"diagnosis": "All was in the context.", "instruction": "Ask about the ablation."}
LABELS = {"leakage": "No leakage", "question": "good", "truth": "supported.", "rubric": "Pass", "type": "consistent"}


def propose_as_text(name: str = "propose") -> str:
    return (
        "I would go on.\n```json\n" + json.dumps({"name": name, "arguments": MOVE}, indent=1) + "\n```\nThat is all."
    )


def write_rubric(**changes: object) -> str:
    return json.dumps({"rubric": [{**item, **changes} for item in rubric(1)]})


# Replies that an honest model gives and a strict parser refuses; each holds a whole rubric of thirteen criteria.
RUBRICS = {
    "in a fence": f"```json\n{GOOD}\n```",
    "in a fence without a name": f"```\n{GOOD}\n```",
    "text around it": f"Here is the example.\n\n{GOOD}\n\nI hope that it helps!",
    "a draft before it": f'First draft: {{"question": "no"}}\n\nFinal: {GOOD}',
    "braces in the thinking": f"The set {{a, b}} matters, and so does {{x}}.\n{GOOD}",
    "a trailing comma": GOOD[:-1] + ",}",
    "a trailing comma in a list": GOOD.replace("}]", "},]"),
    "curly quotes around a key": GOOD.replace('"context"', "“context”"),
    "a comment": GOOD.replace('"rubric":', '/* ten and three */ "rubric":'),
    "a line break in a text": GOOD.replace("wears out through", "wears out\nthrough"),
    "backslashes once": GOOD.replace("Delay limits it.", r"Delay limits $\alpha \sum x$."),
    "weights with a sign": GOOD.replace('"weight": 8', '"weight": "+8"'),
    "weights as decimals": GOOD.replace('"weight": 8', '"weight": 8.0'),
    "unsigned weights of mistakes": GOOD.replace('"weight": -5', '"weight": 5'),
    "categories in capitals": GOOD.replace('"positive"', '"Positive"').replace('"negative"', '" NEGATIVE"'),
    "categories left out": GOOD.replace(', "category": "positive"', "").replace(', "category": "negative"', ""),
}


@pytest.mark.parametrize("text", RUBRICS.values(), ids=RUBRICS)
def test_an_honest_proposal_is_read(text):
    try:
        record = read_object(text)
    except ParseError:
        record = repair_object(text)
    assert [c.weight for c in read_rubric(record)] == [*range(1, 11), -5, -5, -5]


VERDICTS = {
    "numbers as text": '{"verdicts": [{"criterion": "1", "met": true}, {"criterion": "2", "met": false}]}',
    "decimals": '{"verdicts": [{"criterion": 1.0, "met": 1}, {"criterion": 2.0, "met": 0}]}',
    "words": '{"verdicts": [{"criterion": "Criterion 1", "met": "yes"}, {"criterion": "Criterion 2", "met": "no"}]}',
    "an object": '{"verdicts": {"1": {"met": "true"}, "2": {"met": "false"}}}',
    "out of order": '{"verdicts": [{"criterion": 2, "met": false}, {"criterion": 1, "met": true}]}',
    "after thinking": 'Both {x}.\n{"verdicts": [{"criterion": 1, "met": "met"}, {"criterion": 2, "met": "not met"}]}',
}


@pytest.mark.parametrize("text", VERDICTS.values(), ids=VERDICTS)
def test_an_honest_judgement_is_read(text):
    assert read_verdicts(read_object(text), 2)[0] == (True, False)


# One conversation: what each role replies, in the order in which it is asked.
CONVERSATION = {
    "orchestrate": [
        completion("Let me think about this paper first."),  # refused: no call
        completion(propose_as_text("accept")),  # refused: not legal
        completion(propose_as_text("functions.propose")),
        completion(json.dumps({"instructions": "Ask about wear."})),
        completion(propose_as_text()),
        completion(json.dumps({"name": "propose", "arguments": None})),
        completion(propose_as_text()),
    ],
    "propose": [
        completion("I am sorry, but I cannot help with that."),
        completion(json.dumps(candidate(2, context=candidate(2)["context"] + "Small models may skip this question."))),
        completion(f"```json\n{json.dumps(candidate(3))[:-1]},}}\n```"),  # measured: too easy
        completion(json.dumps(candidate(3, question="Candidate 3: what else would you say of that rule?"))),
        completion("Draft: {}\n" + json.dumps(candidate(5))),
    ],
    "verify": [
        completion(json.dumps({**{n: {"label": w} for n, w in LABELS.items()}, "neutrality": "Neutral"})),
        completion(json.dumps(quality(True))),
        completion(json.dumps(quality(True))),
    ],
}


class Recorded(World):
    """Replies to challenger, verifier and orchestrator from the record; solvers and judge are the world's."""

    def __init__(self):
        super().__init__(["malformed", "leak", "too_easy", "malformed", "accepted"])
        self._left = {kind: list(replies) for kind, replies in CONVERSATION.items()}

    def _next(self, kind):
        with self._lock:
            return self._left[kind].pop(0)

    def _orchestrate(self, body):
        return self._next("orchestrate")

    def _propose(self, body):
        return self._next("propose")

    def _verify(self, body):
        return self._next("verify")

    def _judge(self, body):
        points = 44 if "worth 44 points" in str(body["messages"]) else 16
        met = choose_met(points) + [False] * 3
        by_word = {"verdicts": [{"criterion": f"{n}.", "met": str(m)} for n, m in enumerate(met, 1)]}
        return completion(json.dumps(by_word) if points == 16 else f"Here:\n{verdicts(met)}")


def test_one_conversation_is_read_and_refused_with_these_words(journal):
    trajectory, server = play(journal, Recorded(), how=orchestrate_by_agent)
    assert [r.verdict.failure for r in trajectory.rounds] == [
        Failure.MALFORMED,
        Failure.LOW_QUALITY,
        Failure.TOO_EASY,
        Failure.MALFORMED,
        None,
    ]
    reasons = [r.verdict.reason for r in trajectory.rounds]
    assert reasons[0] == "no JSON object in the reply"
    assert reasons[1] == "the text speaks of solvers or grading; it must only pose the problem"
    assert reasons[3].startswith("13 of 13 criteria as in round 3; an entirely new question")
    assert [r.instruction for r in trajectory.rounds] == [
        "Ask about the ablation.",
        "Ask about wear.",
        "Ask about the ablation.",
        "",
        "Ask about the ablation.",
    ]
    assert trajectory.refused[0].startswith("no function was called")
    assert trajectory.refused[1:] == ("accept is not legal now; legal: propose",)
    assert trajectory.orchestrator == "agent"
    prompts = [b["messages"][-1]["content"] for b in server.requests if World._kind(None, b) == "propose"]
    unusable = [p.partition("Your last reply could not be used")[2] for p in prompts]
    assert [bool(text) for text in unusable] == [False, True, False, False, True]
    assert "What the answers to the last measured question show" in prompts[3]
