"""A session of wrong calls: of every function that docs/python.md offers, each one line and never a traceback."""

import re
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import acinus
from acinus.api.arguments import MAX_READ_PX
from acinus.patches.store import StoreFormat
from tests.patches import store_writing
from tests.test_predict import EDGE, make_model, make_slide

ROOT = Path(acinus.__file__).parents[2]
A_SLIDE = "give a Slide: acinus.open_slide(path)"
UM = "expected um per px, a number above 0"
PATH = "expected the path of a file or folder"
CALLS: dict[str, str] = {
    "acinus.open_slide(3)": f"path = 3: {PATH}",
    "acinus.open_slide('')": f"path = '': {PATH}",
    "acinus.open_slide('slide.tif\\n')": f"path = 'slide.tif\\n': {PATH}",
    "acinus.open_slide('n' * 5000)": "cannot be looked at (File name too long)",
    "acinus.open_slide(path, mpp='12')": "mpp = '12': expected um per px, 0.05 to 20",
    "acinus.open_slide(path, mpp=True)": "mpp = True: expected um per px, 0.05 to 20",
    "acinus.open_slide(path, mpp=(0.5,))": "mpp = (0.5,): expected um per px, 0.05 to 20",
    "slide.read(0, 0, 5, 5, mpp=(0.5, 0.4))": "mpp = (0.5, 0.4): expected one number of um per px",
    "slide.read(0, 0, 5, 5, mpp='a')": f"mpp = 'a': {UM}",
    "slide.read(0, 0, 5, 5, mpp=True)": f"mpp = True: {UM}",
    "slide.read(0, 0, 5, 5, mpp=float('inf'))": f"mpp = inf: {UM}",
    "slide.read(0, 0, 5, 5, mpp=1e9)": "slide one: mpp = 1000000000.0: one px would be larger than the whole slide",
    "slide.read(0, 0, 5, 5, level='0')": "level = '0': expected the number of a level, 0 for the finest",
    "slide.read(0, 0, 5, 5, level=0.5)": "level = 0.5: expected the number of a level",
    "slide.read(0, 0, 5, 5, level=True)": "level = True: expected the number of a level",
    "slide.read(0, 0, 10**6, 10**6)": "1000000 x 1000000 px asked for; at most 268,435,456 px fit into one picture",
    "slide.read(0, 0, 10**400, 5)": "expected a whole number of px, at least 1",
    "slide.read(1e300, 0, 5, 5)": "x0 = 1e+300: expected a number of level-0 px",
    "slide.read('0', 0, 5, 5)": "x0 = '0': expected a number of level-0 px",
    "slide.thumbnail(0)": "max_px = 0: expected a whole number of px",
    "slide.resolution(mpp=[0.5, 1.0])": "mpp = [0.5, 1.0]: expected one number of um per px",
    "slide.resolution(level=0, mpp=0.5)": "give exactly one of level and mpp",
    "closed.read(0, 0, 5, 5)": "slide one: is closed; open it again with acinus.open_slide",
    "closed.thumbnail()": "slide one: is closed",
    "acinus.find_tissue(closed)": "slide one: is closed",
    "acinus.find_tissue('slide.svs')": f"slide = 'slide.svs': {A_SLIDE}",
    "acinus.find_tissue(slide, downsample='a')": "downsample = 'a': ",
    "acinus.find_tissue(slide, closing_um=1e9)": "closing_um = 1e+09: is wider than the slide (75 um)",
    "acinus.patch_grid('slide.svs', 256)": f"slide = 'slide.svs': {A_SLIDE}",
    "acinus.patch_grid(slide, 64, tissue=np.ones((30, 30)))": "give a Tissue: acinus.find_tissue(slide)",
    "acinus.patch_grid(slide, 64, stride_px=10**400)": "expected a smaller number",
    "acinus.patch_grid(slide, 64, mpp=(0.5, 1.0))": "mpp = (0.5, 1.0): expected one number of um per px",
    "acinus.patch_grid(slide, [64, 64])": "patch_px = [64, 64]: ",
    "acinus.read_annotations('slide.xml', 'slide.svs')": f"slide = 'slide.svs': {A_SLIDE}",
    "acinus.read_annotations(None, slide)": f"path = None: {PATH}",
    "acinus.open_store(None)": f"path = None: {PATH}",
    "store[0:2]": "patch slice(0, 2, None): give its number or its key; of many store.images(keys)",
    "store[1.0]": "patch 1.0: give its number or its key",
    "store[len(store)]": "patch 48: the store has 48 patches, numbered from 0 on",
    "store['one']": "patch key 'one': expected <slide_id>/<x0>_<y0>",
    "store.images(3)": "keys = 3: expected several keys or numbers",
    "store.images(store.keys[0])": "expected several keys or numbers; of one patch store[key].image",
    "store.images([0, None])": "patch None: give its number or its key",
    "store.mask(0)": "no masks; only the store of a segmentation has some",
    "acinus.load_model(3)": f"path = 3: {PATH}",
    "acinus.load_model(model.folder, device=None)": "device = None: expected cpu, cuda, mps or auto",
    "model.predict('patch.png')": "expected uint8 (n, height, width, 3)",
    "model.predict([patches, patches[0]])": "patches are of several sizes",
    "model.predict(patches, mpp=(0.5, 0.4))": "mpp = (0.5, 0.4): expected one number of um per px",
    "model.predict(patches, mpp='a')": f"mpp = 'a': {UM}",
    "model.predict(patches, calibrated=[])": "calibrated = []: expected True or False",
    "model.predict_slide(slide)": "path = <Slide one.ti...ls, 0.5 um/px>: expected the path",
    "model.predict_slide(path, mpp=(0.5, 0.4))": "mpp = (0.5, 0.4): expected one number of um per px",
    "model.predict_slide(path, mpp=1000)": "mpp = 1000: expected um per level-0 px, 0.05 to 20",
    "model.predict_slide(path, out=3)": f"out = 3: {PATH}",
    "acinus.open_run(3, 'demo-camelyon')": f"root = 3: {PATH}",
    "acinus.open_run(root, 3)": "recipe = 3: expected the name of a recipe, a text",
    "run.open_slide(3)": "slide_id = 3: expected a text, the slide_id of run.manifest",
    "run.tissue(['a'])": "slide_id = ['a']: expected a text",
    "run.map(None)": "slide_id = None: expected a text",
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("misuse")
    path = make_slide(folder / "slides" / "one.tif")
    store_writing.write(folder / "patches", folder / "ledger", StoreFormat("lmdb", "png", 0, store_writing.PX))
    closed = acinus.open_slide(path)
    closed.close()
    with acinus.open_slide(path) as slide, acinus.open_store(folder / "patches") as store:
        yield SimpleNamespace(
            acinus=acinus,
            np=np,
            root=ROOT,
            path=path,
            slide=slide,
            closed=closed,
            store=store,
            model=acinus.load_model(make_model(folder / "models")),
            patches=np.zeros((2, EDGE, EDGE, 3), dtype=np.uint8),
            run=acinus.open_run(ROOT, "demo-camelyon"),
        )


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_call_is_one_clear_line(session: Any, call: str) -> None:
    with warnings.catch_warnings(action="error"), pytest.raises(acinus.AcinusError) as caught:
        eval(call, vars(session).copy())
    message = str(caught.value)
    assert CALLS[call] in message
    assert "\n" not in message
    assert len(message) < 300


def test_every_function_of_the_page_is_called_wrongly() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    functions = set(re.findall(r"`(?:acinus\.)?(\w+(?:\.\w+)?)\([^`]*\)`", page))
    functions -= {"slide.close", "store.close", "len", "help", "geopandas.GeoDataFrame"}
    called = {name.removeprefix("acinus.") for name in re.findall(r"\w+\.\w+(?=\()", " ".join(CALLS))}
    assert len(functions) > 15
    assert functions - called == set()


def test_both_um_per_px_of_a_slide_are_one_resolution(session: Any) -> None:
    slide, model = session.slide, session.model
    assert np.array_equal(slide.read(3, 4, 9, 8, mpp=slide.mpp), slide.read(3, 4, 9, 8))
    assert slide.resolution(mpp=np.array(slide.mpp) * 2) == slide.resolution(mpp=sum(slide.mpp))
    assert slide.resolution(mpp=(0.998, 1.002)).downsample == pytest.approx(2.0, rel=1e-4)
    assert np.array_equal(model.predict(session.patches, slide.mpp), model.predict(session.patches))
    assert acinus.patch_grid(slide, 64, mpp=slide.mpp).equals(acinus.patch_grid(slide, 64))
    assert model.predict_slide(session.path, mpp=(0.4, 0.4)).result["mpp"] == [0.4, 0.4]
    with acinus.open_slide(session.path, mpp=(0.5, 0.4)) as other:  # of the slide itself they may differ
        assert other.resolution(mpp=0.45).downsample == 1.0
        with pytest.raises(acinus.AcinusError, match=r"else give one \(their mean is 0.45\)"):
            other.read(0, 0, 5, 5, mpp=other.mpp)


def test_patches_are_found_by_numbers_too(session: Any) -> None:
    store = session.store
    assert np.array_equal(store.images([0, np.int64(-1)]), store.images([store.keys[0], store.keys[-1]]))
    assert np.array_equal(store.images(np.arange(3)), store.images(store.keys[:3]))
    assert store.images([]).shape == (0, store.patch_px, store.patch_px, 3)


def test_a_grid_of_too_many_patches_is_refused_before_it_is_made(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tissue = acinus.find_tissue(session.slide)
    monkeypatch.setattr("acinus.api.tissue.MAX_PATCHES", 150 * 100)  # the slide's px
    assert len(acinus.patch_grid(session.slide, 8, 1, tissue=tissue, min_tissue_fraction=0)) > 10_000
    monkeypatch.setattr("acinus.api.tissue.MAX_PATCHES", 150 * 100 - 1)
    with pytest.raises(acinus.AcinusError, match=r"^stride_px = 1: about 15,000 patches; at most 14,999 fit"):
        acinus.patch_grid(session.slide, 8, 1, tissue=tissue)


def test_the_help_says_how_large_a_picture_may_be() -> None:
    assert MAX_READ_PX == 2**28 == 16_384**2
    assert "At most 2**28 px" in (acinus.Slide.read.__doc__ or "")
    assert "16,384 x 16,384" in (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
