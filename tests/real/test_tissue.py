"""Tissue of real pixels: by hand-drawn outlines on every stained slide, and on mosaics of GlaS to the percent."""

import importlib.util
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageDraw

from acinus import params
from acinus.slides.open import open_slide
from acinus.tissue.mask import TissueMask, find_tissue
from acinus_demo.pyramid import write_pyramid

spec = importlib.util.spec_from_file_location("glas", Path(__file__).with_name("glas.py"))
assert spec is not None
assert spec.loader is not None
glas = importlib.util.module_from_spec(spec)
sys.modules["glas"] = glas  # its dataclass looks there
spec.loader.exec_module(glas)

SETTINGS = params.Tissue(downsample=16.0, min_area_um2=1000.0, min_area_px=4)
OLD = params.Tissue(method="otsu", downsample=16.0, min_saturation=0.05, min_area_px=16)

Ring = list[tuple[int, int]]


class Drawn(NamedTuple):
    """Coarse outlines drawn by eye. unit: level-0 px of one step; old: more of the tissue than Otsu's cut keeps."""

    file: str
    downsample: float
    unit: float
    tissue: list[Ring]
    glass: list[Ring]
    old: float


SLIDES = [
    Drawn(  # H&E skin: loose stroma, a cyst, dirt on the glass
        "cmu-1-small-region.svs",
        16.0,
        4.0,
        [
            [(235, 260), (290, 180), (330, 240), (290, 400), (320, 640), (150, 700), (165, 600), (215, 430)],
            [(360, 490), (435, 490), (440, 560), (405, 730), (330, 730), (320, 560)],
        ],
        [
            [(10, 60), (180, 60), (180, 200), (10, 200)],
            [(480, 180), (550, 180), (550, 480), (490, 480)],
            [(10, 320), (120, 320), (100, 720), (10, 720)],
        ],
        0.95,
    ),
    Drawn(  # H&E frozen section, stitched of tiles: two colours of nothing
        "tcga-cr-7395-01a-01-ts1.svs",
        16.0,
        8.0,
        [[(100, 115), (300, 90), (395, 75), (440, 125), (480, 190), (535, 280), (525, 370), (200, 365), (60, 300)]],
        [
            [(60, 10), (330, 10), (330, 60), (60, 60)],
            [(10, 345), (60, 345), (140, 440), (10, 440)],
            [(485, 5), (550, 5), (550, 140), (510, 140)],
        ],
        0.97,
    ),
    Drawn(  # IHC: haematoxylin alone, pale; bubbles, and a field that was not scanned
        "CRC-AI-8_E_X40_IHC.tif",
        16.0,
        8.0,
        [
            [
                (190, 32),
                (275, 62),
                (345, 92),
                (365, 150),
                (425, 205),
                (425, 230),
                (360, 220),
                (275, 155),
                (235, 185),
                (180, 160),
                (155, 110),
                (165, 60),
            ],
            [(365, 245), (430, 245), (428, 285), (365, 285)],
        ],
        [
            [(150, 230), (255, 230), (255, 360), (150, 360)],
            [(275, 280), (300, 280), (300, 305), (275, 305)],
            [(410, 20), (520, 20), (520, 220), (450, 200)],
            [(10, 560), (515, 560), (515, 880), (10, 880)],
        ],
        0.5,
    ),
    Drawn(  # cytology: a disc of single cells
        "cyto_A_BB_563479_1.svs",
        16.0,
        8.0,
        [
            [
                (160, 150),
                (300, 110),
                (420, 140),
                (400, 200),
                (360, 300),
                (450, 400),
                (440, 500),
                (330, 530),
                (200, 470),
                (130, 350),
                (130, 230),
            ]
        ],
        [
            [(5, 5), (180, 5), (120, 60), (5, 180)],
            [(500, 560), (615, 560), (615, 635), (500, 635)],
            [(595, 100), (618, 100), (618, 500), (595, 500)],
        ],
        0.01,
    ),
    Drawn(  # H&E lymph nodes as an overview
        "multiframe_camelyon_challenge_image.dcm",
        4.0,
        2.0,
        [
            [
                (60, 42),
                (93, 45),
                (100, 100),
                (123, 160),
                (118, 205),
                (95, 240),
                (90, 290),
                (76, 290),
                (72, 240),
                (52, 200),
                (47, 150),
                (60, 100),
            ],
            [(235, 60), (253, 70), (240, 125), (212, 175), (203, 170), (218, 120)],
        ],
        [
            [(5, 5), (35, 5), (18, 140), (5, 140)],
            [(120, 325), (560, 325), (560, 345), (120, 345)],
            [(556, 10), (574, 10), (574, 330), (556, 330)],
        ],
        1.0,
    ),
]


