"""Write the folder of a new domain, which runs at once and is yours to change.

    python -m autodata.domains.new rfc --like cs
    python -m autodata.generate rfc/generate.yaml recipes/models/scripted.yaml   # see autodata.serving.scripted

The folder has the thresholds (domain.yaml), the prompts, one document and a recipe. The rules that are code stay those
of the domain that it is like, until the folder has a domain.py.
"""

import shutil
from pathlib import Path

from autodata import command
from autodata.recipes.reading.domain_folder import DOMAINS
from autodata.types import WrongCall

_ROLES = ("challenger", "quality_verifier", "orchestrator", "weak_solver", "strong_solver", "judge")
_HEAD = """like: {like}  # whose rules and templates hold where this folder has none of its own
# What a document is called: a question that speaks of "this paper" cannot be answered without it.
source_words: [paper, study, manuscript, preprint]
"""
_RECIPE = """# Makes examples of this domain. Append a models file, as recipes/models/api.yaml.
run: runs/{name}
documents: {{path: {folder}/documents}}
domain: {{path: {folder}}}
models:  # how many tokens a reply may have, hidden reasoning included
{budgets}
"""
_DOCUMENT = """# Retries that wait

A client whose call fails may call again. If all clients of a server that was down for a moment call again at once, the
server is down a second time: the load of the repeated calls is higher than that of the first ones.

Each client therefore waits before it calls again, twice as long after each failure, up to a limit. Waiting times that
are equal keep the clients in step, so each client draws its time by chance between zero and the limit. With a thousand
clients and a limit of ten seconds, the server sees a hundred calls in a second instead of a thousand at one moment.

The rule has a price. A client that has failed five times waits for seconds although the server may be up again. A
server that says when it expects to be up removes this price, but only if clients add a chance time to what it says.
"""


def write_domain(folder: Path, like: str) -> list[Path]:
    """Write the folder of a domain that is like one of the package; return its files. Raises WrongCall."""
    if not folder.name.isidentifier():
        raise WrongCall(f"{folder.name}: a domain's name has letters, digits and _ only; for example rfc")
    if folder.exists():
        raise WrongCall(f"{folder}: there is such a folder already; choose another name")
    source = DOMAINS / like
    shutil.copytree(source / "prompts", folder / "prompts")
    (folder / "documents").mkdir()
    budgets = "\n".join(f"  {role}: {{sampling: {{max_tokens: 16384}}}}" for role in _ROLES)
    texts = {
        "domain.yaml": _HEAD.format(like=like) + (source / "domain.yaml").read_text(encoding="utf-8"),
        "generate.yaml": _RECIPE.format(name=folder.name, folder=folder, budgets=budgets),
        "documents/example.md": _DOCUMENT,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(path for path in folder.rglob("*") if path.is_file())


@command.report_errors()
def main() -> None:
    domains = sorted(path.parent.name for path in DOMAINS.glob("*/domain.yaml"))
    parser = command.make_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="NAME", help="the new folder; its name is that of the domain")
    parser.add_argument("--like", choices=domains, default="cs", help="the domain that it begins with; default cs")
    options = parser.parse_args()
    for path in write_domain(options.folder, options.like):
        print(path)
    print(f"next: python -m autodata.domains.show_prompt {options.folder}/generate.yaml --role challenger")


if __name__ == "__main__":
    main()
