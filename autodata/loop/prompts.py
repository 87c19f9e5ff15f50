"""Renders prompts from files: one Jinja template per role, with one block per turn."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import BytecodeCache, FileSystemLoader, StrictUndefined, TemplateError
from jinja2.bccache import Bucket
from jinja2.sandbox import ImmutableSandboxedEnvironment

from autodata.types import Message, UserError

TURNS = ("system", "user", "assistant")
# An expression in a template can fail like any other: {{ 1 // 0 }} must not end a run with a traceback.
_ERRORS = (TemplateError, OSError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)

# Servers read these as control tokens even inside a text: turn markers, reasoning and tool tags.
TAGS = "think|tool_call|tool_response|s|bos|eos|start_of_turn|end_of_turn"
# Each alternative begins with a character and not with a look-behind: so a paper is scanned five times as fast.
CONTROL = re.compile(rf"<(?=\||/?(?:{TAGS})>)|>(?<=\|>)|\[(?=/?INST\])")
_HARMLESS = {"<": "‹", ">": "›", "[": "⟦"}


class PromptError(UserError):
    """A template is missing or broken; the message names the file."""


class _Compiled(BytecodeCache):
    """Keeps templates that this process compiled, because a meta search opens a prompt set for every trial."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if kept := self._kept.get(bucket.key):
            bucket.bytecode_from_string(kept)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


class PromptSet:
    """Templates `<name>.j2` with blocks `system`, `user`, `assistant`; the first folder that has one wins.

    Turns come from blocks, and control tokens in what is put into a template are made harmless, so no
    text can open a turn of its own. `{{ text | seal("document") }}` delimits untrusted text by a mark that
    the text cannot contain. A block that renders to nothing is left out. A block `assistant` is a
    beginning that the model continues.
    """

    def __init__(self, *folders: Path):
        self.folder = folders[0]
        # Prompt sets can be written by a model (meta-optimisation): sandboxed, strict.
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folders),
            bytecode_cache=_COMPILED,
            auto_reload=False,  # a prompt edited during a run must not change it
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_disarm,
        )
        self._environment.filters["seal"] = seal
        self._environment.globals.clear()  # range, lipsum and the like: nothing that a prompt needs

    def render(self, name: str, slots: Mapping[str, object]) -> tuple[Message, ...]:
        """Render the turns of template `name`. Raises PromptError for a missing file or slot, or bad syntax."""
        try:
            template = self._environment.get_template(f"{name}.j2")
            blocks = [(turn, template.blocks[turn]) for turn in TURNS if turn in template.blocks]
            turns = [(turn, "".join(block(template.new_context(dict(slots)))).strip()) for turn, block in blocks]
        except _ERRORS as error:
            raise PromptError(f"{self.folder / name}.j2: {error}") from error
        if not any(text for _, text in turns):
            raise PromptError(f"{self.folder / name}.j2: none of the blocks {', '.join(TURNS)} has any text")
        return tuple(Message(turn, text) for turn, text in turns if text)


def seal(text: str, name: str) -> str:
    """Put `text` between tags that bear its hash, so that nothing inside the text can close them early."""
    mark = f"{name}-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:16]}"
    return f"<{mark}>\n{text}\n</{mark}>"


def _disarm(value: object) -> object:
    """Respell control tokens of chat templates, so that no tokenizer takes them for its own."""
    return CONTROL.sub(lambda match: _HARMLESS[match[0]], value) if isinstance(value, str) else value
