"""Stands in for vLLM's server in fault tests: same command line, and replies that depend on the request alone.

With it a server job is up in a second. The test of the undisturbed run uses the real one.
"""

import argparse
import hashlib
import json
import os
import time
from dataclasses import replace

from tests.helpers import fake_server
from tests.helpers.fake_server import FakeServer, Scripted, completion, judge_by_hash, play_skills


def play(body: dict, count: int) -> Scripted:
    text = body["messages"][-1]["content"]
    if body.get("max_tokens") == 1:
        return completion("x")
    if "capital" in text:  # the canary
        time.sleep(0.05)
        return completion(os.environ.get("STAND_IN_CANARY", "Paris"))
    if "response_format" in body and (verdict := judge(body, count)):
        return verdict
    if body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        call = {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
        return completion(None, "tool_calls", tool_calls=[call])
    return replace(play_skills(body, count), delay_s=float(os.environ.get("STAND_IN_DELAY_S", "0.05")))


def judge(body: dict, count: int) -> Scripted | None:
    """Reply as a judge; None if the form of the reply is not that of a judge."""
    form, text = str(body["response_format"]), body["messages"][-1]["content"]
    if "'properties': {'met'" in form:  # a probe
        return completion('{"met": true}')
    if "criteria_met" in form:  # of a grader of PRBench; each model has verdicts of its own
        seen = hashlib.sha256(f"{body['model']} {text}".encode()).digest()[0]
        return completion(json.dumps({"explanation": "as the hash says", "criteria_met": seen % 2 == 1}))
    return judge_by_hash(body, count) if "verdicts" in form else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--served-model-name")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    arguments, _ = parser.parse_known_args()
    fake_server.NAMES = (arguments.served_model_name,)
    fake_server.ROOTS[arguments.served_model_name] = arguments.model
    print("Loading safetensors checkpoint shards: 100%", flush=True)
    FakeServer(play, arguments.port, os.environ["VLLM_API_KEY"]).serve_forever()


main()
