"""Tests that a key is in the environment and in the header of a request, and nowhere else."""

import json

import pytest

from autodata.recipes.models import Endpoint
from autodata.serving.wire.connection import api_key
from autodata.serving.wire.failures import hide_key
from tests.helpers.fake_server import Scripted, completion, fake_server, play_skills
from tests.test_generate import arguments, run_main, write_documents

pytestmark = pytest.mark.slow

KEY = "sk-planted-0123456789abcdef"


def echo_in_errors(body, count):
    return Scripted({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status=401)


def echo_sometimes(body, count):
    if count % 5 == 0:
        return Scripted({"error": {"message": f"try later, {KEY}"}}, status=503, headers={"X-Key": KEY})
    return play_skills(body, count)


def echo_in_garbage(body, count):
    return Scripted({"key": KEY}) if count > 1 else completion("x")


def echo_in_replies(body, count):
    """Script a server that puts the key it received into its reply."""
    reply = play_skills(body, count).body
    reply["choices"][0]["message"]["content"] += f" Bearer {KEY}"
    return Scripted(reply | {"model": KEY})


@pytest.mark.parametrize("script", [echo_in_errors, echo_sometimes, echo_in_garbage, echo_in_replies])
def test_a_planted_key_is_in_no_file_and_in_no_output(tmp_path, monkeypatch, capsys, caplog, script):
    monkeypatch.setenv("PLANTED_KEY", KEY)
    write_documents(tmp_path / "docs", count=2)
    with fake_server(script) as server:
        args = arguments(
            tmp_path,
            server.url,
            "models.endpoints.small.api_key_env=PLANTED_KEY",
            "max_error_rate=1.0",
            "domain.max_rounds=2",
        )
        output = run_main(monkeypatch, capsys, args) + run_main(monkeypatch, capsys, args)
        assert server.request_headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in output + capsys.readouterr().err + caplog.text
    for path in (p for p in (tmp_path / "run").rglob("*") if p.is_file()):
        assert KEY.encode() not in path.read_bytes(), path
    if (tmp_path / "run" / "journal.sqlite").exists():
        assert KEY not in read_journal(tmp_path)


def read_journal(folder) -> str:
    from autodata.serving.journal import read_replies

    return json.dumps([reply.content + reply.model for reply, _ in read_replies(folder / "run" / "journal.sqlite")])


@pytest.mark.parametrize(("key", "is_hidden"), [("x", False), ("1234567", False), ("12345678", True)])
def test_a_key_too_short_to_be_secret_is_not_cut_out_of_ordinary_words(monkeypatch, caplog, key, is_hidden):
    monkeypatch.setenv("SHORT_KEY", key)
    endpoint = Endpoint("m", base_url="http://127.0.0.1:1/v1", api_key_env="SHORT_KEY")
    text = f"the context of {key} in an extract"
    assert (hide_key(text, endpoint) == text) != is_hidden
    assert api_key(endpoint) == key
    assert ("not hidden" in caplog.text) != is_hidden
