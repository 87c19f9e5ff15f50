"""Measures what prompts cost: prompt tokens per accepted candidate in the scripted worlds of the tests.

    python -m bench.prompts TOKENIZER.json

All outcomes are scripted, so two checkouts differ only in their prompts and rules. Documents are the short samples of
the tests: with a whole paper every prompt that shows it grows by the same amount. Tokens are counted as the given
tokenizer reads the texts of the messages. Marks are the tags around material.
"""

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from tests.helpers.scripted_worlds import Played, play_all

MARK = re.compile(r"</?[a-z][a-z_-]*-[0-9a-f]{6,64}>")
SHOWN = ("domain", "orchestrator", "documents", "accepted", "rounds", "prompt tokens per accepted", "by role", "marks")


def find_role(body: dict) -> str:
    """Name the role of a request by its model and the form of its reply."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("properties", {})
    forms = {
        "orchestrator": "tools" in body,
        "extractor": "suitability_note" in schema,
        "loop-judge": "grpo_suitability" in schema,
        "judge": "verdicts" in schema or "equivalent" in schema,
        "verifier": "leakage" in schema or "promising" in schema,
        "challenger": "question" in schema,
    }
    return next((role for role, is_role in forms.items() if is_role), "solvers")


def measure(played: Sequence[Played], count: Callable[[str], int]) -> tuple[str, ...]:
    tokens, marks = Counter[str](), 0
    for body in (body for one in played for body in one.requests):
        text, role = "\n".join(m["content"] for m in body["messages"]), find_role(body)
        tokens[role] += count(text)
        marks += count(text) - count(MARK.sub("", text)) if role == "orchestrator" else 0
    accepted = sum(one.trajectory.accepted is not None for one in played)
    per = max(1, accepted)
    roles = ", ".join(f"{role} {total / per:,.0f}" for role, total in sorted(tokens.items()))
    share = f"{marks / tokens['orchestrator']:.1%}" if tokens["orchestrator"] else "–"
    rounds = sum(len(one.trajectory.rounds) for one in played)
    return str(len(played)), str(accepted), str(rounds), f"{tokens.total() / per:,.0f}", roles, share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", help="a tokenizer.json, such as that of the embedded model")
    tokenizer = Tokenizer.from_file(parser.parse_args().tokenizer)
    table = Table(*SHOWN)
    with tempfile.TemporaryDirectory() as folder:
        for domain in ("cs", "legal", "science"):
            for orchestrator in ("fixed", "agent"):
                played = list(play_all(domain, orchestrator, Path(folder)))
                table.add_row(domain, orchestrator, *measure(played, lambda text: len(tokenizer.encode(text).ids)))
    Console(width=220).print(table)


if __name__ == "__main__":
    main()
