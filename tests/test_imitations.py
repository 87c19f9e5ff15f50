"""Tests the recipes of models for known providers against imitations, which refuse what the providers refuse."""

import pytest

from autodata.config import load
from autodata.recipes.generation import GenerateRecipe
from tests.helpers.imitations import GOLDEN, IMITATIONS, KEYS, examine
from tests.helpers.recipes import PROVIDERS

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    for name in KEYS:
        monkeypatch.setenv(name, "sk-not-a-real-key")


def test_every_provider_has_an_imitation():
    assert PROVIDERS == sorted(IMITATIONS) == sorted(path.stem for path in GOLDEN.iterdir())


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("domain", ["cs", "legal", "science"])
def test_a_providers_models_complete_every_domain(provider, domain):
    recipe = load(GenerateRecipe, [f"recipes/{domain}/generate.yaml", f"recipes/models/{provider}.yaml"])
    for endpoint in recipe.models.endpoints.values():
        assert endpoint.model and endpoint.base_url and not endpoint.server
        assert endpoint.api_key_env in (*KEYS, "")


@pytest.mark.parametrize("provider", IMITATIONS)
def test_the_doctor_says_what_the_golden_file_says(provider):
    said = examine(provider)
    assert said == (GOLDEN / f"{provider}.txt").read_text()
    assert provider == "ollama" or not [line for line in said.splitlines() if line.startswith("fail")]


@pytest.mark.parametrize(
    ("provider", "value", "advice"),
    [
        ("openai", "models.endpoints.small_model.max_tokens_key=max_tokens", "max_tokens_key: max_completion_tokens"),
        ("openai", "models.endpoints.small_model.sampling.temperature=1.0", "sampling.temperature or sampling.top_p"),
        ("openai", "models.endpoints.large_model.tool_choice=required", "set tool_choice: none"),
        ("openrouter", "models.endpoints.large_model.body.seed=1", "body: {seed: null}"),
        ("anthropic", "models.endpoints.small_model.sampling.temperature=0.5", "to null, so that it is not sent"),
        ("anthropic", "models.endpoints.large_model.tool_choice=required", "set tool_choice: auto"),
        ("deepseek", "models.endpoints.large_model.structured_output=json_schema", "set structured_output"),
        ("deepseek", "models.endpoints.large_model.tool_choice=auto", "set tool_choice: auto or none"),
        ("llama_cpp", "domain.document_chars=600000", "lower domain.document_chars"),
        ("openai", "models.endpoints.small_model.api_key_env=NO_SUCH_KEY", "NO_SUCH_KEY is not set"),
    ],
)  # fmt: skip
def test_a_wrong_key_of_the_recipe_is_a_failure_that_names_it(provider, value, advice):
    failures = [line for line in examine(provider, value).splitlines() if line.startswith("fail")]
    assert failures and advice in failures[0], failures
