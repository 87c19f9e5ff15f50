"""How many tokens a text has: for servers that report no usage, and to notice one that cut the prompt."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from autodata.types import Message

_BYTES_PER_TOKEN = 4  # where no tokenizer is at hand
_PER_MESSAGE = 4  # tokens that a chat template puts around a turn
_WORD = re.compile(r"[^\W\d_]+|\d+")
_UNSPACED = re.compile(r"[぀-ヿ㐀-鿿가-힯]")  # scripts whose words no blank divides
_CHARS_PER_TOKEN = 4  # at most, of such a script
_LARGE = 1_500  # words; a shorter prompt fits every context that servers cut to (2,048 tokens and more)
_FAR_BELOW = 0.95  # of the fewest tokens that a prompt can have
_NO_COUNT = 64  # tokens; no server has a context as short, so a smaller number counts nothing


def count_tokens(texts: Sequence[str], weights: str = "") -> int:
    """Tokens of `texts` by the tokenizer of `weights` where it is on this machine, else a quarter of their bytes."""
    tokenizer = _find_tokenizer(weights) if weights else None
    if tokenizer is None:
        return sum(-(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN) for text in texts)
    return sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)


def count_prompt_tokens(messages: Sequence[Message], weights: str = "") -> int:
    return count_tokens([m.content for m in messages], weights) + _PER_MESSAGE * len(messages)


def is_cut(messages: Sequence[Message], prompt_tokens: int) -> bool:
    """True if a server that counts `prompt_tokens` cannot have read all of the prompt.

    A tokenizer makes at least one token of a word, so words are a lower bound that holds for every model. Short
    prompts are let through, and so is a server that counts nothing.
    """
    if not _NO_COUNT < prompt_tokens < sum(len(m.content) for m in messages) / 2:
        return False  # a word and the blank after it are two characters at least, so most prompts need no counting
    fewest = sum(_count_words(m.content) for m in messages)
    return fewest > _LARGE and prompt_tokens < _FAR_BELOW * fewest


def _count_words(text: str) -> float:
    unspaced = len(_UNSPACED.findall(text))
    return unspaced / _CHARS_PER_TOKEN + len(_WORD.findall(_UNSPACED.sub(" ", text)))


@cache
def _find_tokenizer(weights: str):
    """The tokenizer of a folder, of the embedded model, or of a hub name that was downloaded before; else None."""
    from tokenizers import Tokenizer

    path = _find_file(weights)
    try:
        return Tokenizer.from_file(str(path)) if path else None
    except Exception:  # the library raises exactly that for a file that it cannot read
        return None


def _find_file(weights: str) -> Path | None:
    from autodata.serving.embedded import MODEL_NAME, cache_folder

    folder = cache_folder() / MODEL_NAME if weights == "embedded" else Path(weights)
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json"
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(weights, "tokenizer.json")
    except HFValidationError:  # the name of an API's model need not be one of the hub
        return None
    return Path(found) if isinstance(found, str) else None
