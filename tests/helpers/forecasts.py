"""Writes the forecasts of docs/reproduce.md: what each step of the paper's tables takes, by autodata.plan.

`python -m tests.helpers.forecasts` renews the page's table.
"""

import re
from pathlib import Path

from autodata.config import load, schema_for
from autodata.plan.plan import make_plan, parse
from autodata.stats.writing import write_table

PAGE = Path(__file__).parent.parent.parent / "docs" / "reproduce.md"
MODELS = "recipes/models/paper.yaml"
DOCUMENTS = {"cs": 10_000, "legal": 7_800, "science": 10_000}  # as many as the paper states; for science chosen
RECIPES = (
    *(f"recipes/{domain}/{name}.yaml" for domain in DOCUMENTS for name in ("generate", "generate_cot")),
    *(f"recipes/{domain}/{name}.yaml" for domain in DOCUMENTS for name in ("grpo", "grpo_cot")),
    "recipes/science/grpo_combined.yaml",
    *(f"recipes/cs/eval_{arm}.yaml" for arm in ("base", "agentic")),
    *(f"recipes/legal/prbench_{arm}.yaml" for arm in ("base", "strong", "agentic")),
    *(f"recipes/science/eval_{arm}.yaml" for arm in ("base", "agentic")),
)
COLUMNS = ("wall-clock", "GPUs", "GPU-hours held", "tokens")
_TABLE = re.compile(r"(?<=<!-- forecasts -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def forecast(path: str) -> list[str]:
    """Plan one step; a training's tokens are not in the first table of its plan."""
    domain = Path(path).parent.name
    counted = ["--documents", str(DOCUMENTS[domain])] if Path(path).stem.startswith("generate") else []
    options = parse([path, MODELS, *counted, "--repeats", "1"])
    summary = make_plan(load(schema_for(path), options.recipe), options).summarize(None)
    return [f"`{path}`", *(summary.get(column, "–").partition(" [")[0] for column in COLUMNS)]


def main() -> None:
    rows = []
    for path in RECIPES:
        rows.append(forecast(path))
        print(*rows[-1], flush=True)
    text = write_table([["step", *COLUMNS], *rows])
    PAGE.write_text(_TABLE.sub(lambda _: text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
