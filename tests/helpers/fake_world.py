"""A scripted challenger, verifier, two solvers and judge that produce every kind of outcome on demand.

The n-th word of the plan is the outcome of a document's n-th candidate. The world knows the role of a request
by the model's name and by the form of the reply, not by words in the prompt.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from autodata.recipes.models import Endpoint, Models, RoleConfig, Sampling
from autodata.types import Role
from tests.helpers.fake_server import Scripted, completion, count_verdicts

WEIGHTS = tuple(range(1, 11))  # ten positive criteria; 55 points
# Points of weak and strong answers out of 55, and the verifier's leakage label.
OUTCOMES = {
    "leak": (0, 0),
    "too_easy": (44, 55),
    "no_better": (20, 28),
    "small_gap": (27, 36),
    "accepted": (16, 44),
    "deployed_only": (33, 50),
    "malformed": (0, 0),
}
BUDGET = Sampling(temperature=1.0, top_p=1.0, max_tokens=1024)
SERVES = {Role.WEAK_SOLVER: "weak", Role.STRONG_SOLVER: "strong"}


def models_of_world(url: str, **endpoint: object) -> Models:
    """Serve weak and strong solver under names of their own and all other roles as `fake`, by one server."""
    names = ("fake", "weak", "strong")
    shared = {"base_url": url, "retries": 0, "timeout_s": 10.0, "sampling": BUDGET}
    endpoints = {n: Endpoint(**{"model": n} | shared | endpoint) for n in names}
    return Models(endpoints, **{role.value: RoleConfig(SERVES.get(role, "fake")) for role in Role})


def rubric(number: int) -> list[dict]:
    positive = [{"criterion": f"Step {w} of candidate {number}", "weight": w, "category": "positive"} for w in WEIGHTS]
    negative = [
        {"criterion": f"Error {n} of candidate {number}", "weight": -5, "category": "negative"} for n in range(3)
    ]
    return positive + negative


def candidate(number: int, **changes: object) -> dict:
    """Return the challenger's proposal number `number`."""
    return {
        "scratchpad": "thinking",
        "question_type": "prediction",
        "reasoning_skills": ["causality", "trade-offs"],
        "context": f"Setting {number}. " + "A cache admits objects and wears out through writes. " * 5,
        "question": f"Candidate {number}: which policy keeps more hits when bursts are short, and why?",
        "reference_answer": "Delay limits it.",
        "rubric": rubric(number),
    } | changes


def verdicts(met: Sequence[bool]) -> str:
    return json.dumps({"verdicts": [{"criterion": n, "reason": "r", "met": m} for n, m in enumerate(met, 1)]})


def quality(passes: bool) -> dict:
    def label(good: str, bad: str) -> dict:
        return {"reason": "because", "label": good if passes else bad}

    return {
        "leakage": label("NO_LEAKAGE", "LEAKS_ANSWER"),
        "question": label("GOOD", "GOOD"),
        "truth": label("SUPPORTED", "SUPPORTED"),
        "rubric": label("PASS", "PASS"),
        "type": label("CONSISTENT", "CONSISTENT"),
        "neutrality": label("NEUTRAL", "NEUTRAL"),
        "feedback": "look elsewhere",
    }


def choose_met(points: int) -> list[bool]:
    """Choose positive criteria that give exactly `points`."""
    met = [False] * len(WEIGHTS)
    for i in reversed(range(len(WEIGHTS))):
        if WEIGHTS[i] <= points:
            met[i], points = True, points - WEIGHTS[i]
    return met


class World:
    """Replies to every request of the `cs` domain. Each document goes through `plan`; its last word repeats."""

    def __init__(self, plan: Sequence[str], orchestrator: Callable[[dict, int], Scripted] | None = None):
        self.plan = plan
        self.orchestrator = orchestrator
        self.counts: Counter[str] = Counter()
        self._moves = 0
        self._proposed: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, body: dict, count: int) -> Scripted:
        kind = self._kind(body)
        with self._lock:
            self.counts[kind] += 1
        return getattr(self, f"_{kind}")(body)

    def outcome(self, text: str) -> str:
        number = int(re.findall(r"Candidate (\d+):", text)[-1])
        return self.plan[min(number, len(self.plan)) - 1]

    def _kind(self, body: dict) -> str:
        if "tools" in body:
            return "orchestrate"
        if "response_format" not in body:
            return "solve"
        properties = body["response_format"]["json_schema"]["schema"]["properties"]
        return "propose" if "scratchpad" in properties else "verify" if "leakage" in properties else "judge"

    def _propose(self, body: dict) -> Scripted:
        document = re.search(r"<paper-(\w+)>", str(body["messages"]))[1]
        with self._lock:
            number = self._proposed[document] = self._proposed.get(document, 0) + 1
        outcome = self.plan[min(number, len(self.plan)) - 1]
        return completion("no json here" if outcome == "malformed" else json.dumps(candidate(number)))

    def _verify(self, body: dict) -> Scripted:
        return completion(json.dumps(quality(self.outcome(body["messages"][-1]["content"]) != "leak")))

    def _solve(self, body: dict) -> Scripted:
        if body["messages"][-1]["content"] == "Hello":
            return completion("Hello")  # a probe
        points = OUTCOMES[self.outcome(body["messages"][-1]["content"])][body["model"] == "strong"]
        return completion(f"An answer worth {points} points, seed {body['seed']}.")

    def _judge(self, body: dict) -> Scripted:
        schema = body["response_format"]["json_schema"]["schema"]
        count = count_verdicts(schema)
        text = body["messages"][-1]["content"]
        met = choose_met(int(re.findall(r"worth (\d+) points", text)[-1])) + [False] * 3
        listed = [int(n) for n in re.findall(r"^\d+\. Step (\d+) of", text, re.MULTILINE)]
        return completion(verdicts([met[n - 1] for n in listed] + [False] * (count - len(listed))))

    def _orchestrate(self, body: dict) -> Scripted:
        with self._lock:
            self._moves += 1
            move = self._moves
        return self.orchestrator(body, move) if self.orchestrator else call(legal(body)[0])


def legal(body: dict) -> list[str]:
    """Read the moves that the prompt calls legal."""
    return re.search(r"Legal now: (.+)\.", body["messages"][-1]["content"])[1].split(", ")


def call(name: str, **arguments: object) -> Scripted:
    """Make a reply that calls one function."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return completion(None, "tool_calls", tool_calls=[{"id": "1", "type": "function", "function": function}])
