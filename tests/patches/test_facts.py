"""What a store's patches cost: PSNR against another library, a stated sample, sums over shards."""

import json

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from acinus.errors import AcinusError
from acinus.patches.codec import decode, encode
from acinus.patches.facts import SAMPLED, Tally, extraction, extraction_metrics
from acinus.patches.store import StoreFormat
from acinus.patches.writer import encoded, is_sampled, psnr_db

JPEG = StoreFormat("lmdb", "jpeg", 80, 32)


def test_psnr_is_that_of_scikit_image(picture) -> None:
    image = picture(32, 32)
    for quality in (5, 50, 95):
        back = decode(encode(image, "jpeg", quality), "jpeg")
        assert psnr_db(image, back) == pytest.approx(peak_signal_noise_ratio(image, back, data_range=255))
    assert psnr_db(image, image) is None
    assert psnr_db(np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)) == 0.0


def test_the_sample_is_as_large_as_it_says_and_the_same_ones_every_time() -> None:
    keys = [f"slide/{x}_{y}" for x in range(100) for y in range(100)]
    chosen = [key for key in keys if is_sampled(key)]
    assert chosen == [key for key in keys if is_sampled(key)]
    assert abs(len(chosen) - len(keys) / SAMPLED) < 4 * (len(keys) / SAMPLED) ** 0.5


@pytest.mark.parametrize("threads", [1, 3])
def test_patches_keep_their_order_and_bytes_pass(threads: int, picture) -> None:
    given = [(f"a/{n}_0", "x", b"own %d" % n if n % 7 < 2 else picture(32, 32, n)) for n in range(100)]
    tally = Tally()
    found = list(encoded(iter(given), JPEG, threads, tally))
    assert [key for key, _, _ in found] == [key for key, _, _ in given]
    losses = []
    for (key, _, image), (_, _, data) in zip(given, found, strict=True):
        if isinstance(image, bytes):
            assert data is image
            continue
        assert data == encode(image, "jpeg", 80)
        if is_sampled(key):
            losses.append(peak_signal_noise_ratio(image, decode(data, "jpeg"), data_range=255))
    facts = tally.facts()
    assert (facts.sampled, facts.unchanged) == (len(losses), 0)
    assert len(losses) > 1
    assert facts.sum_db == pytest.approx(sum(losses))
    assert facts.least_db == pytest.approx(min(losses))


@pytest.mark.parametrize("codec", ["png", "raw"])
def test_what_is_kept_exactly_is_not_looked_at(codec: str, picture) -> None:
    tally = Tally()
    form = StoreFormat("lmdb", codec, 80, 32)
    list(encoded(((f"a/{n}_0", "x", picture(32, 32)) for n in range(60)), form, 1, tally))
    assert tally.facts().sampled == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_patch_of_another_size_is_named(threads: int, picture) -> None:
    with pytest.raises(AcinusError, match=r"patch a/0_0 has shape \(16, 32, 3\), expected \(32, 32, ...\)"):
        list(encoded([("a/0_0", "x", picture(16, 32))], JPEG, threads, Tally()))


def test_shards_add_up_and_an_undefined_metric_is_null() -> None:
    one, other = Tally(), Tally()
    for tally, losses in ((one, (30.0, None, 50.0)), (other, (40.0,))):
        tally.losses_db.extend(losses)
        tally.counts.update({"encoded": 40, "tile": len(losses), "source_tiles": 5, "decodes": 6})
        tally.through_openslide.update({"why": 2, "never": 0})
    content = extraction([one.facts(), other.facts()])
    assert content["openslide_reasons"] == {"why": 4}
    assert extraction_metrics(content) == {
        "patches_tile": 4,
        "patches_cut": 0,
        "patches_encoded": 80,
        "patches_stored": 0,
        "patches_openslide": 4,
        "source_tiles": 10,
        "second_jpeg_sampled": 4,
        "second_jpeg_unchanged": 1,
        "second_jpeg_psnr_db": 40.0,
        "second_jpeg_psnr_db_min": 30.0,
    }
    none = extraction([Tally().facts()])
    assert (none["second_jpeg_psnr_db"], none["second_jpeg_psnr_db_min"]) == (None, None)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert extraction([])["patches_encoded"] == 0