def share(mask: TissueMask, rings: list[Ring], unit: float) -> float:
    """Return how much of the inside of rings is tissue, looked at in every fourth px each way."""
    picture = Image.new("1", (mask.width // 4, mask.height // 4))
    for ring in rings:
        ImageDraw.Draw(picture).polygon([(x * unit / 4, y * unit / 4) for x, y in ring], fill=1)
    inside = np.asarray(picture)
    return float(mask.raster(inside.shape[1], inside.shape[0], 4.0)[inside].mean())


@pytest.mark.parametrize("drawn", SLIDES, ids=[one.file for one in SLIDES])
def test_what_a_person_calls_tissue_is_found_and_glass_is_not(shared_data: Path, drawn: Drawn) -> None:
    with open_slide(shared_data / "slides" / drawn.file, "a") as slide:
        found = find_tissue(slide, SETTINGS.model_copy(update={"downsample": drawn.downsample}))
        old = find_tissue(slide, OLD.model_copy(update={"downsample": drawn.downsample}))
    assert share(found, drawn.tissue, drawn.unit) > 0.99
    assert share(found, drawn.glass, drawn.unit) < 0.01
    assert share(old, drawn.tissue, drawn.unit) < drawn.old, "the older rule loses it, or this outline shows nothing"


class Mosaic(NamedTuple):
    """Four images of GlaS on glass. glands: without their empty lumina; dark: px of the images below the glass."""

    picture: np.ndarray
    glands: np.ndarray
    inside: np.ndarray
    dark: np.ndarray


def mosaics(folder: Path, glass: tuple[int, int, int] = (glas.GLASS,) * 3) -> list[Mosaic]:
    """Every image of GlaS once, laid out as `glas.write_cohort` does."""
    names = sorted(path.stem for path in (folder / "images").iterdir())
    found = []
    for first in range(0, len(names), 4):
        own = names[first : first + 4]
        picture, glands = glas.lay_out(folder, own)
        inside = np.zeros(glands.shape, dtype=bool)
        for number, name in enumerate(own):
            with Image.open(folder / "images" / f"{name}.jpg") as image:
                wide, high = image.size
            x0 = glas.MARGIN_PX + number % 2 * (glas.CELL_PX[0] + glas.MARGIN_PX)
            y0 = glas.MARGIN_PX + number // 2 * (glas.CELL_PX[1] + glas.MARGIN_PX)
            inside[y0 : y0 + high, x0 : x0 + wide] = True
        picture[~inside] = glass
        dark = inside & (picture < np.array(glass)).any(axis=2)
        found.append(Mosaic(picture, glands, inside, dark))
    return found


def kept(folder: Path, path: Path, settings: params.Tissue, glass: tuple[int, int, int]) -> tuple[float, float, float]:
    """Return the share of gland px, of dark px and of true glass that is tissue, over all mosaics."""
    counts = np.zeros((3, 2), dtype=np.int64)
    for one in mosaics(folder, glass):
        write_pyramid(path, one.picture, glas.MPP, tile_px=256)
        with open_slide(path, "a") as slide:
            found = find_tissue(slide, settings)
        tissue = found.raster(one.inside.shape[1], one.inside.shape[0], 1.0)
        for row, area in zip(counts, (one.glands, one.dark, ~one.inside), strict=True):
            row += (np.count_nonzero(tissue & area), np.count_nonzero(area))
    glands, dark, taken = (counts[:, 0] / counts[:, 1]).tolist()
    return glands, dark, taken


@pytest.mark.parametrize(
    "glass", [pytest.param((glas.GLASS,) * 3, marks=pytest.mark.slow), (244, 240, 229)], ids=["white", "tinted"]
)
def test_glands_stroma_and_lumina_of_every_glas_image_are_tissue(
    shared_data: Path, tmp_path: Path, glass: tuple[int, int, int]
) -> None:
    """Otsu's cut keeps 95 % of the glands and 91 % of the dark px."""
    glands, dark, taken = kept(shared_data / "glas", tmp_path / "a.tif", SETTINGS, glass)
    assert glands >= 0.99
    assert dark >= 0.98
    assert taken <= 0.03
