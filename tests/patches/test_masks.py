"""A segmentation's store: pixels and masks of the same keys, whole together or not finished at all."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from acinus import records
from acinus.errors import AcinusError, SlideError
from acinus.labels.labels import LabelRow, LabelRules
from acinus.patches.extract import (
    ShardJob,
    SlideSource,
    StorePlan,
    finish_stores,
    identity_of,
    masks_identity_of,
    shard_jobs,
    write_shard_of,
)
from acinus.patches.store import BACKENDS, StoreFormat, open_mask_store, open_store

PX = 32
WIDTH, HEIGHT = 200, 150
SLIDES = {"s1": "train", "s2": "train", "s3": "test"}
PLACES = ((0, 0), (64, 32), (33, 7), (190, 140))  # the last hangs over the corner
CLASSES = ("background", "gland", "tumour")
RULES = LabelRules(CLASSES, {"here": {10: "background", 20: "gland", 30: "tumour", 40: "ignore"}})


def picture(slide_id: str) -> np.ndarray:
    image: np.ndarray = np.random.default_rng([*slide_id.encode()]).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return image


def truth(slide_id: str) -> np.ndarray:
    """Class indices, 255 where ignored: blobs of 5 px, so that a shift by one px is seen."""
    rng = np.random.default_rng([7, *slide_id.encode()])
    coarse = rng.choice(np.array([0, 1, 2, 255], np.uint8), (HEIGHT // 5, WIDTH // 5))
    return np.kron(coarse, np.ones((5, 5), np.uint8))


def write_label(path: Path, slide_id: str) -> None:
    values = np.zeros(256, np.uint8)
    values[[0, 1, 2, 255]] = (10, 20, 30, 40)
    tifffile.imwrite(path, values[truth(slide_id)], tile=(64, 64), compression="zlib", metadata=None)


def mask_of(slide_id: str, x0: int, y0: int) -> np.ndarray:
    padded = np.full((HEIGHT + PX, WIDTH + PX), 255, np.uint8)
    padded[:HEIGHT, :WIDTH] = truth(slide_id)
    return padded[y0 : y0 + PX, x0 : x0 + PX]


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, SlideSource]:
    found = {}
    for slide_id in SLIDES:
        image, mask = tmp_path / f"{slide_id}.tif", tmp_path / f"{slide_id}_mask.tif"
        options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None}
        tifffile.imwrite(image, picture(slide_id), **options)
        write_label(mask, slide_id)
        row = LabelRow(slide_id, mask, "mask", True, "here", WIDTH, HEIGHT)
        found[slide_id] = SlideSource(image, f"image {slide_id}", None, row, f"label {slide_id}")
    return found


def rows(slide_id: str, downsample: float = 1.0) -> list[dict[str, object]]:
    return [
        {
            "slide_id": slide_id,
            "x0": x0,
            "y0": y0,
            "downsample": downsample,
            "patch_px": PX,
            "tissue_fraction": 1.0,
            "tumour_fraction": 0.5,
            "class_fractions": (0.3, 0.2, 0.5),
            "label": int(x0 > 0),
            "split": SLIDES[slide_id],
        }
        for x0, y0 in PLACES
    ]


@pytest.fixture
def sample() -> pd.DataFrame:
    return records.frame(records.SAMPLE, [row for slide in SLIDES for row in rows(slide)])


def plan_of(folder: Path, backend: str = "lmdb") -> StorePlan:
    form = StoreFormat(backend, "png", 90, PX)  # type: ignore[arg-type]
    return StorePlan(folder / "store", folder / "ledger", form, 256, CLASSES, "code 1", RULES)


@pytest.fixture(params=sorted(BACKENDS))
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> StorePlan:
    return plan_of(tmp_path, request.param)


def extract(sample: pd.DataFrame, sources: dict[str, SlideSource], plan: StorePlan) -> None:
    finish_stores(plan, [write_shard_of(job) for job in shard_jobs(sample, sources, plan)], sample)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_masks_are_those_of_the_labels_under_the_same_keys(sample, sources, plan):
    extract(sample, sources, plan)
    images, masks = open_store(plan.store), open_mask_store(plan.store)
    assert images.keys() == masks.keys()
    assert len(masks.keys()) == 12
    for slide in SLIDES:
        for x0, y0 in PLACES:
            read = masks.read(f"{slide}/{x0}_{y0}")
            assert read.dtype == np.uint8
            assert np.array_equal(read, mask_of(slide, x0, y0))
            assert images.read(f"{slide}/{x0}_{y0}").shape == (PX, PX, 3)
    assert masks.index.codec == "mask"
    assert masks.index.classes == images.index.classes == {"background": 3, "foreground": 9}
    images.verify()
    masks.verify()


def test_masks_at_a_working_resolution_are_looked_at_in_the_centres_of_its_px(sources, tmp_path):
    plan = plan_of(tmp_path)
    sample = records.frame(records.SAMPLE, rows("s1", downsample=2.0)[:3])
    extract(sample, sources, plan)
    padded = np.full((HEIGHT + 2 * PX, WIDTH + 2 * PX), 255, np.uint8)
    padded[:HEIGHT, :WIDTH] = truth("s1")
    expected = padded[32 + 1 : 32 + 2 * PX : 2, 64 + 1 : 64 + 2 * PX : 2]  # centres lie at x0 + 2 c + 1
    assert np.array_equal(open_mask_store(plan.store).read("s1/64_32"), expected)


def test_rows_of_an_array_file_are_slides_with_masks_of_their_own(tmp_path):
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (3, PX, PX, 3)).astype(np.float64)
    channel = rng.integers(0, 6, (3, PX, PX))
    masks = (np.arange(6) == channel[..., None]) * rng.integers(1, 99, (3, PX, PX, 1)).astype(np.float64)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "masks.npy", masks)
    names = ("background", "neoplastic", "inflammatory", "connective", "dead", "epithelial")
    plan = replace(plan_of(tmp_path), classes=names, rules=LabelRules(names, {}))
    sources, table = {}, []
    for number in (0, 2):
        slide = f"fold1_{number:04d}"
        label = LabelRow(slide, tmp_path / f"masks.npy#{number}", "fold", True, "pannuke", PX, PX)
        sources[slide] = SlideSource(tmp_path / f"images.npy#{number}", "a", "fold1", label, "b")
        table.append(rows("s1")[0] | {"slide_id": slide})
    extract(records.frame(records.SAMPLE, table), sources, plan)
    store, stored = open_store(plan.store), open_mask_store(plan.store)
    assert [shard.name for shard in store.index.shards] == [shard.name for shard in stored.index.shards] == ["fold1"]
    for number in (0, 2):
        key = f"fold1_{number:04d}/0_0"
        assert np.array_equal(store.read(key), images[number].astype(np.uint8))
        assert np.array_equal(stored.read(key), (channel[number] + 1) % 6)


def test_bytes_are_the_same_twice_and_the_pixels_are_those_of_a_classification(sample, sources, plan, tmp_path):
    extract(sample, sources, plan)
    again = replace(plan, store=tmp_path / "again", ledger=tmp_path / "again-ledger")
    extract(sample.sample(frac=1.0, random_state=1), sources, again)
    assert tree(plan.store) == tree(again.store)
    plain = replace(
        plan, store=tmp_path / "plain", ledger=tmp_path / "l", rules=None, classes=("background", "foreground")
    )
    extract(sample, sources, plain)
    shards = {name: data for name, data in tree(plan.store).items() if "masks/" not in name and ".csv" not in name}
    assert shards == tree(plain.store)


def test_a_finished_extraction_is_not_done_again_and_an_edited_label_rewrites_its_masks_only(sample, sources, plan):
    extract(sample, sources, plan)
    before = {path: path.stat().st_ino for path in sorted(plan.store.glob("**/shards/*"))}
    assert len(before) == 6
    extract(sample, sources, plan)
    assert {path: path.stat().st_ino for path in before} == before
    write_label(sources["s2"].label.path, "s1")
    extract(sample, sources | {"s2": replace(sources["s2"], label_fingerprint="edited")}, plan)
    changed = [path for path, inode in before.items() if path.stat().st_ino != inode]
    assert [path.relative_to(plan.store).parts[:2] for path in changed] == [("masks", "shards")]
    assert changed[0].stem == "s2"
    assert np.array_equal(open_mask_store(plan.store).read("s2/64_32"), mask_of("s1", 64, 32))


def test_masks_have_an_identity_of_all_that_decides_them_and_of_no_path(sample, sources, tmp_path):
    plan = plan_of(tmp_path)
    job = shard_jobs(sample, sources, plan)[0]
    own = job.slides[0]

    def of(**changes: object) -> ShardJob:
        return replace(job, slides=(replace(own, source=replace(own.source, **changes)),))

    label = own.source.label
    changed = [
        of(label_fingerprint="another"),
        of(label=replace(label, provider="there")),
        of(label=replace(label, exhaustive=False)),
        of(label=replace(label, label_kind="none")),
        replace(job, slides=(replace(own, places=own.places[1:]),)),
        replace(job, slides=(replace(own, downsample=2.0),)),
        replace(job, plan=replace(plan, code="code 2")),
        replace(job, plan=replace(plan, rules=replace(RULES, mask_values={"here": {10: "gland"}}))),
        replace(job, plan=replace(plan, rules=replace(RULES, classes=("background", "tumour", "gland")))),
    ]
    assert len({masks_identity_of(one) for one in [job, *changed]}) == 1 + len(changed)
    for same in (of(fingerprint="pixels"), of(path=Path("/x")), of(label=replace(label, path=Path("/y")))):
        assert masks_identity_of(same) == masks_identity_of(job)
    assert identity_of(changed[0]) == identity_of(job)


def test_pixels_without_their_masks_are_no_finished_store(sample, sources, plan):
    extract(sample, sources, plan)
    path = sources["s2"].label.path
    path.write_bytes(b"no mask")
    broken = sources | {"s2": replace(sources["s2"], label_fingerprint="edited")}
    jobs = {job.name: job for job in shard_jobs(sample, broken, plan)}
    with pytest.raises(SlideError, match="slide s2"):
        write_shard_of(jobs["s2"])
    for opened in (open_store, open_mask_store):
        with pytest.raises(AcinusError, match="no finished patch store"):
            opened(plan.store)
    write_label(path, "s2")
    extract(sample, sources, plan)
    open_mask_store(plan.store).verify()


def test_a_damaged_shard_of_masks_is_found_and_written_again(sample, sources, plan):
    extract(sample, sources, plan)
    whole = tree(plan.store)
    file = next(iter(sorted((plan.store / "masks" / "shards").iterdir())))
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    with pytest.raises(AcinusError, match="shard s1"):
        open_mask_store(plan.store).verify()
    open_store(plan.store).verify()
    extract(sample, sources, plan)
    assert tree(plan.store) == whole


def test_nothing_of_a_segmentation_is_left_by_a_classification(sample, sources, plan):
    extract(sample, sources, plan)
    (plan.store / ".train.csv.x.part").mkdir()
    plain = replace(plan, rules=None, classes=("normal", "tumor"))
    extract(sample, sources, plain)
    fresh = replace(plain, store=plan.store.with_name("fresh"), ledger=plan.store.with_name("fresh-ledger"))
    extract(sample, sources, fresh)
    assert tree(plan.store) == tree(fresh.store)
    assert {path.name for path in plan.store.iterdir()} == {path.name for path in fresh.store.iterdir()}
    assert tree(plan.ledger).keys() == tree(fresh.ledger).keys()
    assert not plan.masks().ledger.exists()


def test_image_files_are_listed_beside_their_masks_split_by_split(sample, sources, tmp_path):
    plan = plan_of(tmp_path, "files")
    extract(sample, sources, plan)
    texts = {split: (plan.store / f"{split}.csv").read_text() for split in ("train", "val", "test")}
    listed = {split: list(csv.DictReader(text.splitlines())) for split, text in texts.items()}
    assert {split: len(rows) for split, rows in listed.items()} == {"train": 8, "val": 0, "test": 4}
    assert listed["train"][1] == {
        "image": "images/foreground/s1/s1_33_7.png",
        "mask": "masks/images/foreground/s1/s1_33_7.png",
        "slide_id": "s1",
        "x0": "33",
        "y0": "7",
    }
    assert texts["val"] == "image,mask,slide_id,x0,y0\n"
    for row in [*listed["train"], *listed["test"]]:
        x0, y0 = int(row["x0"]), int(row["y0"])
        with Image.open(plan.store / row["image"]) as image, Image.open(plan.store / row["mask"]) as mask:
            inside = np.asarray(image)[: HEIGHT - y0, : WIDTH - x0]
            assert np.array_equal(inside, picture(row["slide_id"])[y0 : y0 + PX, x0 : x0 + PX])
            assert np.array_equal(np.asarray(mask), mask_of(row["slide_id"], x0, y0))
    images = {str(path.relative_to(plan.store)) for path in plan.store.rglob("*.png")}
    assert images == {row[kind] for rows in listed.values() for row in rows for kind in ("image", "mask")}


def test_lists_go_with_the_image_files(sample, sources, tmp_path):
    plan = plan_of(tmp_path, "files")
    extract(sample, sources, plan)
    extract(sample, sources, replace(plan, form=replace(plan.form, backend="hdf5")))
    assert sorted(path.name for path in plan.store.iterdir()) == ["masks", "shards", "store.json"]
    assert sorted(path.name for path in (plan.store / "masks").iterdir()) == ["shards", "store.json"]


def test_a_segmentation_needs_labels(sample, sources, tmp_path):
    plan = plan_of(tmp_path)
    with pytest.raises(AcinusError, match="slide s1: in the sample but has no label in the manifest"):
        shard_jobs(sample, sources | {"s1": replace(sources["s1"], label=None)}, plan)
    with pytest.raises(AcinusError, match=r"label -1 is none of classes \['background', 'foreground'\]"):
        shard_jobs(sample.assign(label=records.IGNORE), sources, plan)
    extract(sample, sources, plan)
    shutil.rmtree(plan.store / "masks")
    with pytest.raises(AcinusError, match="no finished patch store"):
        open_mask_store(plan.store)
