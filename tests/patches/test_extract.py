"""From a slide on disk to the store: the pixels are those of the slide, a bad tile names it, work resumes."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from acinus import records
from acinus.errors import AcinusError, SlideError
from acinus.patches import extract as extract_module
from acinus.patches.codec import CODECS
from acinus.patches.extract import (
    ShardJob,
    SlideSource,
    StorePlan,
    finish_stores,
    identity_of,
    reading_code,
    shard_jobs,
    write_shard_of,
)
from acinus.patches.store import StoreFormat, open_store

PX = 32
WIDTH, HEIGHT = 200, 150
SLIDES = ("normal_001", "tumor_001", "tumor_002")
NO_ROWS = records.frame(records.SAMPLE, [])


def picture(slide_id: str) -> np.ndarray:
    rng = np.random.default_rng([*slide_id.encode()])
    image: np.ndarray = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return image


def rows(slide_id: str, downsample: float = 1.0) -> list[dict[str, object]]:
    label = records.TUMOR if slide_id.startswith("tumor") else records.NORMAL
    return [
        {
            "slide_id": slide_id,
            "x0": x0,
            "y0": y0,
            "downsample": downsample,
            "patch_px": PX,
            "tissue_fraction": 1.0,
            "tumour_fraction": float(label),
            "class_fractions": (1.0 - label, float(label)),
            "label": label if x0 else records.NORMAL,
            "split": "train",
        }
        for x0, y0 in ((0, 0), (64, 32), (33, 7), (190, 140))  # the last hangs over the corner
    ]


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, SlideSource]:
    found = {}
    for slide_id in SLIDES:
        path = tmp_path / f"{slide_id}.tif"
        full = picture(slide_id)
        options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None}
        with tifffile.TiffWriter(path) as tiff:
            tiff.write(full, subfiletype=0, **options)
            tiff.write(full[::2, ::2], subfiletype=1, **options)
        found[slide_id] = SlideSource(path, f"fingerprint of {slide_id}")
    return found


@pytest.fixture
def plan(tmp_path: Path) -> StorePlan:
    form = StoreFormat("lmdb", "raw", 90, PX)
    return StorePlan(tmp_path / "store", tmp_path / "ledger", form, 256, ("normal", "tumor"), "code 1")


@pytest.fixture
def sample() -> pd.DataFrame:
    return records.frame(records.SAMPLE, [row for slide in SLIDES for row in rows(slide)])


def extract(jobs: list[ShardJob]) -> None:
    finish_stores(jobs[0].plan, [write_shard_of(job) for job in jobs], NO_ROWS)


def test_the_store_holds_the_pixels_of_the_slides(sample, sources, plan):
    extract(shard_jobs(sample, sources, plan))
    store = open_store(plan.store)
    assert len(store.keys()) == 12
    for slide in SLIDES:
        white = np.full((HEIGHT + PX, WIDTH + PX, 3), 255, np.uint8)
        white[:HEIGHT, :WIDTH] = picture(slide)
        for x0, y0 in ((0, 0), (64, 32), (33, 7), (190, 140)):
            assert np.array_equal(store.read(f"{slide}/{x0}_{y0}"), white[y0 : y0 + PX, x0 : x0 + PX])
    assert store.index.classes == {"normal": 6, "tumor": 6}


def test_the_working_resolution_is_that_of_the_sample(sources, plan):
    sample = records.frame(records.SAMPLE, rows("tumor_001", downsample=2.0))
    extract(shard_jobs(sample, sources, plan))
    expected = picture("tumor_001")[::2, ::2][16 : 16 + PX, 32 : 32 + PX]
    assert np.array_equal(open_store(plan.store).read("tumor_001/64_32"), expected)


def test_slides_share_shards_beyond_the_limit_and_the_pixels_are_the_same(sample, sources, plan, tmp_path):
    few = replace(plan, store=tmp_path / "few", ledger=tmp_path / "few-ledger", max_shards=1)
    extract(shard_jobs(sample, sources, plan))
    extract(shard_jobs(sample, sources, few))
    one, other = open_store(plan.store), open_store(few.store)
    assert (len(one.index.shards), len(other.index.shards)) == (3, 1)
    keys = one.keys()
    assert keys == other.keys()
    assert all(np.array_equal(one.read(key), other.read(key)) for key in keys)


def test_jobs_travel_to_other_processes(sample, sources, plan):
    for job in shard_jobs(sample, sources, plan):
        assert pickle.loads(pickle.dumps(job)) == job


def test_a_tile_that_cannot_be_read_names_its_slide_and_leaves_no_shard(sample, sources, plan):
    path = sources["tumor_001"].path
    with tifffile.TiffFile(path) as tiff:
        offset, size = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + size] = b"\xaa" * size
    path.write_bytes(data)
    jobs = {job.name: job for job in shard_jobs(sample, sources, plan)}
    write_shard_of(jobs["normal_001"])
    with pytest.raises(SlideError, match="tumor_001"):
        write_shard_of(jobs["tumor_001"])
    assert sorted(path.name for path in (plan.store / "shards").iterdir()) == ["normal_001.lmdb"]


def test_a_shard_is_written_again_only_when_something_it_is_made_of_changed(sample, sources, plan):
    job = next(job for job in shard_jobs(sample, sources, plan) if job.name == "tumor_001")
    own = job.slides[0]
    write_shard_of(job)
    file = plan.store / "shards" / "tumor_001.lmdb"
    before = file.stat()
    assert write_shard_of(job).images.sha256
    assert file.stat().st_ino == before.st_ino
    changed = [
        replace(job, slides=(replace(own, places=own.places[1:]),)),
        replace(job, slides=(replace(own, downsample=2.0),)),
        replace(job, slides=(replace(own, source=replace(own.source, fingerprint="another")),)),
        replace(job, plan=replace(plan, code="code 2")),
        replace(job, plan=replace(plan, classes=("benign", "tumor"))),
        replace(job, plan=replace(plan, form=replace(plan.form, codec="png"))),
    ]
    assert len({identity_of(one) for one in [job, *changed]}) == 1 + len(changed)
    elsewhere = replace(plan, store=plan.store / "moved", max_shards=3, decode_threads=7, memory_mib=99)
    assert identity_of(replace(job, plan=elsewhere)) == identity_of(job)
    write_shard_of(changed[2])
    assert file.stat().st_ino != before.st_ino


def test_bad_samples_are_refused_in_one_line(sample, sources, plan):
    with pytest.raises(AcinusError, match="tumor_001: in the sample but not in the manifest"):
        shard_jobs(sample, {key: value for key, value in sources.items() if key != "tumor_001"}, plan)
    with pytest.raises(AcinusError, match="label -1 is none of classes"):
        shard_jobs(sample.assign(label=records.IGNORE), sources, plan)
    with pytest.raises(AcinusError, match="expected one downsample and 64 px"):
        shard_jobs(sample, sources, replace(plan, form=replace(plan.form, patch_px=64)))
    own = sample[sample["slide_id"] == "tumor_001"]
    far = shard_jobs(own.assign(x0=own["x0"] + 4000), sources, plan)[0]
    with pytest.raises(SlideError, match=r"tumor_001: patch .* lies outside"):
        write_shard_of(far)


def test_windows_of_cells_hang_over_every_border_and_stay_centred(sources, plan):
    """Corners left of and above the slide are legal; a patch that touches no pixel of the slide is not."""
    wide = replace(plan, form=replace(plan.form, patch_px=299))
    places = [(-85, -85), (43, -85), (171, 43), (-85, 43)]
    sample = records.frame(
        records.SAMPLE,
        [row | {"x0": x0, "y0": y0, "patch_px": 299} for row, (x0, y0) in zip(rows("a"), places, strict=True)],
    )
    extract(shard_jobs(sample, {"a": sources["tumor_001"]}, wide))
    white = np.full((HEIGHT + 600, WIDTH + 600, 3), 255, np.uint8)
    white[300 : 300 + HEIGHT, 300 : 300 + WIDTH] = picture("tumor_001")
    store = open_store(plan.store)
    for x0, y0 in places:
        expected = white[300 + y0 : 599 + y0, 300 + x0 : 599 + x0]
        assert np.array_equal(store.read(f"a/{x0}_{y0}"), expected)
    assert np.array_equal(store.read("a/-85_-85")[85:213, 85:213], picture("tumor_001")[:128, :128])
    for x0, y0 in ((-299, 0), (0, -299), (WIDTH, 0), (0, HEIGHT)):
        beyond = shard_jobs(sample.head(1).assign(x0=x0, y0=y0), {"a": sources["tumor_001"]}, wide)[0]
        with pytest.raises(SlideError, match=rf"slide a: patch at level-0 px \({x0}, {y0}\) lies outside 200 x 150"):
            write_shard_of(beyond)


def test_named_shards_hold_their_slides_and_the_others_have_one_each(sample, sources, plan, tmp_path):
    named = {slide: replace(source, shard="fold-1") for slide, source in sources.items() if slide != "tumor_001"}
    jobs = shard_jobs(sample, sources | named, plan)
    assert [(job.name, [own.slide_id for own in job.slides]) for job in jobs] == [
        ("fold-1", ["normal_001", "tumor_002"]),
        ("tumor_001", ["tumor_001"]),
    ]
    extract(jobs)
    open_store(plan.store).verify()
    assert len(open_store(plan.store).keys()) == 12


def test_the_digest_of_the_code_is_stable_and_knows_what_cuts_tiles_where_they_are_cut(monkeypatch):
    codes = {codec: reading_code(codec) for codec in CODECS}
    assert {codec: reading_code(codec) for codec in CODECS} == codes
    assert {len(code) for code in codes.values()} == {32}
    monkeypatch.setattr(extract_module, "cutter_version", lambda: "another")
    changed = [codec for codec in CODECS if reading_code(codec) != codes[codec]]
    assert changed == ["source"]
