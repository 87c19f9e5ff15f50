"""Stands in for vLLM's server in fault tests: same command line, and replies that depend on the request alone.

With it a server job is up in a second. The test of the undisturbed run uses the real one.
"""

import argparse
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
    if "'properties': {'met'" in str(body.get("response_format")):  # a probe
        return completion('{"met": true}')
    if "verdicts" in str(body.get("response_format")):
        return judge_by_hash(body, count)
    if body.get("tools"):
        name = body["tools"][0]["function"]["name"]
        call = {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
        return completion(None, "tool_calls", tool_calls=[call])
    return replace(play_skills(body, count), delay_s=float(os.environ.get("STAND_IN_DELAY_S", "0.05")))


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
