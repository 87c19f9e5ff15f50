"""Tests every imitated behaviour of a provider: a call works, or ends with the message of the golden file."""

import pytest

from tests.helpers.provider_rows import KEY, ROWS, SECRET, meet, read_golden

pytestmark = pytest.mark.slow

GOLDEN = read_golden()


def test_every_behaviour_has_its_words():
    assert list(GOLDEN) == list(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_user_sees_what_the_golden_file_says(name, monkeypatch):
    monkeypatch.setenv(KEY, SECRET)
    assert meet(ROWS[name]) == GOLDEN[name]


def test_every_failure_names_something_to_change():
    keys = ("max_tokens", "sampling", "body", "structured_output", "tool_choice", "base_url", "api_key_env",
            "patience_s", "domain.", "credit", "quota", "parser", "models.", "document", "refuses this request",
            "access", "lists_models", "`model`", "https_proxy", "headers", ".endpoint", "timeout_s")  # fmt: skip
    for name, seen in GOLDEN.items():
        assert seen.startswith("works") or any(key in "".join(seen.split(";")[-2:]) for key in keys), name
        assert len(seen) < 700 and SECRET not in seen
