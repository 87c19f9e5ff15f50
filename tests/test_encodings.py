"""Tests how bytes of unknown encoding become text, and the form that every text gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora.record import Drop
from autodata.corpora.text.encodings import MENDED, decode, normalize

GERMAN = "Der Prüfer fand größere Schäden an der Brücke, als man früher für möglich hielt. " * 3
RUSSIAN = "Мы показываем, что стоимость кэша определяется записью на диск. " * 5
ENGLISH = "It’s the writer’s “own” house, and that’s fine with the people who don’t care. " * 5
CHINESE = "我们证明缓存的成本在于写入。这是一个测试，用于检测编码。" * 5


@pytest.mark.parametrize(
    ("encoding", "text", "name"),
    [
        ("utf-8", ENGLISH, ""),
        ("utf-8-sig", ENGLISH, ""),
        ("utf-16", GERMAN, "utf-16"),
        ("utf-16-le", GERMAN, "utf-16-le"),
        ("utf-16-be", GERMAN, "utf-16-be"),
        ("utf-32", GERMAN, "utf-32"),
        *((encoding, text, encoding) for encoding in ("utf-16-le", "utf-16-be") for text in (RUSSIAN, CHINESE + "\n")),
        *((encoding, text, encoding) for encoding in ("utf-32-le", "utf-32-be") for text in (GERMAN, CHINESE)),
        ("iso2022_jp", "裁判所は被告の主張を退けた。", "iso-2022-jp"),
        ("cp1252", GERMAN, "windows-1252 (guessed)"),
        ("cp1252", ENGLISH, "windows-1252 (guessed)"),
        ("cp1252", f"one café {'and many plain words ' * 600}", "windows-1252 (guessed)"),
        ("mac_roman", ENGLISH, "mac_roman (guessed)"),
        ("cp437", GERMAN, "cp437 (guessed)"),
        ("cp1251", RUSSIAN, "cp1251 (guessed)"),
        ("koi8_r", RUSSIAN, "koi8_r (guessed)"),
        ("gb18030", CHINESE, "gb18030 (guessed)"),
        ("cp1252", "l'été où le café était fermé à cause de l'élève", "windows-1252 (guessed)"),
        ("cp1252", "El tribunal resolvió que la acción del señor había prescrito", "windows-1252 (guessed)"),
        ("cp1252", "O tribunal não reconheceu a ação e condenou o réu às custas", "windows-1252 (guessed)"),
        ("cp1252", "Domstolen fann att målsäganden inte hade rätt till ersättning", "windows-1252 (guessed)"),
        ("cp1250", "Zażółć gęślą jaźń, sąd orzekł o kosztach postępowania", "cp1250 (guessed)"),
        ("iso8859_2", "Zażółć gęślą jaźń, sąd orzekł o kosztach postępowania", "iso8859_2 (guessed)"),
        (
            "iso8859_2",
            "Zażółć gęślą jaźń. W Szczebrzeszynie chrząszcz brzmi w trzcinie, są źródła i łąki.",
            "iso8859_2 (guessed)",
        ),
        ("iso8859_2", "Příliš žluťoučký kůň úpěl ďábelské ódy, když šel do města", "iso8859_2 (guessed)"),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy, když šel do města", "cp1250 (guessed)"),
        ("cp1250", "Soud rozhodl, že žaloba se zamítá a žalobce uhradí náklady řízení", "cp1250 (guessed)"),
        ("cp1250", "A bíróság elutasította a keresetet, őszinte szűk körű érv", "cp1250 (guessed)"),
        ("cp1254", "Mahkeme davayı reddetti ve giderleri ödemesine karar verdi, şöyle", "cp1254 (guessed)"),
        ("cp1253", "Το δικαστήριο απέρριψε την προσφυγή του εναγόμενου", "cp1253 (guessed)"),
        ("cp1255", "בית המשפט דחה את התביעה וחייב את התובע בהוצאות", "cp1255 (guessed)"),
        ("cp932", "裁判所は被告の主張を退けた。損害賠償を命じる。", "cp932 (guessed)"),
        ("euc_jp", "裁判所は被告の主張を退けた。損害賠償を命じる。", "euc_jp (guessed)"),
        ("cp949", "법원은 피고의 항소를 기각하고 비용을 부담하라고 판결했다.", "cp949 (guessed)"),
    ],
)
def test_a_text_in_any_encoding_is_read_and_the_guess_is_named(encoding, text, name):
    assert decode(text.encode(encoding)) == (text, name)


@pytest.mark.parametrize("around", ["Überall “quoted” words — and cafés. ", "plain words only, one after another. "])
def test_one_byte_of_windows_1252_in_twelve_kilobytes_of_utf_8_is_mended(around):
    data = (around * 200).encode()
    text, encoding = decode(data[:6_000] + b" court\x92s " + data[6_000:])
    assert text.replace(" court’s ", "") == around * 200
    assert encoding  # and counted


def test_a_character_that_was_cut_off_is_no_reason_to_guess():
    data = ENGLISH.encode()
    assert decode(data + b"\xe2\x80") == (ENGLISH + "�", MENDED)
    assert decode(data[:20] + b"\xe2\x80" + data[20:])[0].replace("�", "", 1) == ENGLISH


def test_halves_of_a_character_are_put_together():
    assert decode(b"a smile \xed\xa0\xbd\xed\xb8\x80 and half \xed\xa0\xbd") == (
        "a smile \U0001f600 and half \ufffd",
        "cesu-8",
    )


@pytest.mark.parametrize("data", [bytes(range(256)) * 4, bytes(200), b"\0\1" * 300, b"ab\0\0" * 200])
def test_bytes_with_nulls_are_seldom_text(data):
    with pytest.raises(Drop, match="binary"):
        decode(data)


@pytest.mark.parametrize("data", [b"Name\tx\n\0" * 300, b"one\0seven\0" * 99])
def test_fields_that_end_with_a_null_are_no_chinese(data):
    with pytest.raises(Drop, match="binary"):
        decode(data)


@pytest.mark.parametrize("text", ["† see…", "x = “1”…", "いろは\n", "一二三 \n", "a\n"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_signs_whose_bytes_are_ascii(encoding, text):
    assert decode((text * 99).encode(encoding)) == (text * 99, encoding)


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0\0\0\2\0", b"a\0b"])
def test_binary_data_are_no_text(data):
    with pytest.raises(Drop, match="binary"):
        decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_dropped(data):
    try:
        assert isinstance(decode(data)[0], str)
    except Drop as drop:
        assert drop.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("court\x92s \x93Smith\x94 \x96 \x85", "court’s “Smith” – …"),
        ("itâ\x80\x99s", "it’s"),  # UTF-8 that was read as Latin-1
        ("one.\fPage two", "one.\nPage two"),
        ("a\vb\u2028c\r\nd\re", "a\nb\nc\nd\ne"),
        ("e\u0301", "é"),
        ("ﬁnal oﬀer, diﬃcult ﬂoor", "final offer, difficult floor"),
        ("fac\u00ad\n  tors and co\u00adop", "factors and coop"),
        ("a\ufeffb\u2060c\x00\x81\ud800", "abc"),
        ("naïve “café” – x²", "naïve “café” – x²"),
    ],
)
def test_the_form_of_every_text(text, expected):
    assert normalize(text) == expected


@given(st.text())
def test_the_form_is_stable(text):
    assert normalize(normalize(text)) == normalize(text)
