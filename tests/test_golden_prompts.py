"""Tests that prompts equal the golden files, so that a reviewer sees every change of a prompt."""

import pytest

from tests.helpers.golden_prompts import GOLDEN, find_templates, render_all


@pytest.mark.parametrize("name", sorted(find_templates()))
def test_a_prompt_is_what_its_golden_file_says(name):
    assert name in render_all(), f"{find_templates()[name]}: show it in tests/helpers/golden_prompts.py"
    renewed = "python -m tests.helpers.golden_prompts renews it; read the diff"
    assert (GOLDEN / name).exists(), renewed
    assert (GOLDEN / name).read_text(encoding="utf-8") == render_all()[name], renewed


def test_no_golden_file_is_left_of_a_template_that_is_gone():
    assert {path.name for path in GOLDEN.iterdir()} == find_templates().keys()
