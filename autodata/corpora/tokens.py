"""Counts the tokens of documents, with tiktoken where it is certain to agree with the tokenizer, since it is faster.

tiktoken needs the merges of a byte-level BPE and one regular expression that splits texts into words. A tokenizer that
does anything else, or that disagrees with tiktoken on the first documents of a task, counts with its own library.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import tiktoken
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.batching import batched
from tokenizers import Tokenizer

Count = Callable[[Sequence[str]], list[int]]
_BATCH = 16  # documents; the encoding of a document is far larger than its text
_WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # GPT-2's, the ByteLevel default
# The same within texts that were first split at every digit: what stands before a digit ends a text.
_WORDS_AND_DIGITS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"
_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


class CountTokens(PipelineStep):
    """Sets `tokens` of every document."""

    type, name = "🔢 - TOKENIZER", "tokens"

    def __init__(self, tokenizer: str):
        """`tokenizer` is the path of a tokenizer.json, or a hub name."""
        super().__init__()
        self._name = tokenizer

    def run(self, data: Iterator[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        batches = batched(data, _BATCH)
        if (first := next(batches, None)) is None:
            return
        count = choose_counter(load_tokenizer(self._name), [document.text for document in first])
        for batch in chain([first], batches):
            for document, tokens in zip(batch, count([d.text for d in batch]), strict=True):
                document.metadata["tokens"] = tokens
                yield document


def load_tokenizer(name: str) -> Tokenizer:
    """Load a tokenizer.json or a tokenizer of the hub; it neither cuts nor pads."""
    tokenizer = Tokenizer.from_file(name) if name.endswith(".json") else Tokenizer.from_pretrained(name)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def choose_counter(tokenizer: Tokenizer, texts: Sequence[str]) -> Count:
    """Return the faster counter if it agrees on the texts, or else the tokenizer's own."""

    def count(texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts)]

    fast = make_fast_counter(json.loads(tokenizer.to_str()))
    return fast if fast is not None and fast(texts) == count(texts) else count


def make_fast_counter(tokenizer: Mapping[str, Any]) -> Count | None:
    """Make a counter from the content of a tokenizer.json; None if tiktoken cannot do what it does."""
    words, model = find_words(tokenizer), tokenizer["model"]
    if words is None or model["type"] != "BPE" or any(model.get(key) for key in ("dropout", "end_of_word_suffix")):
        return None
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    ranks = rank_merges(model["merges"])
    encoding = tiktoken.Encoding("counter", pat_str=words, mergeable_ranks=ranks, special_tokens=_move(special, ranks))

    def count(texts: Sequence[str]) -> list[int]:
        return [len(encoding.encode_to_numpy(text, allowed_special="all")) for text in texts]  # no list of integers

    return count


def find_words(tokenizer: Mapping[str, Any]) -> str | None:
    """Find the expression that splits a text into words; None for every form that is not known to be the same."""
    steps = _list_steps(tokenizer["pre_tokenizer"], "pretokenizers")
    is_plain = all(token[key] is value for token in tokenizer["added_tokens"] for key, value in _PLAIN.items())
    adds_nothing = not (tokenizer.get("post_processor") or {}).get("special_tokens")
    normalizers = [step["type"] for step in _list_steps(tokenizer["normalizer"], "normalizers")]
    if not (is_plain and adds_nothing and steps) or normalizers not in ([], ["NFC"]):  # an ingest writes NFC
        return None
    *before, last = steps
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return None
    match [step["type"] for step in before], last["use_regex"]:
        case [], True:
            return _WORDS
        case ["Digits"], True if before[0]["individual_digits"]:
            return _WORDS_AND_DIGITS
        case ["Split"], False if before[0]["behavior"] == "Isolated" and not before[0]["invert"]:
            return before[0]["pattern"].get("Regex")
    return None


def _list_steps(part: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    """List the steps of a part that may be missing, single or a sequence."""
    if part is None:
        return []
    return list(part[key]) if part["type"] == "Sequence" else [part]


def rank_merges(merges: Sequence[str | Sequence[str]]) -> dict[bytes, int]:
    """Rank the tokens: all bytes first, then what each merge makes, in order."""
    alphabet = list_byte_characters()
    ranks = {bytes([byte]): byte for byte in alphabet.values()}
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault(bytes(alphabet[character] for character in "".join(pair)), len(ranks))
    return ranks


def list_byte_characters() -> dict[str, int]:
    """Map the characters that stand for bytes in a byte-level vocabulary to their bytes.

    Printable bytes stand for themselves, and the others for the characters from U+0100 on, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


def _move(special: Mapping[str, int], ranks: Mapping[bytes, int]) -> dict[str, int]:
    """Give special tokens ids after all ranks: ranks are not the ids of the tokenizer, and ids must differ."""
    return {content: len(ranks) + number for number, content in enumerate(special)}
