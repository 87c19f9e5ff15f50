"""Decodes bytes whose encoding is not stated, and brings every text into one form."""

import codecs
import re
import unicodedata
from contextlib import suppress

import ftfy  # also registers sloppy-windows-1252, which has a character for every byte
from charset_normalizer import from_bytes

from autodata.corpora.record import Drop
from autodata.corpora.text.languages import load_identifier

MENDED, WINDOWS = "utf-8 with windows-1252 bytes", "windows-1252"
_MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_PRINTABLE = bytes([9, 10, 12, 13, *range(32, 127)])
_USUAL, _USUAL_SHARE = " \n.,:，。、", 0.03
_SAMPLE = 64_000  # bytes that a guess looks at
# A guess chooses among the common encodings only: the rare ones fit many texts by chance.
_COMMON = ("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "iso8859_2", "tis_620")
_COMMON += ("koi8_r", "cp866", "cp850", "cp437", "mac_roman", "gb18030", "big5", "cp932", "euc_jp", "cp949")
# The Latin ones differ in a few letters, so the language decides between them. All other languages have windows-1252.
_CENTRAL = {"bs", "cs", "hr", "hu", "pl", "ro", "sk", "sl"}
_LATIN = {
    **dict.fromkeys(_CENTRAL, "cp1250"),
    "tr": "cp1254",
    "az": "cp1254",
    **dict.fromkeys(("lt", "lv", "et"), "cp1257"),
}
# Letters of ISO 8859-2 that are signs in windows-1250, inside a word or, as in Polish, at its end.
_SIGNS = re.compile(rb"[A-Za-z\xc0-\xff](?:[\xa6\xa9\xab\xac\xae\xb1\xb5\xb6\xbb][A-Za-z\xc0-\xff]|\xb1(?![\w\s]*\d))")
_ONLY_WINDOWS = re.compile(rb"[\x8a\x8c-\x8f\x9a\x9c-\x9f]")
_HIRAGANA, _LEAST_HIRAGANA = re.compile("[\u3041-\u3096]"), 0.15  # a share that only Japanese text has
_FEW = 0.01  # share of bytes beyond ASCII below which a guess is blind; German has twice as many
_SLOPPY, _MEND = "sloppy-windows-1252", "windows-1252-bytes"
_QUOTES = re.compile(
    rb"[\x80\x85\x91-\x97\x99]"
)  # of windows-1252: quotation marks, dashes, ellipsis, euro, trade mark
_NOT_QUOTES = re.compile(rb"[A-Za-z][\x91\x93-\x95][a-z]")  # these are letters in the encodings of DOS
_OLD_MAC = re.compile(rb"[a-z]\xd5[a-z]|\xd2[A-Za-z][^\xd2\xd3]{0,500}\xd3")  # its apostrophe and quotation marks
_BREAKS = re.compile("\r\n|[\r\f\v\x1c-\x1e\u2028\u2029]")
_BREAKING = "\r\f\v\x1c\x1d\x1e\u2028\u2029"
_C1 = re.compile("[\x80-\x9f]")
_SOFT_HYPHENS = re.compile("\u00ad\\s*")  # one before white space divides a word at the end of a line
# Control characters but \n and \t, invisible ones, and halves of surrogate pairs.
_UNWANTED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2060\ufeff\ud800-\udfff]")
_LETTERS = ("ff", "fi", "fl", "ffi", "ffl", "st", "st")
_LIGATURE = re.compile("[\ufb00-\ufb06]")
_LIGATURES = dict(zip("\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06", _LETTERS, strict=True))


def decode(data: bytes) -> tuple[str, str]:
    """Return the text and the name of its encoding, which is empty for UTF-8. Raises Drop."""
    if wide := find_wide(data):
        return data.decode(wide, "replace").removeprefix("\ufeff"), wide
    if b"\0" in data:
        raise Drop("binary, not text")
    with suppress(UnicodeDecodeError):
        if b"\x1b$" in data:  # begins Japanese letters; the bytes are all ASCII
            return data.decode("iso2022_jp"), "iso-2022-jp"
    with suppress(UnicodeDecodeError):
        return data.decode("utf-8-sig"), ""
    with suppress(UnicodeDecodeError):  # each half of a character beyond U+FFFF by itself, as Java writes it
        halves = data.decode("utf-8", "surrogatepass")
        return halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), "cesu-8"
    encoding = _guess(data)
    if encoding == MENDED:
        return data.decode("utf-8-sig", _MEND), MENDED
    return data.decode(_SLOPPY if encoding == WINDOWS else encoding, "replace"), f"{encoding} (guessed)"


def find_wide(data: bytes) -> str:
    """Return UTF-16 or UTF-32 if the bytes begin with its mark or look like text in it, or else ''."""
    if marked := next((encoding for mark, encoding in _MARKS if data.startswith(mark)), ""):
        return marked
    sample = data[:4_000]
    if b"\0" not in sample or len(sample) < 4:
        return ""
    first, second = (sample[start::2].count(0) * 2 / len(sample) for start in (0, 1))
    western = "utf-16-be" if first > second else "utf-16-le"
    if min(first, second) <= 0.05 and max(first, second) >= 0.6 and _is_text(sample, western, 0):
        return western
    if _is_ascii_between_nuls(sample):
        return ""
    return next((encoding for encoding in _WIDE if _is_text(sample, encoding, _USUAL_SHARE)), "")


