"""A scripted world for meta-optimisation, in which features of the prompts decide how often a question passes."""

import hashlib
import json
import random
import re

from tests.helpers.fake_server import Scripted, completion, count_verdicts
from tests.helpers.fake_world import World, candidate, quality, verdicts

# Features that an edit can plant, and their effect on the chance that a question passes.
FEATURES = {
    "Ask what only this paper shows.": 0.2,
    "Compare two numbers of the paper.": 0.15,
    "Any question will do.": -0.25,
    "Write in good English.": 0.0,
    "Think before you write.": 0.0,
}
POSITIVE_ONLY = 0.2  # a rubric without negative criteria
ANCHOR = "- It must stand on its own."
CRITERIA = 10


class MetaWorld(World):
    """Plays the `cs` domain with an analyser and an editor; a reply depends on its request alone, not on the order."""

    def __init__(self, base: float = 0.3, edits: tuple[dict, ...] = ()):
        super().__init__(["accepted"])
        self.base = base
        self.edits = edits  # the editor's edits, chosen by its seed; without any it plants features by chance

    def chance(self, prompt: str) -> float:
        """Return the true pass rate of a challenger's prompt."""
        planted = sum(effect for feature, effect in FEATURES.items() if feature in prompt)
        return min(1.0, max(0.0, self.base + planted + POSITIVE_ONLY * ("No negative criteria" in prompt)))

    def outcome(self, text: str) -> str:
        return "accepted" if int(re.findall(r"Candidate (\d+):", text)[-1]) % 2 else "too_easy"

    def _kind(self, body: dict) -> str:
        properties = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("properties", {})
        return "analyse" if "analysis" in properties else "edit" if "hypothesis" in properties else super()._kind(body)

    def _propose(self, body: dict) -> Scripted:
        prompt = str(body["messages"])
        number = int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % 1_000 * 2
        passes = random.Random(f"{body['seed']} {prompt}").random() < self.chance(prompt)
        rubric = [
            {"criterion": f"Step {n} of it", "weight": 5, "category": "positive"} for n in range(1, CRITERIA + 1)
        ]
        if "No negative criteria" not in prompt:
            rubric += [{"criterion": f"Error {n}", "weight": -5, "category": "negative"} for n in range(3)]
        return completion(json.dumps(candidate(number + passes, rubric=rubric)))

    def _verify(self, body: dict) -> Scripted:
        return completion(json.dumps(quality(True)))

    def _solve(self, body: dict) -> Scripted:
        if body["messages"][-1]["content"] == "Hello":
            return completion("Hello")
        passes = self.outcome(body["messages"][-1]["content"]) == "accepted"
        met = 8 if body["model"] == "strong" or not passes else 3
        return completion(f"An answer worth {met} points, seed {body['seed']}.")

    def _judge(self, body: dict) -> Scripted:
        text = body["messages"][-1]["content"]
        met = int(re.findall(r"worth (\d+) points", text)[-1])
        count = count_verdicts(body["response_format"]["json_schema"]["schema"])
        return completion(verdicts([n < met for n in range(count)]))

    def _analyse(self, body: dict) -> Scripted:
        return completion(json.dumps({"analysis": "The questions are too easy: nothing of the paper is needed."}))

    def _edit(self, body: dict) -> Scripted:
        if self.edits:
            return completion(json.dumps(self.edits[body["seed"] % len(self.edits)]))
        chance = random.Random(body["seed"])
        if chance.random() < 0.25:
            shape = {"items": [10, 15], "positive": [10, 15], "negative": [0, 0], "weight_at_most": 7}
            return completion(json.dumps({"hypothesis": "Negative criteria misfire.", "edits": [], "shape": shape}))
        return completion(json.dumps(plant(chance.choice(list(FEATURES)))))


def plant(feature: str) -> dict:
    """Return the edit that adds a line to the challenger's prompt."""
    edit = {"prompt": "challenger", "find": ANCHOR, "replace": f"{ANCHOR}\n- {feature}"}
    return {"hypothesis": f"It helps to say: {feature}", "edits": [edit]}
