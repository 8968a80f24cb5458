"""Keys come from outside: only plain ones pass, and no two share a file name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.errors import AcinusError
from acinus.patches.keys import file_stem, parse_key, patch_key

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}", fullmatch=True)
PX = st.integers(-500, 300_000)


def test_a_key_reads_as_documented():
    assert patch_key("tumor_001", 256, 0) == "tumor_001/256_0"
    assert parse_key("tumor_001/-85_1024") == ("tumor_001", -85, 1024)


@given(IDS, PX, PX)
def test_a_key_comes_back(slide_id: str, x0: int, y0: int):
    assert parse_key(patch_key(slide_id, x0, y0)) == (slide_id, x0, y0)


@given(st.lists(st.tuples(IDS, PX, PX), min_size=2, max_size=6, unique=True))
def test_different_patches_have_different_files(patches: list[tuple[str, int, int]]):
    assert len({file_stem(patch_key(*patch)) for patch in patches}) == len(patches)


BAD = [
    "",
    "a",
    "a/",
    "a/1",
    "a/1_2_3",
    "a/1_2/3",
    "a/1_2\n",
    "../x/1_2",
    "a/../b/1_2",
    "/1_2",
    ".a/1_2",
    "a/1_x",
    "a/\uff11_2",
]


@pytest.mark.parametrize("key", BAD)
def test_anything_else_is_refused(key: str):
    with pytest.raises(AcinusError, match="expected <slide_id>/<x0>_<y0>"):
        parse_key(key)
