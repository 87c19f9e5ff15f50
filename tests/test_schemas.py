"""Tests every schema that the project sends: all strict modes accept it, and its prompt asks for JSON in words."""

import json
from collections.abc import Iterator

import pytest

from autodata.eval import question_types
from autodata.loop.agents import make_object, verdict_schema
from autodata.meta.genome import read_baseline
from autodata.meta.mutate import edit_schema
from autodata.serving.request import Request, make_strict
from tests.helpers import golden_prompts
from tests.helpers.golden_prompts import Recorder, load_domain

# The keywords that the strict modes of OpenAI, Azure and Anthropic all document as supported.
KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "description"}
MOST_PROPERTIES, MOST_LEVELS, MOST_VALUES = 100, 5, 500  # OpenAI's first limits; later models allow more


def record_all() -> list[Request]:
    """Make every request of every domain and role, of the editor of prompts, and of the benchmark's grader."""
    client = Recorder()
    for name in ("cs", "legal", "science", "skills", "meta", "eval"):
        getattr(golden_prompts, f"ask_{name}")(client)
    return client.requests


REQUESTS = record_all()
SCHEMAS = {json.dumps(r.schema): r.schema for r in REQUESTS if r.schema}
SCHEMAS |= {json.dumps(tool): tool["parameters"] for r in REQUESTS for tool in r.tools}
SCHEMAS |= {"question types": question_types._SCHEMA, "forty verdicts": verdict_schema(40)}
SCHEMAS |= {f"edit of {name}": edit_schema(read_baseline(load_domain(name, Recorder()).config))
            for name in ("cs", "legal", "science", "skills")}  # fmt: skip


def list_parts(schema: object, level: int = 0) -> Iterator[tuple[int, dict]]:
    """List a schema and every schema inside it, with its level of nesting."""
    assert isinstance(schema, dict)
    yield level, schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    for part in [*inner, *([schema["items"]] if "items" in schema else [])]:
        yield from list_parts(part, level + ("anyOf" not in schema))


def test_every_role_with_a_schema_is_among_them():
    roles = {str(r.role) for r in REQUESTS if r.schema}
    assert roles == {"challenger", "quality_verifier", "judge", "analyser", "editor"}
    assert len(SCHEMAS) > 15


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=range(len(SCHEMAS)))
def test_every_strict_mode_accepts_it(schema):
    strict = make_strict(schema)
    assert strict["type"] == "object"
    parts = list(list_parts(strict))
    for _, part in parts:
        assert part.keys() <= KEYWORDS
        assert ("type" in part) != ("anyOf" in part)
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
    assert sum(len(part.get("properties", ())) for _, part in parts) <= MOST_PROPERTIES
    assert sum(len(part.get("enum", ())) for _, part in parts) <= MOST_VALUES
    assert max(level for level, part in parts if part.get("type") == "object") < MOST_LEVELS


@pytest.mark.parametrize("name", ["cs", "legal", "science", "skills"])
def test_a_domain_lists_every_schema_that_it_sends(name):
    """The doctor tries those that are listed. Enumerations and numbers of verdicts may differ."""
    client = Recorder()
    getattr(golden_prompts, f"ask_{name}")(client)
    sent = {(r.role, *r.schema["properties"]) for r in client.requests if r.schema}
    listed = load_domain(name, client).schemas()
    assert sent <= {(role, *schema["properties"]) for role, schemas in listed.items() for schema in schemas}


def test_an_optional_property_may_be_null():
    optional = make_object({"a": {"type": "string"}}) | {"required": []}
    assert make_strict(optional) == make_object({"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}})


def test_bounds_are_left_out_and_nothing_else():
    bounded = make_object({"n": {"type": "integer", "minimum": 1, "maximum": 9, "description": "a number"}})
    assert make_strict(bounded) == make_object({"n": {"type": "integer", "description": "a number"}})


def test_a_property_may_have_the_name_of_a_keyword():
    named = make_object({"maximum": {"type": "integer"}, "enum": {"type": "string"}})
    assert make_strict(named) == named


# The prompt of `skills` is for a model of 135M, and its solvers need prefilled answers, which these providers refuse.
ASKED_IN_WORDS = [r for r in REQUESTS if r.schema and "skill" not in r.schema["properties"]]


@pytest.mark.parametrize("asked", ASKED_IN_WORDS, ids=lambda asked: str(asked.role))
def test_a_prompt_with_a_schema_says_json(asked):
    """Providers with a JSON mode alone (DeepSeek, OpenAI's older models) refuse a prompt that does not."""
    assert any("json" in message.content.casefold() for message in asked.messages)
