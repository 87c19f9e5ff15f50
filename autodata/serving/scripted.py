"""Answer every role of any domain with made-up replies, so that a recipe or a domain can be tried without a model.

    python -m autodata.serving.scripted                 # until Ctrl-C; recipes/models/scripted.yaml names this server
    python -m autodata.generate RECIPE recipes/models/scripted.yaml    # in another terminal

Another models file does as well if its endpoints send schemas (structured_output: json_schema or bounded): set their
base_url to this server, and their model to scripted-weak or scripted-strong.

A reply has the form that its schema asks for and depends on the request alone. What it says means nothing, and neither
do the numbers of such a run.
"""

import json
import random
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from autodata import command

NAME = "scripted"  # how the name of each of its models begins
STRONG = f"{NAME}-strong"
MODELS = (NAME, f"{NAME}-weak", STRONG)
PORT = 8321
_LIKELY, _WEAK, _MISTAKE = 0.85, 0.3, 0.05  # shares of what passes: of a strong and a weak answer, and of mistakes
_SHORT = 60  # characters of a text that the prompt wants short
_POSITIVE, _NEGATIVE = "Says that", "Claims that"  # how the criteria of such a rubric begin
_WORDS = """
anchor basin cable delta engine filter garden harbour index journal kernel ledger mirror network outlet packet quarry
relay signal tunnel update valve window yield zone bridge current deposit estimate furnace
"""
_NOUNS = _WORDS.split()
_VERBS = ("delays", "moves", "doubles", "limits", "replaces", "protects", "divides", "follows", "restores", "reduces")


