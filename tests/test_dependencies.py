"""Tests that the page of dependencies follows the pins and that no imported package is copyleft."""

from importlib.metadata import version

import pytest

from tests.helpers import dependencies


@pytest.mark.skipif(version("torch") != dependencies.read_pins()["torch"], reason="the page tells of the CPU install")
def test_the_page_is_up_to_date():
    assert dependencies.PAGE.read_text() == dependencies.write_page()


def test_no_direct_dependency_is_copyleft_or_unknown():
    families = {name: dependencies.find_family(dependencies.find_licence(name)) for name in dependencies.read_direct()}
    assert {name: family for name, family in families.items() if family in ("GPL", "LGPL", "unknown", "other")} == {}


def test_every_purpose_is_of_a_direct_dependency():
    assert sorted(dependencies.PURPOSES) == list(dependencies.read_direct())
