"""Tests the names of licences on the Hub, and their order by strictness."""

import pytest
from huggingface_hub import DatasetCardData

from autodata.data.card import is_known, order_licences


@pytest.mark.parametrize(
    ("stated", "names"),
    [
        ("odc-by", ["odc-by"]),
        ("Apache-2.0", ["apache-2.0"]),
        ("CC BY-NC-SA 4.0", ["cc-by-nc-sa-4.0"]),
        ("cc-by-4.0", ["cc-by-4.0"]),
        ("CCBYNCND", ["cc"]),
        ("CC0", ["cc0-1.0"]),
        ("public-domain", ["other"]),
        ("mit; odc-by", ["odc-by", "mit"]),
        ("unknown", ["unknown"]),
        ("", ["unknown"]),
        ("publisher-specific-oa", ["unknown"]),
        ("all rights reserved", ["unknown"]),
        ("cc-by-9.9", ["unknown"]),
    ],
)
def test_what_sources_state_has_a_name_on_the_hub_or_is_unknown(stated, names):
    assert order_licences([stated]) == names
    assert is_known(stated) == ("unknown" not in names)


def test_one_unknown_part_makes_a_whole_unknown():
    assert not is_known("mit; own terms")


def test_the_strictest_comes_first():
    stated = ["CC0", "mit", "cc-by-sa-4.0", "cc-by-nc-sa-4.0; odc-by", "CCBYNCND", "my own"]
    assert order_licences(stated) == ["unknown", "cc", "cc-by-nc-sa-4.0", "cc-by-sa-4.0", "odc-by", "mit", "cc0-1.0"]
    assert order_licences([]) == []
    assert DatasetCardData(license=order_licences(["mit"])).to_dict()["license"] == ["mit"]
