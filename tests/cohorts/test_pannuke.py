"""PanNuke's fold arrays as a manifest: rows, protocols, and every array that must be refused."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acinus import params, records
from acinus.cohorts import inventory, pannuke
from acinus.cohorts.adapter import Order
from acinus.cohorts.manifest import build_manifest
from acinus.errors import AcinusError
from acinus.slides.open import below, open_slide

CLASSES = ("background", "neoplastic", "inflammatory", "connective", "dead", "epithelial")
COUNTS = {1: 8, 2: 5, 3: 6}
EDGE = 16


class Layout:
    """A cohort folder to fill, and the manifest rows that ingest makes of it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fold(self, number: int, count: int, flat: bool = False, dtype: str = "uint8") -> None:
        names = {"images": ("images", 3), "masks": ("masks", 6)}
        for name, (folder, channels) in names.items():
            values = np.zeros((count, EDGE, EDGE + 2, channels), dtype=dtype)
            values[...] = (200, 120, 180) if channels == 3 else (0, 0, 0, 0, 0, 1)
            values[:, 0, 0, 0] = np.arange(count)
            if channels == 6:
                values[:, 0, 0, 5] = values[:, 0, 0, 0] == 0
            self.save(self.path(number, folder, name, flat), values)
        types = np.array([("Breast", "Bile-duct", "Colon")[row % 3] for row in range(count)])
        self.save(self.path(number, "images", "types", flat), types)

    def path(self, number: int, folder: str, name: str, flat: bool = False) -> str:
        place = f"fold{number}" if flat else f"Fold {number}/{folder}/fold{number}"
        return f"{place}/{name}.npy"

    def save(self, path: str, values: np.ndarray) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, values, allow_pickle=values.dtype == object)

    def order(self, **settings: Any) -> Order:
        cohort = params.PannukeCohort(root=str(self.root), **settings)
        files = inventory.fingerprints(inventory.inventory(self.root, None))
        return Order(self.root, self.root / "rasters", cohort, CLASSES, CLASSES[1:], files, 7, map)

    def rows(self, **settings: Any) -> dict[str, dict[str, Any]]:
        order = self.order(**settings)
        table = build_manifest(pannuke.ingest(order), order.cohort)
        return {row["slide_id"]: row for row in records.rows(table)}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "cohort")


@pytest.fixture
def whole(layout: Layout) -> Layout:
    for number, count in COUNTS.items():
        layout.fold(number, count, dtype=("uint8", "float64", "uint16")[number - 1])
    return layout


def test_one_row_per_tile(whole: Layout) -> None:
    rows = whole.rows()
    assert sorted(rows) == [f"fold{fold}_{row:06d}" for fold, count in COUNTS.items() for row in range(count)]
    one = rows["fold2_000004"]
    assert one["image"] == "Fold 2/images/fold2/images.npy#4"
    assert one["label_source"] == "Fold 2/masks/fold2/masks.npy#4"
    assert (one["label_kind"], one["provider"], one["patient"]) == ("fold", "fold2", "fold2_000004")
    assert (one["width"], one["height"], one["tissue_type"]) == (EDGE + 2, EDGE, "Bile-duct")
    assert (one["mpp_x"], one["mpp_y"], one["mpp_source"]) == (0.25, 0.25, "override")
    assert (one["status"], one["slide_label"], one["exhaustive"], one["derived"]) == ("ok", None, True, False)
    files = inventory.fingerprints(inventory.inventory(whole.root, None))
    assert one["fingerprint"] == f"{files['Fold 2/images/fold2/images.npy']}#4"
    assert one["label_fingerprint"] == f"{files['Fold 2/masks/fold2/masks.npy']}#4"
    assert len({row["fingerprint"] for row in rows.values()}) == len(rows)
    with open_slide(below(whole.root, one["image"]), "fold2_000004") as slide:
        assert slide.overview(EDGE + 2, EDGE)[0, 0, 0] == 4


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("official-1", {"fold1": "train", "fold2": "val", "fold3": "test"}),
        ("official-2", {"fold2": "train", "fold1": "val", "fold3": "test"}),
        ("official-3", {"fold3": "train", "fold2": "val", "fold1": "test"}),
    ],
)
def test_official_protocols(protocol: str, expected: dict[str, str], whole: Layout) -> None:
    rows = whole.rows(protocol=protocol).values()
    assert {(row["provider"], row["split"]) for row in rows} == set(expected.items())
    assert {row["split_rule"] for row in rows} == {protocol}