def _is_ascii_between_nuls(sample: bytes) -> bool:
    """True for fields of ASCII that end with a NUL; half of the bytes of such a text in UTF-16 are NULs."""
    others = sample.replace(b"\0", b"")
    return len(others) > len(sample) / 2 + 1 and len(others.translate(None, _PRINTABLE)) <= 0.05 * len(others)


def _is_text(sample: bytes, encoding: str, usual: float) -> bool:
    """True if the bytes are characters that exist, and a share of them blanks and punctuation, in this byte order."""
    size = 4 if "32" in encoding else 2
    text = sample[: len(sample) // size * size].decode(encoding, "replace")
    known = sum(c in "\n\r\t\f" or (unicodedata.category(c)[0] in "LMNPSZ" and c != "\ufffd") for c in text)
    return known >= 0.95 * len(text) and sum(c in _USUAL for c in text) >= usual * len(text)


def normalize(text: str) -> str:
    """Return the text in composed Unicode (NFC), stripped, with \\n as line break and without what nobody can see.

    C1 control characters are what is left of windows-1252, so they become its characters. Ligatures become letters.
    """
    # Most texts have none of these characters, and looking for them is many times as fast as replacing them.
    if any(character in text for character in _BREAKING):
        text = _BREAKS.sub("\n", text)
    if "\u00ad" in text:
        text = _SOFT_HYPHENS.sub("", text)
    if not text.isascii() and _C1.search(text):  # line by line, because ftfy decides for all that it is given
        text = "\n".join(ftfy.fix_encoding(line) if _C1.search(line) else line for line in text.split("\n"))
    return _write_ligatures(_UNWANTED.sub("", unicodedata.normalize("NFC", text))).strip()


def unify(text: str) -> str:
    """Write line breaks as \\n and ligatures as letters, so that words can be compared; form feeds stay."""
    return _write_ligatures(text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text)


def _write_ligatures(text: str) -> str:
    return text if text.isascii() else _LIGATURE.sub(lambda match: _LIGATURES[match[0]], text)


def _guess(data: bytes) -> str:
    """Return the most probable encoding of bytes that are not UTF-8. Raises Drop."""
    beyond_ascii = _drop_ascii(data)
    intact = len(_drop_ascii(data.decode("utf-8", "ignore").encode()))
    if intact > len(beyond_ascii) - intact:  # chance makes UTF-8 of a fifth of the bytes of Chinese encodings
        return MENDED
    if len(_QUOTES.findall(beyond_ascii)) == len(beyond_ascii) and not _NOT_QUOTES.search(data):
        return WINDOWS
    if len(beyond_ascii) < 10 * _FEW * len(data) and _OLD_MAC.search(data):
        return "mac_roman"
    return WINDOWS if len(beyond_ascii) < max(_FEW * len(data), 4) else _detect(data)


def _drop_ascii(data: bytes) -> bytes:
    return data.translate(None, bytes(range(128)))


def _detect(data: bytes) -> str:
    sample = b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:_SAMPLE]
    if japanese := next((encoding for encoding in ("cp932", "euc_jp") if _is_japanese(sample, encoding)), ""):
        return japanese
    guess = from_bytes(sample, cp_isolation=list(_COMMON)).best()
    if guess is None and _is_central(sample):
        return _choose_latin(sample, "")
    if guess is None:
        raise Drop("neither UTF-8 nor another encoding that could be detected; convert it to UTF-8")
    is_latin = guess.encoding in ("cp1252", "iso8859_2", *_LATIN.values())
    return _choose_latin(sample, guess.encoding) if is_latin else guess.encoding


def _is_japanese(sample: bytes, encoding: str) -> bool:
    text = sample.decode(encoding, "replace")
    return len(_HIRAGANA.findall(text)) > _LEAST_HIRAGANA * len(text) and text.count("\ufffd") < 3


def _is_central(sample: bytes) -> bool:
    """True for a text of Latin letters in a language of Central Europe, which may be too short for a guess."""
    is_latin = len(_drop_ascii(sample)) < 0.25 * len(sample)
    return is_latin and load_identifier().classify(sample.decode(_SLOPPY))[0] in _CENTRAL


def _choose_latin(sample: bytes, guess: str) -> str:
    """Return the encoding of the language, which is seen from the letters that all Latin encodings share."""
    language, _ = load_identifier().classify(sample.decode(_SLOPPY))
    encoding = _LATIN.get(language, WINDOWS)
    if encoding != "cp1250":
        return encoding
    is_iso = guess == "iso8859_2" or (not _ONLY_WINDOWS.search(sample) and _SIGNS.search(sample))
    return "iso8859_2" if is_iso else encoding


def _mend(error: UnicodeError) -> tuple[str, int]:
    """Read a single byte as windows-1252; the beginning of a character that was cut off cannot be mended."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    is_cut_off = error.end - error.start > 1 or error.reason == "unexpected end of data"
    return "\ufffd" if is_cut_off else error.object[error.start : error.end].decode(_SLOPPY), error.end


codecs.register_error(_MEND, _mend)
