"""Tests that the fast counter of tokens agrees with the tokenizer, and is not used where it might not."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from autodata.corpora.tokens import choose_counter, find_words, list_byte_characters, load_tokenizer, make_fast_counter
from autodata.serving.embedded import resolve_weights

EMBEDDED = Path(resolve_weights("embedded")) / "tokenizer.json"
TEXTS = [
    "The keeper's lamp isn't lit; they've gone.",
    "  two  spaces\n\n\tand a tab, 12 345 numbers, x2 2x ½ ٣",
    "naïve café — “quotes” 中文字 🙂🙂 e\u0301",
    "<|im_start|>user\nhello<|im_end|><|endoftext|>",
    "trailing space ",
    "",
]
THREES = r"\p{L}+|\p{N}{1,3}|[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+"  # digits in threes, as newer models do


def train(pre_tokenizer: pre_tokenizers.PreTokenizer, normalizer: object = None) -> Tokenizer:
    """Train a small byte-level BPE on the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"vocab_size": 400, "initial_alphabet": alphabet, "special_tokens": ["<|endoftext|>"]}
    tokenizer.train_from_iterator(TEXTS * 20, trainers.BpeTrainer(show_progress=False, **options))
    return tokenizer


def level(**options: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **options})


def split(pattern: str = THREES, behavior: str = "isolated") -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), behavior)


KNOWN = {
    "gpt2": train(level()),
    "digits": train(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level()])),
    "threes": train(pre_tokenizers.Sequence([split(), level(use_regex=False)]), normalizers.NFC()),
}


def count_slowly(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text).ids)


@pytest.mark.parametrize("name", KNOWN)
def test_known_forms_are_counted_fast(name):
    fast = make_fast_counter(json.loads(KNOWN[name].to_str()))
    texts = [text for text in TEXTS if name != "threes" or "\u0301" not in text]
    assert fast(texts) == [count_slowly(KNOWN[name], text) for text in texts]


def test_the_embedded_tokenizer_is_counted_fast():
    tokenizer = load_tokenizer(str(EMBEDDED))
    fast = make_fast_counter(json.loads(EMBEDDED.read_text()))
    assert fast(TEXTS) == [count_slowly(tokenizer, text) for text in TEXTS]
    assert choose_counter(tokenizer, TEXTS)(TEXTS) == fast(TEXTS)


FAST = {name: make_fast_counter(json.loads(tokenizer.to_str())) for name, tokenizer in KNOWN.items()}
LETTERS = st.text(st.sampled_from("ab' \n\t1٣½.,é中🙂-_<|>endoftx"), max_size=40)


@given(LETTERS)
@example("a  5")
@example(" 5\n 5 ")
@example("<|endoftext|>5")
def test_any_text_has_the_same_count(text):
    for name in ("gpt2", "digits", "threes"):
        assert FAST[name]([text]) == [count_slowly(KNOWN[name], text)], name


@pytest.mark.parametrize(
    "tokenizer",
    [
        train(level(add_prefix_space=True)),
        train(pre_tokenizers.Whitespace()),
        train(level(), normalizers.Lowercase()),
        train(pre_tokenizers.Sequence([split(behavior="removed"), level(use_regex=False)])),
        Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")),
    ],
    ids=["prefix space", "whitespace", "lower case", "removed", "words"],
)
def test_other_forms_are_counted_by_the_tokenizer_itself(tokenizer):
    content = json.loads(tokenizer.to_str())
    assert make_fast_counter(content) is None
    assert choose_counter(tokenizer, TEXTS)(TEXTS) == [count_slowly(tokenizer, text) for text in TEXTS]


def test_a_tokenizer_that_begins_every_text_with_a_token_is_not_counted_fast():
    content = json.loads(KNOWN["gpt2"].to_str())
    assert find_words(content) is not None
    assert find_words(content | {"post_processor": {"special_tokens": {"<s>": {}}}}) is None


def test_a_counter_that_disagrees_on_the_first_texts_is_not_used():
    """Merges that make a token by a pair of their own: tiktoken would also merge other pairs to it."""
    content = json.loads(KNOWN["gpt2"].to_str())
    vocabulary = {character: n for n, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    content["model"] |= {"vocab": vocabulary | {"ab": 256, "abc": 257, "bc": 258}, "merges": [["b", "c"], ["ab", "c"]]}
    content["model"]["vocab"]["ab"] = 256
    content["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(content))
    fast = make_fast_counter(content)
    assert fast(["abc"]) != [count_slowly(tokenizer, "abc")]
    assert choose_counter(tokenizer, ["abc"])(["abc"]) == [count_slowly(tokenizer, "abc")]


def test_every_byte_has_a_character():
    characters = list_byte_characters()
    assert sorted(characters.values()) == list(range(256))
    assert set(characters) == set(pre_tokenizers.ByteLevel.alphabet())