def test_random_draws_tiles_of_all_folds(layout: Layout) -> None:
    for number in (1, 2, 3):
        layout.fold(number, 60)
    rows = layout.rows(protocol="random", test_fraction=0.2, val_fraction=0.25)
    assert Counter(row["split"] for row in rows.values()) == {"test": 36, "val": 36, "train": 108}
    assert {row["split_rule"] for row in rows.values()} == {"random"}
    for split in ("train", "val", "test"):
        part = [row for row in rows.values() if row["split"] == split]
        assert {row["provider"] for row in part} == {"fold1", "fold2", "fold3"}
        tissues = Counter(row["tissue_type"] for row in part)
        assert max(tissues.values()) - min(tissues.values()) <= 2  # the tissues are equally frequent
    assert layout.rows(protocol="random", test_fraction=0.2, val_fraction=0.25) == rows


def test_splits_csv_decides_before_the_protocol(whole: Layout) -> None:
    (whole.root / "splits.csv").write_text("slide_id,split,patient\nfold1_000002,test,p1\n")
    rows = whole.rows(exclude={"FOLD1_000003": "blurred"})
    assert (rows["fold1_000002"]["split"], rows["fold1_000002"]["split_rule"]) == ("test", "splits.csv")
    assert (rows["fold1_000002"]["patient"], rows["fold1_000002"]["provider"]) == ("p1", "fold1")
    assert (rows["fold1_000001"]["split"], rows["fold1_000001"]["split_rule"]) == ("train", "official-1")
    assert (rows["fold1_000003"]["status"], rows["fold1_000003"]["reason"]) == ("excluded", "blurred")


def test_folds_in_one_folder_each_and_a_missing_types_file(layout: Layout) -> None:
    for number, count in COUNTS.items():
        layout.fold(number, count, flat=True)
    (layout.root / "fold3/types.npy").unlink()
    rows = layout.rows()
    assert len(rows) == sum(COUNTS.values())
    assert rows["fold1_000000"]["image"] == "fold1/images.npy#0"
    assert (rows["fold1_000000"]["tissue_type"], rows["fold3_000000"]["tissue_type"]) == ("Breast", None)


def test_a_missing_fold_matters_to_the_protocol_only(layout: Layout) -> None:
    layout.fold(1, 6)
    layout.fold(2, 6)
    with pytest.raises(AcinusError, match=r"protocol = official-1 needs fold 3 for test.*cohort\.protocol: random"):
        layout.rows()
    assert len(layout.rows(protocol="random", test_fraction=0.2)) == 12
    lines = [f"fold{fold}_{row:06d},{('train', 'test')[fold - 1]},p{fold}{row}" for fold in (1, 2) for row in range(6)]
    (layout.root / "splits.csv").write_text("slide_id,split,patient\n" + "\n".join(lines) + "\n")
    assert {row["split"] for row in layout.rows().values()} == {"train", "test"}


def test_a_fourth_fold_has_no_place_in_a_protocol(whole: Layout) -> None:
    whole.fold(4, 3)
    with pytest.raises(AcinusError, match="knows folds 1 to 3, and there is a fold 4"):
        whole.rows()
    assert len(whole.rows(protocol="random", test_fraction=0.2)) == sum(COUNTS.values()) + 3


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, dtype=np.uint8)


WRONG: dict[str, tuple[str, np.ndarray | None, str]] = {
    "fewer masks": ("masks", zeros(4, EDGE, EDGE + 2, 6), r"Fold 2/masks/fold2/masks\.npy: 4 tiles .* has 5 tiles"),
    "other tile size": ("masks", zeros(5, EDGE, EDGE, 6), r"masks\.npy: 5 tiles of 16 x 16 px, but .*18 x 16 px"),
    "fewer types": ("types", np.array(["a"] * 4), r"types\.npy: 4 types, but .* has 5 tiles"),
    "five channels": (
        "masks",
        zeros(5, EDGE, EDGE + 2, 5),
        r"Fold 2/masks/fold2/masks\.npy: .*expected \(N, height, wid",
    ),
    "pickled types": ("types", np.array(["a"] * 5, dtype=object), r"types\.npy: .*as unicode: numpy\.save"),
    "bytes for types": ("types", np.array([b"a"] * 5), r"types\.npy: holds \|S1 .*save it again as unicode"),
    "pickled masks": (
        "masks",
        np.array([None] * 5, dtype=object),
        r"masks/fold2/masks\.npy: .*no array of plain numbers",
    ),
    "text for images": ("images", np.array(["a"] * 5), r"images\.npy: .*expected numbers"),
    "no masks": ("masks", None, r"Fold 2/images/fold2/images\.npy: fold 2 has no masks\.npy"),
}


