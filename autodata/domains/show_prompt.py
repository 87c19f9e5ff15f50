"""Print the prompts that a recipe's models would get for a document. No model is asked.

    python -m autodata.domains.show_prompt RECIPE                               # every role, for the first document
    python -m autodata.domains.show_prompt RECIPE --role challenger --document 3

What depends on replies, as a judge's prompt does, is shown with made-up ones.
"""

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress

from autodata import command
from autodata.config import RecipeError, load
from autodata.corpora.documents import group_documents, read_corpus
from autodata.loop import domain as base
from autodata.loop.domain import JudgeFailed
from autodata.loop.harness import Harness
from autodata.loop.orchestrator import ORCHESTRATORS
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import ROLES
from autodata.serving.request import Request
from autodata.serving.scripted import MODELS, NAME, reply
from autodata.types import Document, Outcome, Reply, Role, UserError

_ENDS_WITH = {Role.WEAK_SOLVER: MODELS[1], Role.STRONG_SOLVER: MODELS[2]}


class Listener:
    """Stands in for the client: it keeps every request and answers with something made up."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.accounts: defaultdict[str, Account] = defaultdict(Account)

    async def ask(self, request: Request) -> Reply:
        self.requests.append(request)
        body = {"model": _ENDS_WITH.get(request.role, NAME), "seed": request.seed}
        body["messages"] = [vars(message) for message in request.messages]
        body["tools"] = [{"function": function} for function in request.tools]
        if request.schema:
            body["response_format"] = {"json_schema": {"schema": request.schema}}
        message = reply(body)
        call = message.get("tool_calls", [{"function": {"name": "", "arguments": ""}}])[0]["function"]
        parts = (message["content"] or "", "", "stop", NAME, 0, 0, 0.0, call["name"], call["arguments"])
        return Reply(Outcome.ANSWERED, *parts)


class Account:
    """Counts what nobody reads here."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, int] = defaultdict(int)


def list_requests(recipe: GenerateRecipe, document: Document) -> list[Request]:
    """Play a document with made-up replies; return all that the models would be asked."""
    listener = Listener()
    harness = Harness(base.load(recipe.domain, listener, recipe.seed), document, recipe.arm)
    with suppress(JudgeFailed):  # a reply that was made up could not be read; what came before is shown
        asyncio.run(ORCHESTRATORS[recipe.orchestrator](harness))
    return listener.requests


def choose(requests: Iterable[Request], role: str | None) -> Iterator[tuple[Request, bool]]:
    """Yield the first request of each kind that a role gets, and whether a made-up reply came before it."""
    seen = set()
    for number, request in enumerate(requests):
        kind = (request.role, *(request.schema or {}).get("properties", ()))
        if role in (None, request.role) and kind not in seen:
            seen.add(kind)
            yield request, number > 0


def show(request: Request, is_made_up: bool) -> str:
    """Write a request as a person reads it."""
    note = ", after made-up replies to what was asked before" if is_made_up else ""
    turns = [f"── {message.role} ──\n{message.content}" for message in request.messages]
    offered = [f"── functions ──\n{', '.join(str(tool['name']) for tool in request.tools)}"] if request.tools else []
    schema = [f"── form of the reply ──\n{json.dumps(request.schema, ensure_ascii=False)}"] if request.schema else []
    return "\n".join([f"═══ {request.role}{note} ═══", *turns, *offered, *schema, ""])


def find_document(recipe: GenerateRecipe, number: int) -> Document:
    """Return a document by its number, from 1. Raises RecipeError."""
    corpus = read_corpus(recipe.documents.path, recipe.documents.limit)
    documents = group_documents(corpus.documents, recipe.documents.per_group, recipe.seed)
    if not 1 <= number <= len(documents):
        raise RecipeError(f"--document {number}: there are {len(documents)} documents in {recipe.documents.path}")
    return documents[number - 1]


def _read_arguments() -> argparse.Namespace:
    parser = command.make_parser(__doc__)
    parser.add_recipe()
    roles = [role.value for role in Role]
    parser.add_argument("--role", choices=roles, help="only the prompts of this role")
    parser.add_argument("--document", type=int, default=1, metavar="N", help="the document's number; default 1")
    return parser.parse_intermixed_args()


@command.report_errors()
def main() -> None:
    options = _read_arguments()
    recipe = load(GenerateRecipe, [*options.recipe, *(f"models.{role}=null" for role in ROLES)])  # nobody is asked
    shown = [*choose(list_requests(recipe, find_document(recipe, options.document)), options.role)]
    if not shown:
        raise UserError(f"--role {options.role}: the domain {recipe.domain.name} asked this role nothing here")
    for request, is_made_up in shown:
        print(show(request, is_made_up))


if __name__ == "__main__":
    main()
