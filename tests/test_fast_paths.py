"""Tests that what makes an ingest fast changes nothing: each fast way gives what the plain way gives, on any text."""

import re
import unicodedata
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autodata.corpora import pile_of_law
from autodata.corpora.text import layout, pii, words
from autodata.corpora.text.checksums import checksum_words
from autodata.corpora.text.encodings import normalize

# Every kind of character that a step looks for, with ordinary ones around them.
PIECES = ["a", "fac", "tors", "ß", "é", "e\u0301", "ﬁ", "中", "٣", "1", "12", ".", "_", " ", "  ", "\t", "\n", "\n\n"]
PIECES += ["-", "-\n", "- ", "‐", "‐\n", "\u00ad\n", "\r\n", "\f", "\x1c", "\x85", "\u2028", "\u2003", "\xa0", "\x00"]
PIECES += ["\ufeff", "\u200b", "\ud800", "and", "x" * 39, "Ab", "²", "“", "\x07", "--"]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.text(max_size=30))


@given(TEXTS)
@example("a\r\n\x1cb")
def test_a_text_has_its_normal_form(text):
    if re.search("[\x80-\x9f]", text):  # ftfy's, which has tests of its own
        return
    plain = re.sub("\r\n|[\r\f\v\x1c-\x1e\u2028\u2029]", "\n", text)
    plain = unicodedata.normalize("NFC", re.sub("\u00ad\\s*", "", plain))
    plain = "".join(c for c in plain if c in "\n\t" or not re.match("[\0-\x1f\x7f-\x9f\u2060\ufeff\ud800-\udfff]", c))
    for ligature, letters in zip("ﬀﬁﬂﬃﬄﬅﬆ", ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True):
        plain = plain.replace(ligature, letters)
    assert normalize(text) == plain.strip()


@given(TEXTS)
@example("a\u0323\u0307- \u0301b")
def test_a_text_is_folded_as_a_whole(text):
    plain = text.casefold()
    plain = re.sub(words._find_invisible(), "", unicodedata.normalize("NFKD", plain)).casefold()
    plain = re.sub(r"(?<=[^\W\d_])[-‐\u00ad]\s+(?!(?:and|or|to)\b)(?=[^\W\d_])", "", plain)
    assert words.fold(text) == plain
    spaced = re.sub(words._CHARACTER, r" \g<0> ", re.sub(r"[^\w\s]+", " ", plain)) if not plain.isascii() else plain
    assert words.split_quickly(text).split() == spaced.encode("utf-8", "replace").translate(words._BLANKS).split()


DIVIDED = r"(?<![^\W\d_])([^\W\d_]{2,40})[-‐](?:([ \t]*(?:\n[ \t]*){1,4})|[ \t]{1,40})([^\W\d_]{2,40})"


@given(TEXTS)
@example("fac- tor- ize fac-\ntor-\nize")
@example(f"{'x' * 41}- tors {'x' * 40}- tors y {'x' * 20}- {'y' * 45}- tors")
@example("a-b well- known well-known -c--d- e‐f")
def test_words_are_divided_in_the_same_places(text):
    found = [(part.start, part.left, part.end, part.right, part.is_at_end) for part in layout._find_divided(text)]
    assert found == [
        (m.start(), m[1], m.end(), m[3], (m[2] or "").count("\n") == 1) for m in re.finditer(DIVIDED, text)
    ]
    folded = text.casefold()
    assert layout._list_words(folded) - {""} == set(re.findall(r"[^\W\d_]+(?:[-‐][^\W\d_]+)*", folded))


@given(TEXTS)
def test_lines_are_joined_to_paragraphs(text):
    paragraphs = re.split(r"\n\s*\n", text)
    assert pile_of_law._join_lines(text) == "\n\n".join(" ".join(p.split()) for p in paragraphs if p.strip())


@pytest.mark.parametrize("line", ["[*12]", "*7", "- 3 -", "page 4 of 9", "___", "===", "---"])
def test_lines_of_the_page_are_known_by_their_first_character(line):
    assert pile_of_law._is_of_page(line)


@pytest.mark.parametrize("line", ["PAGE 12", "٣٤", "12", "[12]"])
def test_page_numbers_are_known_by_their_first_character(line):
    assert pile_of_law._read_page_number(line) in (12, 34)


@given(TEXTS)
def test_a_line_of_the_page_is_what_the_pattern_says(text):
    assert pile_of_law._is_of_page(text) == bool(pile_of_law._PAGE.fullmatch(text))


@given(st.binary(max_size=300), st.integers(0, 200))
def test_checksums_are_those_of_zlib(text, length):
    for data in (text, text + b" " + b"x" * length + b" y"):
        assert checksum_words(data).tolist() == [crc32(word) for word in data.split(b" ") if word]


PLAIN_EMAIL = re.compile(pii._EMAIL.pattern.replace("}+", "}"))  # without the promise never to look back
PARTS = ["ann", "bob.", "@", " ", "{", "}", ", ", "(at)", " [at] ", "( at )", "example.", "org", "é", "-", "@@", "\n"]
PARTS += ["word " * 450, "x" * 64, "x" * 65, "that)", "a." * 9, "＠", "[dot]", " (AT) "]


@given(st.lists(st.sampled_from(PARTS), max_size=25).map("".join))
@example("ann@example.org" + " word" * 2_000 + "{ann, bob}@example.org")
@example(f"{{{', '.join(['x' * 64] * 31)}}} @ {'y' * 63}.{'z' * 20}")
def test_addresses_are_found_wherever_they_stand(text):
    assert pii._mask_addresses(text) == PLAIN_EMAIL.subn("[e-mail address]", text)
