"""Tests that personal data is found by its form."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora.text.pii import mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to a.b-c+d@mail.example.org.", "write to [e-mail address]."),
        ("call (415) 555-1234 or +1-415-555-1234", "call [telephone number] or [telephone number]"),
        ("SSN 123-45-6789,", "SSN [social security number],"),
        ("card 4111 1111 1111 1111", "card [card number]"),
        ("connected from 8.8.8.8 we", "connected from [IP address] we"),
        ("IP addresses: 8.8.8.8, 8.8.4.4", "IP addresses: [IP address], [IP address]"),
        ("ping 8.8.8.8; the DNS server is 8.8.4.4", "ping [IP address]; the DNS server is [IP address]"),
        ("it answers at 8.8.4.4:8080", "it answers at [IP address]:8080"),
        ('8.8.8.8 - - 10/Oct/2000:13:55:36 -0700 "GET /"', '[IP address] - - 10/Oct/2000:13:55:36 -0700 "GET /"'),
        ("12:00:01 sshd: lost from 8.8.8.8", "12:00:01 sshd: lost from [IP address]"),
        ("Tel. +44.20 79460958 or phone 500 750 1000", "Tel. [telephone number] or phone [telephone number]"),
        ("+1 650.723.2300", "[telephone number]"),
        ("the host at 93.184.216.34, port 80", "the host at [IP address], port 80"),
        ("{ann,bob}@example.org", "[e-mail address]"),
        ("{ann.smith, bob}@cs.example.org and {carol}@example.org", "[e-mail address] and [e-mail address]"),
        ("(ann|bob)@example.org", "[e-mail address]"),
        ("jürgen.groß@müller.de", "[e-mail address]"),
        ("info@bücher.example or ann[at]example.org", "[e-mail address] or [e-mail address]"),
        ("call +44 20 7946 0958 now", "call [telephone number] now"),
        ("Phone: 212 556 0144", "Phone: [telephone number]"),
        ("+49 (0)30 1234567, +33 1 23 45 67 89", "[telephone number], [telephone number]"),
        ("+442079460958", "[telephone number]"),
        ("650/723-2300", "[telephone number]"),
        ("(650) 723-2300, 650.723.2300, 650 723 2300", ", ".join(["[telephone number]"] * 3)),
        ("ann [at] example [dot] org, ann(AT)example.org", "[e-mail address], [e-mail address]"),
        (
            "o'brien@example.org, 'ann@example.org', ann\\_lee@example.org",
            "[e-mail address], '[e-mail address]', [e-mail address]",
        ),
        ("ann@example.org(Ann) or ann＠example.org", "[e-mail address](Ann) or [e-mail address]"),
        (
            "Tel. No. 650-723-2300, phone: 650-723-2300 or 7232300",
            "Tel. No. [telephone number], phone: [telephone number] or 7232300",
        ),
        ("phone number: 650-723-2300 or 650-723-2301", "phone number: [telephone number] or [telephone number]"),
        ("phone 6507232300, fax: 555-0123", "phone [telephone number], fax: [telephone number]"),
        ("Tel. 030/1234567 or 020 7946 0958", "Tel. [telephone number] or [telephone number]"),
        (
            "650–723–2300, 650‑723‑2300 and (650)-723-2300",
            "[telephone number], [telephone number] and [telephone number]",
        ),
        ("cell: 555-0123, mobile no. 555-0123", "cell: [telephone number], mobile no. [telephone number]"),
        ("Cell phone: 555-0123, Mobile 07700 900123", "Cell phone: [telephone number], Mobile [telephone number]"),
        ("Tel. 01.23.45.67.89", "Tel. [telephone number]"),
        ("650-723-2300 ext. 12, 650-723-2300x12.", "[telephone number], [telephone number]."),
        (
            "Case 7; SSN 123 45 6789, ssn: 123456789",
            "Case 7; SSN [social security number], ssn: [social security number]",
        ),
        ("card 3782 822463 10005", "card [card number]"),
        ("http://8.8.8.8/x, ssh root@8.8.8.8", "http://[IP address]/x, ssh root@[IP address]"),
        ("client_ip=8.8.8.8, remote_addr: 8.8.4.4/24", "client_ip=[IP address], remote_addr: [IP address]/24"),
        ("[2606:4700:4700::1111]:443", "[[IP address]]:443"),
    ],
)
def test_what_is_masked(text, masked):
    assert mask(text)[0] == masked
    assert mask(text)[1].total() == len(re.findall(r"\[[a-zI-][\w -]+ (?:address|number)\]", masked))


@pytest.mark.parametrize(
    "text",
    [
        "@ home, a@b, user@localhost",
        "card 4111 1111 1111 1112",  # fails Luhn's rule
        "10.0.0.1 and 127.0.0.1 and 999.1.1.1 and version 1.2.3.4.5",
        "347 U.S. 483, 495 (1954); 28 U.S.C. 1331; No. 2019-123-4567890",
        "f(123-45-67890)",
        "3.14159265358979 and 1234567890123456789",
        "Table 2: 100-200-3000 tokens",
        "48 C.F.R. § 252.227-7013",
        "48 C.F.R. §§ 252.227-7013, 252.227-7014 and 252.227.7015",
        "layers of 256 512 1024 units, batches of 200 300 4000",
        "128 257 513 1025",
        "see Section 4.2.1.3, and Sections 4.2.1.4 and 4.2.1.5",
        "version 2.95.3.1, v2.95.3.2, release 11.2.0.4",
        "versions 2.95.3.1, 2.95.3.2 or 2.95.3.4",
        "4.2.1.3 The data model",
        "### 4.2.1.3 The data model",
        "from 2 to +5 and a gain of +3.5 or +12 %",
        "the set {a, b} and f(x, y)",
        "+12.34 -10.50, then +1.25 2.50 3.75",
        "at +2024-01-15, +2024-01-15 12:30",
        "500 750 1000",
        "257 513 1025 2049",
        "Oracle Database 11.2.0.4 and OpenSSL 1.1.1.8 on a server",
        "The server runs OpenSSL 1.1.1.8, the host Oracle 11.2.0.4.",
        "SQL Server 11.2.0.4",
        "12:00:01 Oracle 11.2.0.4 started",
        "foo==1.24.3.2",
        "as shown in 4.2.1.3, from 11.2.0.4 to 19.3.0.1",
        "x@y.transpose(0), x@np.linalg.inv(a), q@k.shape[0] and a@b.transpose",
        "we met at [at] noon",
        "git clone git@example.org:team/code.git, git@example.org/code",
        "000-12-3456, 666-12-3456, 123-00-4567, 123-45-0000",
        "Docket No. 123-45-6789; NIST SP 800-53-2020; id 123456789; 123 45 6789",
        "toolchain (1:14~+20210524112233+15b2a8e7faf6-1), headers/c++1998/42319.cc",
        "555-0123, 6507232300 and 020 7946 0958",
        "mobile networks at 700-2600 MHz, phone sales of 200-3000 units",
        "2001:db8::1, 2024:10:05, std::map and a::b",
        "from 4.2.1.3/2 to 4.2.1.4/3",
        "sent the fax 03/14/2005, each cell 05/12/2020, phone 05.12.2020 10:30, fax 03/14/05, call +2024-01-15",
        "T cell 500-2000 per ml, per cell 200-1000 copies, cell 012 345, phone 012 345",
        "blood cell: 400-1000, cell number 200-1000, fax 200-1000 pages, a cell 412-1033",
    ],
)
def test_what_is_left(text):
    assert mask(text)[0] == text


@given(st.text(alphabet="ab@.-() 0123456789+", max_size=200))
def test_nothing_is_found_in_what_was_masked(text):
    masked, kinds = mask(text)
    assert mask(masked) == (masked, type(kinds)())
    assert (masked == text) == (not kinds)


@pytest.mark.parametrize("piece", ["/", "1/", "11/", "11, ", "(1 or ", " ", "12 34;"])
def test_many_signs_before_a_number_take_no_time(piece):
    begun = time.process_time()
    for _ in range(20):
        mask(f"phone {piece * (90 // len(piece))}x 212-555-1234 ")
    assert time.process_time() - begun < 0.2  # of 2 seconds, if each sign could be read in two ways
