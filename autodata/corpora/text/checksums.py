"""Computes the CRC-32 of every word of a text with a few operations on arrays, without an object for each word.

The CRC of a word is the exclusive or of what each of its bytes contributes, which depends only on the byte and on its
distance from the end of the word. So a table of contributions and one running sum give all checksums.
"""

from functools import cache
from zlib import crc32

import numpy

_LONGEST = 64  # bytes of a word for which there is a table; a longer word is rare and gets its CRC from zlib
_BLANK = ord(" ")


def checksum_words(text: bytes) -> numpy.ndarray:
    """Return the CRC-32 of each word, uint64. Words are separated by blanks alone."""
    data = numpy.frombuffer(text, numpy.uint8)
    starts, ends = _find_words(data)
    if not len(ends):
        return numpy.empty(0, numpy.uint64)
    contributions, of_zeros = _tabulate()
    last = int(ends[-1])
    running = numpy.zeros(last + 1, numpy.uint32)
    numpy.bitwise_xor.accumulate(contributions.take(_find_places(data[:last], ends)), out=running[1:])
    lengths = ends - starts
    sums = running[ends] ^ running[starts] ^ of_zeros.take(lengths, mode="clip")
    for word in numpy.flatnonzero(lengths > _LONGEST).tolist():
        sums[word] = crc32(text[starts[word] : ends[word]])
    return sums.astype(numpy.uint64)


def _find_words(data: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return where words start and end."""
    is_word = numpy.zeros(len(data) + 2, bool)
    numpy.not_equal(data, _BLANK, out=is_word[1:-1])
    edges = numpy.flatnonzero(is_word[1:] != is_word[:-1]).astype(numpy.int32)
    return edges[::2], edges[1::2]


def _find_places(data: numpy.ndarray, ends: numpy.ndarray) -> numpy.ndarray:
    """Return the place of each byte's contribution in the table. Those of blanks cancel out."""
    places = numpy.repeat(ends, numpy.diff(ends, prepend=0))
    places -= numpy.arange(1, len(data) + 1, dtype=numpy.int32)  # distance from the end of the word
    numpy.minimum(places, _LONGEST - 1, out=places)
    places <<= 8
    places += data
    return places


@cache
def _tabulate() -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the contribution of each byte at each distance from the end, and the CRCs of words of zeros."""
    zeros = [crc32(bytes(n)) for n in range(_LONGEST + 1)]
    rows = [[crc32(bytes([b, *bytes(n)])) ^ zeros[n + 1] for b in range(256)] for n in range(_LONGEST)]
    return numpy.array(rows, numpy.uint32).ravel(), numpy.array(zeros, numpy.uint32)
