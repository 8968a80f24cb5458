"""Where the tiles of an array go: one shard per fold, whatever the folders above the array are called."""

import pytest

from acinus.records import is_safe_id
from acinus.stages.extract import _fold


@pytest.mark.parametrize(
    "image", ["Fold 1/images/fold1/images.npy#12", "Fold 1/images.npy#12", "fold_1/x/images.npy#12"]
)
def test_tiles_of_one_fold_share_a_shard_with_a_safe_name(image: str) -> None:
    assert _fold("fold1_000012", image) == "fold1"
    assert is_safe_id("fold1")


def test_a_slide_of_its_own_file_has_no_fold() -> None:
    assert _fold("patient_017_node_2", "images/patient_017_node_2.tif") is None
