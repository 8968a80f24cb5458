"""A slide through a network to its map: as windows read one by one, whatever the threads; failures leave nothing."""

import contextlib
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
import torch

from acinus import params
from acinus.errors import AcinusError, SlideError
from acinus.learning.card import WEIGHTS_FILE, Card, load_model, save_model
from acinus.learning.device import Running, reproducible
from acinus.learning.models import build_model
from acinus.learning.predict import predict_probs
from acinus.maps import slide_map as whole_slide
from acinus.maps.slide_map import MapJob, map_slide, running_as
from acinus.maps.tiff import read_map
from acinus.scoring.scaling import Scaling
from acinus.tissue.mask import TissueMask, save_tissue

WIDTH, HEIGHT, PATCH, STRIDE, DOWNSAMPLE = 500, 420, 64, 48, 16
ROW = {"slide_id": "a", "mpp_x": 0.5, "mpp_y": 0.5}
SPREAD = Scaling(0.05, (0.0, -5.0))
"""Makes of an untrained network's nearly equal logits probabilities over most of 0 to 1."""


def index(**more: object) -> params.Index:
    return params.Index.model_validate({"patch_px": PATCH, "stride_px": PATCH, "level": 0, "tissue": {}} | more)


INFER = params.Infer(stride_px=STRIDE, map_downsample=DOWNSAMPLE, batch_size=7, min_tissue_fraction=0.2)
ONE_THREAD = params.Compute(threads=1, decode_threads=1)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> MapJob:
    """A slide of JPEG tiles with tissue on the left two thirds, and an untrained network."""
    folder = tmp_path_factory.mktemp("slide")
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rgb = np.stack([200 + 50 * np.sin(x / 9), 120 + 90 * np.sin(y / 17), 180 + 60 * np.cos((x + y) / 23)], axis=2)
    slide = folder / "a.tif"
    tifffile.imwrite(
        slide,
        np.clip(rgb, 0, 255).astype(np.uint8),
        tile=(128, 128),
        compression="jpeg",
        photometric="ycbcr",
        metadata=None,
    )
    mask = np.zeros((HEIGHT // 20, WIDTH // 20), dtype=bool)
    mask[:, :16] = True
    save_tissue(TissueMask(mask, WIDTH, HEIGHT), folder / "a.png")
    card = Card(
        version="0",
        task="patch_classification",
        architecture="test_resnet",
        weights="none",
        classes=("normal", "tumor"),
        positive=("tumor",),
        patch_px=PATCH,
        input_px=PATCH,
        level=0,
        mpp=None,
        mpp_mean=None,
        mean=(0.5, 0.5, 0.5),
        std=(0.1, 0.1, 0.1),
        index={},
        recipe_hash="",
        data_hashes={},
        epochs=1,
        best_epoch=1,
        seed=0,
    )
    torch.manual_seed(3)
    model = folder / "model"
    model.mkdir()
    save_model(model, build_model(card.spec()), card)
    assert (model / WEIGHTS_FILE).is_file()
    target = folder / "map.tif"
    return MapJob(ROW, slide, folder / "a.png", model, str(folder), target, index(), INFER, ONE_THREAD, SPREAD)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def one_by_one(job: MapJob) -> tuple[np.ndarray, int]:
    """The definition with OpenSlide's pixels: each window alone, every map px the weighted mean of its windows."""
    model, card = load_model(job.model)
    sums, weights = np.zeros((2, -(-HEIGHT // DOWNSAMPLE), -(-WIDTH // DOWNSAMPLE)))
    rows, columns = (np.arange(size) * DOWNSAMPLE + DOWNSAMPLE / 2 for size in sums.shape)
    rows[-1], columns[-1] = (HEIGHT + (len(rows) - 1) * DOWNSAMPLE) / 2, (WIDTH + (len(columns) - 1) * DOWNSAMPLE) / 2
    ran = 0
    with openslide.OpenSlide(job.image) as slide, reproducible(torch.device("cpu"), 1):
        for y0 in range(0, HEIGHT, STRIDE):
            for x0 in range(0, WIDTH, STRIDE):
                high = min(y0 + PATCH, HEIGHT // 20 * 20) - y0
                if max(0, min(x0 + PATCH, 320) - x0) * high < 0.2 * PATCH**2:
                    continue
                ran += 1
                rgba = slide.read_region((x0, y0), 0, (PATCH, PATCH))
                white = np.asarray(rgba)[..., 3:] == 0
                patch = np.where(white, 255, np.asarray(rgba)[..., :3]).astype(np.uint8)
                prob = predict_probs(model, patch[None], card, "cpu", job.scaling)[0, 1]
                near = [
                    np.where(
                        (at >= start) & (at < start + PATCH),
                        1e-3 + 0.999 * np.sin(np.pi * (at - start) / PATCH) ** 2,
                        0,
                    )
                    for at, start in ((rows, y0), (columns, x0))
                ]
                sums += prob * np.outer(*near)
                weights += np.outer(*near)
    return np.rint(np.where(weights > 0, sums / np.maximum(weights, 1e-9), 0) * 255).astype(np.int64), ran


def test_the_map_is_that_of_windows_read_one_by_one(job: MapJob) -> None:
    found = map_slide(job)
    probs, geometry, info = read_map(job.target)
    expected, ran = one_by_one(job)
    assert probs.shape == geometry.shape == expected.shape
    assert np.ptp(expected[expected > 0]) > 20, "the network says the same everywhere: the test would see nothing"
    assert np.abs(probs - expected).max() <= 1  # a batch of another size may round otherwise
    assert (info.slide_id, info.classes) == ("a", ("tumor",))
    assert found.windows == found.pixels.squares == ran
    assert found.seconds > 0


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("memory_mib", [1, 64])
def test_threads_and_memory_change_no_byte(job: MapJob, tmp_path: Path, threads: int, memory_mib: int) -> None:
    map_slide(job)
    other = replace(
        job,
        target=tmp_path / "map.tif",
        compute=ONE_THREAD.model_copy(update={"decode_threads": threads, "memory_mib": memory_mib}),
    )
    counts = map_slide(other).pixels
    assert other.target.read_bytes() == job.target.read_bytes()
    assert counts.decoded >= counts.tiles > 0


def test_every_tile_is_decoded_once(job: MapJob) -> None:
    counts = map_slide(job).pixels
    assert counts.decoded == counts.tiles == 3 * 4  # of 4 x 4 tiles of 128 px those under 7 columns of windows
    assert counts.through_openslide == 0


def test_a_slide_without_tissue_gets_an_empty_map(job: MapJob, tmp_path: Path) -> None:
    bare = tmp_path / "none.png"
    save_tissue(TissueMask(np.zeros((21, 25), dtype=bool), WIDTH, HEIGHT), bare)
    found = map_slide(replace(job, tissue=bare, target=tmp_path / "map.tif"))
    assert found.windows == found.pixels.decoded == 0
    assert not read_map(tmp_path / "map.tif")[0].any()


def test_a_damaged_tile_is_named_and_nothing_is_left(job: MapJob, tmp_path: Path) -> None:
    data = bytearray(job.image.read_bytes())
    with tifffile.TiffFile(job.image) as tiff:
        page = tiff.pages.first
        offset, count = page.dataoffsets[5], page.databytecounts[5]
    data[offset + 2 : offset + count - 2] = bytes(count - 4)  # its first and last marker stay
    broken = tmp_path / "broken.tif"
    broken.write_bytes(data)
    target = tmp_path / "maps" / "map.tif"
    with pytest.raises(SlideError, match=r"slide a: level 0, tile 5") as failure:
        map_slide(replace(job, image=broken, target=target, compute=params.Compute(threads=1)))
    assert "\n" not in str(failure.value)
    assert not target.parent.exists() or not list(target.parent.iterdir())


def test_probabilities_that_are_none_are_an_error_of_the_caller(job: MapJob, tmp_path: Path) -> None:
    model, card = load_model(job.model)
    folder = tmp_path / "model"
    folder.mkdir()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    save_model(folder, model, card)
    target = tmp_path / "maps" / "map.tif"
    with pytest.raises(AcinusError, match=r"or NaN. for the window at x0=0, y0=0"):
        map_slide(replace(job, model=folder, weights="nan", target=target))
    assert not list(target.parent.iterdir())


def test_a_cell_is_a_px_of_the_map(job: MapJob, tmp_path: Path) -> None:
    cells = replace(job, index=index(cell_px=32, stride_px=32), target=tmp_path / "map.tif")
    with pytest.raises(AcinusError, match=r"infer.map_downsample = 16, but a cell of 32 px is 32 level-0 px"):
        map_slide(cells)
    said = {"stride_px": 32, "map_downsample": 32.0, "batch_size": 7, "min_tissue_fraction": 0.2}
    found = map_slide(replace(cells, infer=params.Infer.model_validate(said)))
    probs = read_map(cells.target)[0]
    assert probs.shape == (14, 16)
    assert found.windows == np.count_nonzero(probs[:, :10]) == 10 * 13  # a network never says 0 exactly here
    assert not probs[:, 10:].any()


def test_cells_whose_size_is_not_whole_are_the_px_of_the_map(job: MapJob, tmp_path: Path) -> None:
    """As of a pyramid whose downsamples are not whole: every px of the map is one window's, on the cells' own grid."""
    own = params.Index.model_validate({"patch_px": 48, "cell_px": 16, "stride_px": 16, "mpp": 0.5005, "tissue": {}})
    said = {"stride_px": 16, "map_downsample": 32.0, "batch_size": 7, "min_tissue_fraction": 0.2}
    row = ROW | {"mpp_x": 0.25, "mpp_y": 0.25}
    target, infer = tmp_path / "map.tif", params.Infer.model_validate(said)
    found = map_slide(replace(job, row=row, index=own, infer=infer, target=target))
    probs, geometry, _ = read_map(target)
    assert geometry.downsample == pytest.approx(32.032)
    assert probs.shape == (math.ceil(HEIGHT / 32.032), math.ceil(WIDTH / 32.032))
    assert found.windows == np.count_nonzero(probs)
    with pytest.raises(AcinusError, match=r"map_downsample = 32.5, but a cell of 16 px is 32.032 level-0 px"):
        map_slide(replace(job, row=row, index=own, infer=infer.model_copy(update={"map_downsample": 32.5})))


def test_how_the_network_runs_is_what_the_parameters_say() -> None:
    compute = params.Compute.model_validate({"channels_last": True, "compile": True})
    infer = INFER.model_copy(update={"precision": "bf16-mixed", "engine": "openvino"})
    assert running_as(compute, infer) == Running("bf16-mixed", "openvino", channels_last=True, compile=True)


def test_threads_of_a_process_take_slides_in_turn(job: MapJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a Dask worker's threads laid out the one network while another ran it: other maps without a word."""
    together, meeting, inner = [], threading.Barrier(2), whole_slide.predictor

    def met(*arguments: object) -> object:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.3)
            together.append(threading.get_ident())
        return inner(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(whole_slide, "predictor", met)
    whole_slide._predictor.cache_clear()
    jobs = [replace(job, target=tmp_path / f"{number}.tif") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(map_slide, jobs))
    whole_slide._predictor.cache_clear()
    map_slide(job)
    assert not together
    assert {one.target.read_bytes() for one in jobs} == {job.target.read_bytes()}
