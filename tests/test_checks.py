"""Tests the checks in code: references to the source, repeats, leaks and rubrics that can be gamed."""

import json
from pathlib import Path

import pytest
import yaml

from autodata.domains.cs import verifier
from autodata.loop.checks.leaks import find_leaks, list_stated
from autodata.loop.checks.likeness import find_repeat
from autodata.loop.checks.lint import find_faults, lint
from autodata.loop.checks.sources import find_source_reference
from autodata.types import Candidate, Criterion, Failure, Round, Verdict
from tests.helpers import prompt_material as material
from tests.helpers.fake_server import completion
from tests.helpers.fake_world import World, candidate
from tests.test_cs import play

CRITERIA = yaml.safe_load((Path(__file__).parent / "golden" / "criteria.yaml").read_text(encoding="utf-8"))


def proposal(question="Why?", context="", reference="ref", criteria=("States that delay limits the gain",)):
    return Candidate(question, reference, tuple(Criterion(text, 5) for text in criteria), context)


@pytest.mark.parametrize("text", [
    "What do the authors propose?", "This paper uses a cache.", "The study finds a gain.", "In this work, we sort.",
    "In this work we sort.", "See Table 3.", "as in Section 4.1", "Table IV lists it.", "Fig. 2 shows", "Appendix B",
    "What does the article report?", "the article's main claim", "the paper's second experiment", "Sec. 3",
    "Equation 7 holds",
    "as reported in the appendix", "Theorem 2 states", "the present study", "these authors",
    'a method titled "Waiting"', "In Section 3 of the paper", "Table 2 of the original study",
    "Section 4.2 of the appendix", "Figure 4 of the full report",
])  # fmt: skip
def test_a_reference_to_the_source_is_found(text):
    assert find_source_reference(proposal(text))


@pytest.mark.parametrize("text", [
    "Which tuple of table R joins with table S?", "A reader opens an article; which rank does the article get?",
    "the article that a user clicked", "the article with the most links",
    "In this work queue, each worker steals from the back.",
    "In this work-stealing scheduler, who is idle?", "the authors of a package", "the paper tray is empty",
    "A venue assigns three reviewers to each paper. Which reviewer sees the paper first?", "the study participants",
    "Clients edit an article, and two versions of this article conflict.", "the section that holds the lock",
    "the figure of merit", "the appendix of the bus", "a table that I built", "Section headings are split",
    "A site shows the article that users read.", "The engine scans the table 10 times.",
    "As seen in practice, it fills.",
    "As stated in the contract, rent is due.", "The authors can edit their posts.", "The study room is full.",
    "In section 3 of the pipeline the stall counter rises.", "Section 12.1 of the beam carries the largest moment.",
    "Table 12 of the database is locked.", "Equation 2 of the system has no real root.",
    "A study of users runs for a week; the study ends early.", "Which article should be cached?",
])  # fmt: skip
def test_what_only_looks_like_a_reference_is_left(text):
    assert find_source_reference(proposal(text)) == ""


def failed(candidate, number=1):
    return Round(number, candidate, None, (), (), Verdict(False, Failure.TOO_EASY, ""))


RUBRIC = (
    "States that the admission delay limits the gain of the predictor",
    "Concludes that a shorter burst gives fewer hits per admission",
    "Predicts that a second predictor brings nothing for short bursts",
    "Proposes to admit only objects that are seen twice in a window",
)


@pytest.mark.parametrize(
    ("question", "criteria", "reason"),
    [
        ("Which policy keeps more hits when bursts are short?", RUBRIC, "the same question as in round 1"),
        ("which policy keeps more hits, when bursts are SHORT", RUBRIC[:1], "the same question as in round 1"),
        ("Which policy keeps more hits when the bursts are short?", ("A",), "nearly the same question as in round 1"),
        ("When is a learned policy worth its writes?", RUBRIC, "4 of 4 criteria as in round 1"),
        ("When is a learned policy worth its writes?", (*RUBRIC[:2], "States X", "States Y"), "2 of 4 criteria"),
        ("When is a learned policy worth its writes?", (*RUBRIC[:1], "States X", "States Y"), ""),
        ("Which policy keeps more hits when bursts last 4 seconds?", ("A",), ""),
    ],
)
def test_a_reworded_repeat_is_refused_with_its_reason(question, criteria, reason):
    earlier = failed(proposal("Which policy keeps more hits when bursts are short?", criteria=RUBRIC))
    found = find_repeat(proposal(question, criteria=criteria), [earlier])
    assert found.startswith(reason) and bool(found) == bool(reason)
    assert find_repeat(proposal(question, criteria=criteria), []) == ""