@pytest.mark.parametrize("case", WRONG)
def test_arrays_that_do_not_fit_are_refused_by_name(case: str, whole: Layout) -> None:
    name, values, message = WRONG[case]
    path = whole.path(2, "masks" if name == "masks" else "images", name)
    (whole.root / path).unlink()
    if values is not None:
        whole.save(path, values)
    with pytest.raises(AcinusError, match=message) as caught:
        whole.rows()
    assert "\n" not in str(caught.value)
    assert str(whole.root) not in str(caught.value)


def test_a_truncated_array_is_refused(whole: Layout) -> None:
    path = whole.root / whole.path(3, "images", "images")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AcinusError, match=r"Fold 3/images/fold3/images\.npy: "):
        whole.rows()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("copy/fold1/images.npy", "two arrays of one fold"),
        ("other/images.npy", r"other/images\.npy: no folder above it names its fold"),
    ],
)
def test_arrays_in_the_wrong_place(path: str, message: str, whole: Layout) -> None:
    whole.save(path, zeros(8, EDGE, EDGE + 2, 3))
    with pytest.raises(AcinusError, match=message):
        whole.rows()


def test_a_background_that_denies_the_nuclei_is_a_finding_of_the_tile(layout: Layout) -> None:
    for number, count in COUNTS.items():
        layout.fold(number, count)
    masks = np.load(layout.root / layout.path(1, "masks", "masks"))
    masks[2, ..., 5], masks[3, ..., 5] = 1 - masks[2, ..., 5], 0  # turned round; left out
    masks[4, :, :9, 5] = 2  # two instances of background: channels in another order
    masks[5, 1, :2, 1] = 7  # two px of 288 that are both: the border of a nucleus
    layout.save(layout.path(1, "masks", "masks"), masks)
    rows = layout.rows()
    odd = {one for one, row in rows.items() if row["findings"] == "background_contradicts"}
    assert odd == {"fold1_000002", "fold1_000003", "fold1_000004"}
    assert {row["findings"] for one, row in rows.items() if one not in odd} == {""}
    assert "fold1_000002" not in {one for one, row in layout.rows(probe_tiles=2).items() if row["findings"]}


@pytest.mark.parametrize(
    ("colour", "message"),
    [
        ((9, 2, 15), "fluorescence"),
        ((120, 120, 120), "the picture is grey"),
    ],
)
def test_images_that_are_no_brightfield_are_refused(colour: tuple[int, ...], message: str, whole: Layout) -> None:
    whole.save(whole.path(2, "images", "images"), np.broadcast_to(np.uint8(colour), (5, EDGE, EDGE + 2, 3)))
    with pytest.raises(AcinusError, match=rf"Fold 2/images/fold2/images\.npy: of 5 tiles .*{message}"):
        whole.rows()


@pytest.mark.parametrize(("value", "message"), [(4000.0, "values from 0 to 4000"), (0.5, "fractions up to 0.5")])
def test_images_of_another_range_are_refused_at_ingest(value: float, message: str, whole: Layout) -> None:
    values = np.zeros((5, EDGE, EDGE + 2, 3))
    values[0, 0, 0, 0] = value
    whole.save(whole.path(2, "images", "images"), values)
    with pytest.raises(AcinusError, match=rf"Fold 2/images/fold2/images\.npy: .*{message}"):
        whole.rows()


def test_no_folds_at_all(layout: Layout) -> None:
    layout.save("readme/notes.npy", zeros(1))
    with pytest.raises(AcinusError, match=r"no fold arrays; expected 'Fold 1/images/fold1/images\.npy'"):
        layout.rows()


def mapped_kb() -> int:
    """The pages of mapped files that this process has touched."""
    status = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in status if line.startswith(("RssFile", "RssShmem")))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="touched pages are read from /proc")
def test_rows_cost_no_pixels(layout: Layout) -> None:
    """The real number of tiles in sparse files of the real size (25 GB of masks): reading them would show."""
    for number, count in {1: 2656, 2: 2523, 3: 2722}.items():
        for name, channels in pannuke.CHANNELS.items():
            target = layout.root / layout.path(number, name, name)
            target.parent.mkdir(parents=True)
            shape = (count, 256, 256, channels)
            np.lib.format.open_memmap(target, mode="w+", dtype=np.float64 if channels == 6 else np.uint8, shape=shape)
            array = np.load(target, mmap_mode="r+")
            array[0] = (200, 120, 180) if channels == 3 else (0, 0, 0, 0, 0, 1)  # the one tile that is looked at
        layout.save(layout.path(number, "images", "types"), np.array([f"tissue {row % 19}" for row in range(count)]))
    order = layout.order(protocol="random", test_fraction=0.2, probe_tiles=1)
    before = mapped_kb()
    rows = pannuke.ingest(order)
    assert mapped_kb() - before < 50_000  # a hundredth of the masks is 250 MB
    assert len(rows) == 7901
    assert Counter(row["split"] for row in rows)["test"] == 1580