class Writer:
    """Writes one reply; equal requests get equal replies."""

    def __init__(self, model: str, messages: Sequence[Mapping[str, str]], seed: int | None):
        self._model, self._messages = model, messages
        self._chance = random.Random(json.dumps([model, [*map(dict, messages)], seed], sort_keys=True))
        self._shown = "\n".join(str(message["content"]) for message in messages)

    def answer(self) -> str:
        """Answer a question in prose, or go on with the beginning of an answer."""
        last = self._messages[-1]
        if last["role"] == "assistant":  # what follows the same words on an answer sheet, if there is one
            earlier = "\n".join(str(message["content"]) for message in self._messages[:-1])
            return (earlier.partition(last["content"])[2] or self._chance.choice(_NOUNS) + "”.").partition("\n")[0]
        return f"{self._write(2)} So {self._write(1).lower()} This is an answer of {self._model}."

    def fill(self, schema: Mapping[str, Any], key: str = "") -> Any:
        """Make a value that a schema allows; of several words it mostly takes the first."""
        if "enum" in schema or "const" in schema:
            values = schema.get("enum") or [schema["const"]]
            return values[0] if isinstance(values[0], str) and self._is_so(_LIKELY) else self._chance.choice(values)
        if "anyOf" in schema:
            return self.fill(schema["anyOf"][0], key)
        return getattr(self, f"_fill_{schema.get('type', 'string')}")(schema, key)

    def _fill_object(self, schema: Mapping[str, Any], key: str) -> dict[str, Any]:
        return {name: self.fill(form, name) for name, form in schema.get("properties", {}).items()}

    def _fill_array(self, schema: Mapping[str, Any], key: str) -> list[Any]:
        if forms := schema.get("prefixItems") or self._split(schema["items"]):
            return self._judge([self.fill(form, key) for form in forms])
        form = schema["items"]
        is_rubric = {"weight", "category"} <= form.get("properties", {}).keys()
        fewest = schema.get("minItems", self._count_criteria() if is_rubric else 2)
        items = [self.fill(form, key) for _ in range(max(fewest, 1))]
        return self._weigh(items, form["properties"]) if is_rubric else items

    def _split(self, form: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a form for each verdict, if these are verdicts: strict schemas have one form for all of them."""
        properties = form.get("properties", {})
        numbers = properties.get("criterion", {}).get("enum", ()) if "met" in properties else ()
        return [{**form, "properties": {**properties, "criterion": {"const": number}}} for number in numbers]

    def _count_criteria(self) -> int:
        """Read in the prompt how many criteria are wanted at least, because strict schemas do not say it."""
        asked = re.search(r"(\d+) (?:to|–) \d+ criteria", self._shown)
        return int(asked[1]) if asked else 2

    def _weigh(self, items: list[dict[str, Any]], forms: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Make criteria out of these items: the last few have a negative weight."""
        negative = min(3, len(items) // 3) if self._is_so(_LIKELY) else 0
        for number, item in enumerate(items, 1):
            is_mistake = number > len(items) - negative
            item |= {name: form["enum"][-is_mistake] for name, form in forms.items() if "enum" in form}
            weight = self._chance.randint(2, min(9, forms["weight"].get("maximum", 9)))
            item |= {"weight": -weight if is_mistake else weight}
            item |= {"criterion": f"{_NEGATIVE if is_mistake else _POSITIVE} {self._write(1).lower()}"}
            item |= {"number": number} if "number" in item else {}
        return items

    def _judge(self, verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Decide which criteria an answer meets: most if it comes from the strong solver, and few mistakes."""
        criteria = re.findall(f"{_POSITIVE}|{_NEGATIVE}", self._shown)[-len(verdicts) :]
        share = _LIKELY if STRONG in self._shown else _WEAK
        for verdict, begins in zip(verdicts, criteria, strict=False):
            verdict["met"] = self._is_so(_MISTAKE if begins == _NEGATIVE else share)
        return verdicts

    def _fill_boolean(self, schema: Mapping[str, Any], key: str) -> bool:
        return self._is_so(_WEAK) if f"answer of {NAME}-weak" in self._shown else True

    def _fill_integer(self, schema: Mapping[str, Any], key: str) -> int:
        return self._chance.randint(schema.get("minimum", 1), schema.get("maximum", 9))

    _fill_number = _fill_integer

    def _fill_string(self, schema: Mapping[str, Any], key: str) -> str:
        is_question = key == "question"
        text = f"Why is it so that {self._write(1).lower()[:-1]}?" if is_question else self._write(4)
        named = "On criterion 1: " if "pattern" in key else ""  # a review of answers names criteria by number
        is_short = re.search(rf'"{re.escape(key)}": "[^"]*\bshort\b', self._shown)  # strict schemas have no lengths
        return f"{named}{text}"[: schema.get("maxLength", _SHORT if is_short else None)]

    def _is_so(self, share: float) -> bool:
        return self._chance.random() < share

    def _write(self, sentences: int) -> str:
        """Write sentences of words that are chosen by chance, so that no two texts are alike."""
        pick = self._chance.choice
        clauses = [
            f"the {pick(_NOUNS)} {pick(_VERBS)} a {pick(_NOUNS)} near the {pick(_NOUNS)}" for _ in range(sentences)
        ]
        return " ".join(
            f"{c} if every {pick(_NOUNS)} {pick(_VERBS)} one {pick(_NOUNS)}.".capitalize() for c in clauses
        )


def reply(body: Mapping[str, Any]) -> dict[str, Any]:
    """Write the message that answers the body of a chat request."""
    writer = Writer(body["model"], body["messages"], body.get("seed"))
    functions = [tool["function"] for tool in body.get("tools", ())]
    if functions:
        called = next((f for f in functions if f["name"] == "propose"), functions[0])
        call = {"name": called["name"], "arguments": json.dumps(writer.fill(called["parameters"]))}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": call}],
        }
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    return {"role": "assistant", "content": json.dumps(writer.fill(schema)) if schema else writer.answer()}


def is_made_up(models: Iterable[str]) -> bool:
    """Return True if one of these models is the scripted one, so that the numbers of its run mean nothing."""
    return any(name.startswith(NAME) for name in models)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]}
        self._send(200, listed) if self.path == "/v1/models" else self._send(404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = reply(body)
        counts = [len(json.dumps(text)) // 4 for text in (body["messages"], message)]
        usage = dict(zip(("prompt_tokens", "completion_tokens"), counts, strict=True)) | {"total_tokens": sum(counts)}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
        head = {"id": NAME, "object": "chat.completion", "created": int(time.time()), "model": body["model"]}
        self._send(200, {**head, "choices": [choice], "usage": usage})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """Listens on this machine only."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int):
        super().__init__(("127.0.0.1", port), _Handler)


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0 takes any free port")
    server = Server(parser.parse_args().port)
    print(f"models.endpoints.{NAME}.base_url=http://127.0.0.1:{server.server_port}/v1", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