def test_another_number_is_another_case():
    earlier = failed(proposal("What holds for 4 replicas?", criteria=["States that 4 replicas suffice"]))
    assert (
        find_repeat(proposal("What holds for 5 replicas?", criteria=["States that 5 replicas suffice"]), [earlier])
        == ""
    )


def test_a_reworded_question_with_the_old_rubric_never_reaches_a_solver(journal):
    class Rewording(World):
        def _propose(self, body):
            number = self._proposed["x"] = self._proposed.get("x", 0) + 1
            questions = ("which policy keeps more hits?", "name the better admission rule for such a load.")
            return completion(json.dumps(candidate(1, question=f"Candidate 1: {questions[number - 1]}")))

    trajectory, server = play(journal, Rewording(["no_better"]), "domain.max_rounds=2")
    assert trajectory.rounds[1].verdict.failure is Failure.MALFORMED
    assert trajectory.rounds[1].verdict.reason.startswith("13 of 13 criteria as in round 1")
    assert sum(b["model"] in ("weak", "strong") for b in server.requests) == 6


SETUP = "Each of the forty servers keeps a queue of its own and never looks at the queue of another server."


def test_a_reference_that_restates_the_set_up_is_a_hint_and_the_answer_itself_a_fault():
    answer = f"{SETUP} " + "Hence one slow request delays all that wait behind it, while other servers are idle. " * 2
    faults, hints = find_leaks(proposal(context=f"{SETUP} Requests differ.", reference=answer))
    assert faults == []
    assert "each of the forty servers keeps a queue" in hints[0]
    faults, hints = find_leaks(proposal(context=f"Note: {answer}", reference=answer))
    assert (faults, hints) == (["the context contains the answer word for word"], [])


def test_criteria_that_the_context_states_in_other_words_are_found():
    context = "For short bursts the admission delay is what limits the gain of any predictor. Writes wear out flash."
    criteria = ("States that admission delay limits the gain of a predictor", "Proposes to admit objects seen twice")
    found = proposal(context=context, criteria=criteria)
    assert [c.text for c in list_stated(found)] == [criteria[0]]
    assert find_leaks(found)[1][0].endswith(criteria[0])  # half of the points is not most
    (fault,), _ = find_leaks(proposal(context=context, criteria=criteria[:1]))
    assert fault.startswith("the context states most of what the rubric asks for")


@pytest.mark.parametrize(
    ("sentence", "criterion"),
    [
        (
            "The operators assume a larger batch would increase the throughput of the writer.",
            "States that a larger batch does not increase the throughput of the writer",
        ),
        ("A larger batch never raised throughput of the writer.", "A larger batch raised throughput of the writer"),
        ("Whether the delay limits a learned predictor is open.", "States that the delay limits a learned predictor"),
    ],
)
def test_a_sentence_that_denies_or_supposes_a_criterion_is_only_a_hint(sentence, criterion):
    faults, hints = find_leaks(proposal(context=sentence, criteria=(criterion,)))
    assert faults == [] and hints[-1].endswith(criterion)
    stated = criterion.removeprefix("States that ")
    assert find_leaks(proposal(context=f"Here {stated}.", criteria=(criterion,)))[0]


FLAWED = {  # text, weight → a word of the problem
    ("Does not mention the delay", -5): "leaves out",
    ("Fails to explain why bursts matter", -5): "leaves out",
    ("The answer omits the role of writes", -5): "leaves out",
    ("No mention of the predictor", -3): "leaves out",
    ("Leaves eviction unmentioned", -5): "leaves out",
    ("Gives no reason for the rise", -5): "leaves out",
    ("Not mentioning the delay", -5): "leaves out",
    ("The response is silent on writes", -5): "leaves out",
    ("Omitting the predictor", -5): "leaves out",
    ("Answers the question correctly", 5): "does not say what is right",
    ("Solves the problem", 5): "does not say what is right",
    ("The role of the cache", 5): "names a topic",
    ("Trade-offs between latency and wear", 5): "names a topic",
    ("Gives the correct value", 5): "does not say what is right",
    ("Identifies the right cause", 5): "does not say what is right",
    ("Is correct", 5): "does not say what is right",
    ("Is well structured and concise", 5): "about form",
    ("Uses bullet points", 5): "about form",
    ("Explains the role of the cache", 5): "names a topic",
    ("Discusses trade-offs between latency and wear", 5): "names a topic",
    ("Demonstrates understanding of consensus", 5): "names a topic",
    ("States that reads slow down and proposes a larger batch", 5): "joins several claims",
    ("Identifies the delay and explains that bursts are short", 5): "joins several claims",
    ("Names at least two of the following: delay, wear, cost", 5): "joins several claims",
}
SOUND = [
    "States that the admission delay limits every policy under short bursts",
    "Concludes that a slow file which misses after an earlier hit is started last",
    "Explains that each write evicts a page that is read again",
    "Identifies delay, not accuracy, as the limit",
    "Names the order of writes as the cause",
    "Considers that the head is idle while a batch is sorted",
    "Predicts a smaller gain for reads",
    "Weighs flash wear against throughput",
    "States that reads and writes share one queue",
    "Derives the bound n log n for the number of probes",
    "Rejects more memory, because the working set already fits",
    "Step 3 of candidate 1",
    "The cost of a write is paid by the reader",
    "The cause of the stall is the admission delay",
    "Compares 8 ms of seeking with 2 ms of transfer",
]


