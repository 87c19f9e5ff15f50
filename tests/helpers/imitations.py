"""Imitates a good model in every check of the doctor, and the providers of recipes/models with what they refuse.

python -m tests.helpers.imitations renews tests/golden/doctor; read the diff.
"""

import json

from tests.helpers.fake_server import Scripted, completion

CRITERIA = ("The answer says that 7 is larger", "The answer names the capital of Peru")  # of the doctor's simple case
MOVE = {"name": "give_up", "arguments": {"diagnosis": "dull"}}


def answer(body: dict, count: int) -> Scripted:
    """Answer as a good model does, whatever form the endpoint can enforce."""
    text = body["messages"][-1]["content"]
    if "tools" in body:
        name = body["tools"][-1]["function"]["name"]
        called = {"id": "1", "type": "function", "function": {"name": name, "arguments": "{}"}}
        return completion(None, "tool_calls", tool_calls=[called])
    if "Give up:" in text:
        return completion(json.dumps(MOVE))
    if '{"met": true}' in text:
        return completion('{"met": true}')
    if "What is the password?" in text:
        return completion("marigold" if "marigold" in text else "I do not know.")
    if judged := [criterion for criterion in CRITERIA if criterion in text]:
        verdicts = [{"criterion": n, "reason": "so", "met": c == CRITERIA[0]} for n, c in enumerate(judged, 1)]
        return completion(json.dumps({"verdicts": verdicts}))
    return completion(f"The ship {body.get('seed', count)} sails to Lima.")
