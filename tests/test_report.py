"""Tests reports without a browser: the page, its charts, and the command."""

import base64
import hashlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.report import page
from autodata.report.charts import Box, Columns, Frame, Line, Lines, Point, Scale, Series, Step, cover, widths
from autodata.report.index import main, report
from autodata.run.records import RunError
from autodata.stats.writing import write_number
from tests.helpers.commands import fails, find_failure

FRAME = Frame("Verdicts", "how many", "round", "candidates")
EVIL = '</script><script>window.harmed = 1</script><img src=x onerror="window.harmed = 1">'


def test_a_page_loads_nothing_and_runs_only_its_own_script():
    html = page.render("page.j2", "A run", sections={"one": "One"})
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        for source in re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL):
            assert f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}" in policy
    assert not re.search(r'(src|href)="(?!#)', html)
    assert 'href="#one"' in html


def test_facts_are_text():
    html = page.render("page.j2", EVIL, sections={EVIL: EVIL})
    assert EVIL not in html
    assert html.count("<script>") == 1
    assert "&lt;img src=x" in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (12345, "12,345"), (0.12345, "0.123"), (2.0, "2"), (12345.6, "12,346"), ("a", "a")],
)
def test_numbers_for_readers(value, shown):
    assert write_number(value) == shown


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), max_size=8))  # those round to 0 steps of the axis
def test_an_axis_covers_its_values_and_its_ticks_lie_on_it(values):
    axis = cover(values, 0, 100)
    assert all(axis.low <= value <= axis.high for value in [0, *values])
    assert 2 <= len(axis.ticks) <= 12
    assert all(-0.1 <= axis.at(tick) <= 100.1 for tick in axis.ticks)


def test_counts_have_whole_ticks():
    assert cover([1, 2], 0, 100).ticks == [0, 1, 2]
    assert Scale(0, 1, 0, 100).ticks == [0, 0.2, 0.4, 0.6, 0.8, 1]


def test_stacked_columns_stand_on_each_other():
    chart = Columns(FRAME, [1, 2], [Series("sound", "accepted", [3, 0]), Series("not", "malformed", [1, 4])])
    first, second, third = chart.boxes
    assert first == Box(first.x, chart.y.at(3), first.width, first.height, "accepted", "1, sound: 3")
    assert second.y + second.height == pytest.approx(first.y)
    assert third.height == pytest.approx(first.height + second.height, abs=0.2)
    assert chart.table == (["round", "sound", "not"], [[1, 3, 1], [2, 0, 4]])


def test_a_band_goes_there_and_back():
    chart = Lines(FRAME, [Line("yield", "accent", [(0, 1), (1, 3)], [(0, 2), (2, 4)])])
    assert len(chart.area(chart.lines[0]).split()) == 4
    assert chart.y.high >= 4
    assert chart.table[1] == [[0, 1, 0, 2], [1, 3, 2, 4]]


def test_a_point_for_many_is_larger_but_not_without_end():
    radii = [Point(0, 0, "accent", "", count).radius for count in (1, 10, 10_000)]
    assert radii == sorted(radii)
    assert radii[-1] <= 14


def test_a_funnel_of_nothing_has_no_shares():
    assert widths([Step("a", 0), Step("b", 0)])[1][1:] == (0, None)
    assert [share for _, _, share in widths([Step("a", 4), Step("b", 1)])] == [None, 0.25]


def test_what_is_no_run_or_of_no_known_kind_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no manifest\.json"):
        report(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"inputs": {"kind": "tea"}}))
    with pytest.raises(RunError, match="no report for a run of kind 'tea'"):
        report(tmp_path)


def test_the_command_says_what_it_does_and_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["report", "--help"])
    assert find_failure(main) == ""
    assert "python -m autodata.report" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["report", str(tmp_path)])
    with fails(r"not a run folder"):
        main()
