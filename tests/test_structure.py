"""The house rules that a machine can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from autodata.config import SCHEMAS, explain, load, schema_for

REPO = Path(__file__).parent.parent
RECIPES = sorted(p for p in (REPO / "recipes").rglob("*.yaml")
                 if any(name.startswith(s) for s in SCHEMAS for name in (p.stem, p.parent.name)))  # fmt: skip
# The domains' recipes leave open who serves the roles; each file of recipes/models must do.
NEED_MODELS = ("cs", "legal", "science", "judge_audit", "meta")
CALLS_MODELS = ("generate", "grpo", "judge_audit", "cs")  # recipes/meta has cs*.yaml
NAMES = [f"models.endpoints.{size}_model.model=m" for size in ("small", "large")]
MODELS = [[f"recipes/models/{name}.yaml"] for name in ("laptop", "one_gpu", "one_node", "paper")]
MODELS += [["recipes/models/api.yaml", *NAMES]]
LEVELS = [
    {"types"},
    {"measured"},
    {
        "rubric",
        "agreement",
        "intervals",
        "acceptance",
        "parsing",
        "prompts",
        "embedded",
        "corpus_recipes",
        "training_recipes",
        "recipes",
        "evaluation_recipes",
        "evaluated",
        "meta_recipes",
        "budgets",
        "recap",
        "costs",
        "tokens",
    },
    {"config"},
    {"request", "compression"},
    {
        "llm",
        "failures",
        "connections",
        "salvage",
        "congestion",
        "leases",
        "journal",
        "store",
        "servers",
        "progress",
        "snapshot",
        "dashboard",
    },
    {"agents", "draining"},
    {"domains"},
    {"harness"},
    {"orchestrator", "cot_self_instruct"},
    {
        "cluster",
        "corpora",
        "generation",
        "summary",
        "identity",
        "generate",
        "merge",
        "judge_audit",
        "judge_panel",
        "audit_report",
        "dataset",
        "arms",
        "filters",
        "duplicates",
        "decontamination",
        "statistics",
        "card",
        "features",
        "fidelity",
        "licences",
        "leaks",
        "publication",
        "publish",
        "verify",
        "meta",
        "status",
        "report",
        "doctor",
        "plan",
    },
    {"training", "eval"},
]


def level(module: str) -> int:
    parts = module.split(".")
    name = parts[0] if parts[0] in ("training", "eval") else parts[1]
    return next(i for i, names in enumerate(LEVELS) if name in names)


def imported(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            whole = node.module in ("autodata", "autodata.domains")
            found += [f"{node.module}.{a.name}" for a in node.names] if whole else [node.module]
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names]
    return [f for f in found if f.split(".")[0] in ("autodata", "training", "eval")]


SOURCES = sorted(p for folder in ("autodata", "training", "eval") for p in (REPO / folder).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPO)))
def test_imports_go_one_way(path):
    if path.name == "__init__.py":
        return
    own = ".".join(path.relative_to(REPO).with_suffix("").parts)
    for module in imported(path):
        assert level(module) <= level(own), f"{own} imports {module}"


def test_no_file_bears_the_name_of_a_library_imported_beside_it():
    for folder in ("training", "eval"):
        names = {p.stem for p in (REPO / folder).glob("*.py")}
        assert not names & {"trl", "transformers", "datasets", "accelerate", "inspect_ai", "scipy", "matplotlib"}


def test_the_base_package_imports_without_the_heavy_ones():
    code = (
        "import sys\n"
        "for name in ('vllm', 'torch', 'transformers', 'trl', 'deepspeed', 'datasets'): sys.modules[name] = None\n"
        "import autodata.generate, autodata.dataset, autodata.servers"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(REPO)))
def test_every_recipe_is_complete(path):
    for models in MODELS if path.parent.name in NEED_MODELS and path.stem.startswith(CALLS_MODELS) else [[]]:
        load(schema_for(str(path)), [str(path), *models])
        assert explain([str(path), *models])


def test_api_models_replace_the_laptop_in_any_recipe():
    recipe = load(SCHEMAS["generate"], ["recipes/demo/generate_api.yaml"])
    endpoints = {name: e for name, e in recipe.models.endpoints.items()}
    used = endpoints[recipe.models.weak_solver.endpoint]
    assert used.server is None
    assert used.api_key_env.isupper()


@pytest.mark.parametrize("folder", [p for p in (REPO / "recipes").iterdir() if p.is_dir()], ids=lambda p: p.name)
def test_every_recipe_folder_is_explained(folder):
    assert (folder / "README.md").read_text().strip()
