"""Tests a search on real vLLM with the embedded model as challenger and solvers, killed half way and resumed.

The editor and the analyser are scripted, because this model cannot edit prompts and no mutant would be tried.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autodata.meta.search import ITERATIONS
from autodata.serving.journal import read_replies
from tests.helpers.fake_server import completion, fake_server

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
FIND = "The best question is hard but fair: a weak reader is right one time in four."
WORDS = ("Take a short passage.", "Take a passage with rare words.", "Take a skill about letters.")


def edit(body: dict, count: int):
    """Reply with an analysis, or with one of three edits of the challenger's prompt, by the seed."""
    if "hypothesis" not in str(body.get("response_format")):
        return completion(json.dumps({"analysis": "The questions are too easy or too hard."}))
    words = WORDS[body["seed"] % len(WORDS)]
    changed = {"prompt": "challenger", "find": FIND, "replace": f"{FIND}\n{words}"}
    return completion(json.dumps({"hypothesis": f"It helps to say: {words}", "edits": [changed]}))


def read_iterations(run: Path) -> list[dict]:
    path = run / ITERATIONS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def count_replies(run: Path) -> int:
    return sum(1 for _ in read_replies(run / "journal.sqlite"))


def test_a_search_is_killed_and_ends_as_if_it_had_not_been(server, tmp_path):
    run = tmp_path / "run"
    with fake_server(edit) as author:
        command = [
            sys.executable,
            "-m",
            "autodata.meta.optimize",
            "recipes/meta/skills.yaml",
            server,
            f"run={run}",
            "splits={training: 2, validation: 3, test: 2}",
            "minibatch=2",
            "iterations=5",
            "domain.max_rounds=1",
            "domain.weak_attempts=2",
            "domain.strong_attempts=2",
            "acceptance.rule=strict",
            "models.endpoints.author={model: fake, base_url: '" + author.url + "'}",
            "models.analyser.endpoint=author",
            "models.editor.endpoint=author",
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while len(read_iterations(run)) < 3:  # the baseline and two iterations
                assert process.poll() is None
                time.sleep(0.05)
            process.kill()
        stored = count_replies(run)
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout[-3000:]
    lines = read_iterations(run)
    assert sorted(line["iteration"] for line in lines) == list(range(6))
    decided = [line for line in lines[1:] if line["outcome"] in ("accept", "reject")]
    assert decided, "mutants were tried on the real model"
    assert all(len(line["trials"]) == 6 for line in decided)
    assert 0 < stored < count_replies(run)
    assert len(author.requests) <= 2 * 5 + 2, "at most what was under way in two iterations is asked twice"
    assert "validation" in done.stdout