@pytest.mark.parametrize(("criterion", "problem"), FLAWED.items(), ids=[text for text, _ in FLAWED])
def test_a_criterion_that_can_be_gamed_is_found(criterion, problem):
    (flaw,) = lint([Criterion(*criterion)])
    assert problem in str(flaw)


@pytest.mark.parametrize("text", SOUND)
def test_a_sound_criterion_is_left(text):
    assert lint([Criterion(text, 5)]) == []


@pytest.mark.parametrize(
    "text",
    [
        "Claims that more memory helps",
        "Says that caches do not wear out",
        "Says nothing changes",
        "Error 1 of candidate 2",
    ],
)
def test_a_sound_negative_criterion_is_left(text):
    assert lint([Criterion(text, -5)]) == []


@pytest.mark.parametrize(("kind", "weight"), [("positive", 5), ("negative", -5)])
def test_listed_criteria_that_can_be_gamed_are_found_and_sound_ones_left(kind, weight):
    gamed, sound = (
        lint([Criterion(text, weight) for text in CRITERIA[f"{name}_{kind}"]]) for name in ("gamed", "sound")
    )
    assert len(gamed) == len(CRITERIA[f"gamed_{kind}"]) and sound == []


@pytest.mark.parametrize(
    ("text", "is_certain"),
    [
        ("Ignores the friction and claims that energy is conserved", False),
        ("Ignores friction, treating the block as free", False),
        ("Ignores the heat loss, so the efficiency comes out above Carnot's", False),
        ("Omits the friction, assuming that energy is conserved", False),
        ("Neglects friction", False),  # a wrong model
        ("Neglects to mention friction", True),
        ("Omits the friction", True),
        ("Not stating the delay", True),
    ],
)
def test_an_omission_beside_a_wrong_claim_is_only_a_hint(text, is_certain):
    assert [flaw.is_certain for flaw in lint([Criterion(text, -5)])] == [is_certain]


@pytest.mark.parametrize(
    ("text", "is_said"),
    [
        ("Reaches the conclusion that the authors jointly own the copyright", True),
        ("Agrees with the client that the paper deed was signed", True),
        ("Agrees with the authors that caches wear out", True),
        ("Agrees with the authors", False),
        ("Reaches the conclusion that the authors reached", False),
        ("Matches the claim that the paper makes.", False),
    ],
)
def test_a_clause_says_what_is_right(text, is_said):
    assert [flaw.is_certain for flaw in lint([Criterion(text, 5)])] == ([] if is_said else [True])


def test_a_criterion_that_quotes_the_context_is_found():
    text = "States that every replica must answer before the leader may commit the entry"
    assert lint([Criterion(text, 5)], f"In this system {text[12:]}.")[0].is_certain
    assert lint([Criterion(text, 5)], "Replicas answer the leader.") == []


def test_a_claim_beside_words_of_the_set_up_is_only_a_hint():
    shown = "A flush of the cache must finish before the next one of them begins. What follows for reads?"
    quoted = "a flush of the cache must finish before the next one of them begins"
    claim = f"Concludes that reads wait for two turns of the disk whenever writes come in bursts, because {quoted}"
    found = [lint([Criterion(text, 5)], shown)[0] for text in (f"States that {quoted}", claim)]
    assert [flaw.is_certain for flaw in found] == [True, False]
    assert lint([Criterion(f"Claims that {quoted}", -5)], shown) == []


def test_a_certain_flaw_refuses_and_a_doubtful_one_only_where_it_concerns_much_of_the_rubric():
    topic, omission = Criterion("Explains the role of the cache", 3), Criterion("Does not mention wear", -1)
    for others, is_refused in ((6, False), (5, True)):
        rubric = [topic, Criterion("States that delay limits the gain", others)]
        assert bool(find_faults(rubric, lint(rubric))) == is_refused
    rubric = [topic, Criterion("States that delay limits the gain", 97), omission]
    assert len(find_faults(rubric, lint(rubric))) == 2  # all findings are told


def test_the_challenger_hears_of_every_finding_before_a_solver_is_paid(journal):
    items = candidate(1)["rubric"]
    items[0]["criterion"], items[12]["criterion"] = "Explains the role of the cache", "Does not mention wear"

    class Gaming(World):
        def _propose(self, body):
            return super()._propose(body) if "Failed the quality check" in str(body["messages"]) else completion(
                json.dumps(candidate(1, rubric=items)))  # fmt: skip

    trajectory, server = play(journal, Gaming(["accepted"]), "domain.max_rounds=2")
    assert (trajectory.rounds[0].verdict.failure, trajectory.rounds[0].weak) == (Failure.LOW_QUALITY, ())
    prompt = [b["messages"][-1]["content"] for b in server.requests if "scratchpad" in str(b.get("response_format"))][
        1
    ]
    assert "“Explains the role of the cache” names a topic" in prompt
    assert "“Does not mention wear” names what an answer leaves out" in prompt


def test_what_the_dataset_would_drop_is_refused_before_it_is_paid_for(journal):
    class Short(World):
        def _propose(self, body):
            return completion(
                json.dumps(candidate(1, context="x" * 199, question="Candidate 1: what does Figure 2 show?"))
            )

    trajectory, server = play(journal, Short(["accepted"]), "domain.max_rounds=1")
    (only,) = trajectory.rounds
    assert "the context has 199 characters; at least 200 are wanted" in only.verdict.reason
    assert "“Figure 2” refers to the source" in only.verdict.reason
    assert not any(b["model"] in ("weak", "strong") for b in server.requests)


def test_what_code_cannot_decide_is_shown_to_the_verifier(journal):
    class Doubtful(World):
        def _propose(self, body):
            context = candidate(1)["context"] + "Small models may answer such requests without the cache."
            return completion(json.dumps(candidate(1, context=context)))

    trajectory, server = play(journal, Doubtful(["accepted"]))
    (prompt, _) = [b["messages"][-1]["content"] for b in server.requests if "leakage" in str(b.get("response_format"))]
    assert "A program noticed the following" in prompt
    assert "“Small models may answer such requests without the cache.”" in prompt
    assert trajectory.accepted
    _, server = play(journal, World(["accepted"]), "seed=1")
    assert not any("A program noticed" in str(b["messages"]) for b in server.requests)


def test_the_verifier_sees_the_reference_answer(journal):
    _, server = play(journal, World(["accepted"]))
    prompts = [str(b["messages"]) for b in server.requests if "leakage" in str(b.get("response_format"))]
    assert all("Delay limits it." in p for p in prompts)


GOOD = {"leakage": "NO_LEAKAGE", "question": "GOOD", "truth": "SUPPORTED", "rubric": "PASS"}
GOOD |= {"type": "CONSISTENT", "neutrality": "NEUTRAL"}


@pytest.mark.parametrize(
    "write", [str.lower, str.title, lambda s: s.replace("_", " ").lower() + ".", lambda s: f" {s}\n"]
)
def test_labels_are_read_in_any_case(write):
    checks = {name: {"reason": "r", "label": write(label)} for name, label in GOOD.items()}
    quality = verifier.read_quality(checks, material.CS[0])
    assert quality.passed and quality.details["leakage"] == "NO_LEAKAGE"
    bare = {name: write(label) for name, label in GOOD.items()} | {
        "truth": write("CONTRADICTED"),
        "feedback": "look again",
    }
    assert verifier.read_quality(bare, material.CS[0]).reason == "CONTRADICTED look again"


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("What does this RFC demand of a client?", True),
        ("Why does the RFC forbid a second retry?", True),
        ("Which field would these internet-drafts add?", True),
        ("Why do the authors forbid a second retry?", True),
        ("An RFC says so. Why does the RFC forbid a second retry?", False),
        ("Why does this paper tray jam?", False),
        ("Why does a client wait?", False),
        ("Which RFCx is it?", False),
    ],
)
def test_a_domain_says_what_its_documents_are_called(text, is_found):
    words = ["RFC", "internet-draft", "internet-drafts"]
    assert bool(find_source_reference(proposal(text), words)) == is_found
    assert bool(find_source_reference(proposal("Why does this (a.b) matter?"), ["(a.b)"])) is False
