"""The slides demonstration cohort: a laboratory's folder of mixed formats, three tools' annotations and a table."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from acinus import seeds
from acinus.files import atomic_path, write_text
from acinus.params import SlidesDemo
from acinus_demo import layout, nuclei, outline, pyramid, render, stain, tissues, tools
from acinus_demo.ground import grid_shape
from acinus_demo.outline import Ring
from acinus_demo.texture import fractal, stream
from acinus_demo.tools import Region

Tool = Literal["qupath", "imagescope", "asap"]
KINDS: tuple[tuple[str, Tool], ...] = (  # in turn: what a slide is saved as, and what it is annotated with
    (".svs", "imagescope"),
    (".ome.tif", "qupath"),
    (".svs", "asap"),
    (".png", "qupath"),
    (".ome.tif", "asap"),
)
PATIENTS = (1, 2, 3, 1, 4, 5, 2, 6, 7, 2)  # of ten slides
SPLITS = ("test", "train", "train", "val", "test", "train", "val")  # of their patients
WITHOUT_MPP = 3  # the slide whose um per px stands in the table only
ODDLY_NAMED = 2
MPP_FACTORS = (1.0, 0.972, 1.028)  # slides of several scanners
TISSUES = {"stroma": "stroma", "lymphocytes": "lymphoid", "tumor": "tumour"}  # class -> how it is drawn, bottom up
NAMES: Mapping[Tool, tuple[str, str, str]] = {  # what the classes are called in each tool
    "qupath": ("Stroma", "Immune cells", "Tumor"),
    "imagescope": ("Stroma", "Lymphocytes", "Tumour"),
    "asap": ("stroma", "lymphocytes", "tumor"),
}
COLUMNS, ROWS = 3, 2  # of places for islands
ISLANDS = ("lymphocytes", "tumor", "lymphocytes", "tumor", "lymphocytes", "tumor")
WITHOUT_TUMOUR = ("lymphocytes", "stroma", "lymphocytes", "stroma", "lymphocytes", "stroma")
STAIN_SPREAD = 2.0  # laboratories differ by more than slides of one
HOLE_SHARE = 0.3  # of the width of an island


@dataclasses.dataclass(frozen=True)
class SlidePlan:
    """All that is needed to draw one slide; rings are level-0 pixels, paths are relative to the root.

    regions: of classes of TISSUES; a later one lies on top.
    """

    slide_id: str
    image: str
    annotation: str
    tool: Tool
    patient: str
    split: str
    site: str
    mpp: float
    states_mpp: bool
    size: tuple[int, int]  # width, height
    seed: int
    regions: tuple[Region, ...]


def plan(seed: int, settings: SlidesDemo) -> list[SlidePlan]:
    """Return the plans of all slides in drawing order; cheap, and the same for the same arguments."""
    return [_plan_slide(seed, settings, number) for number in range(settings.slides)]


def _plan_slide(seed: int, settings: SlidesDemo, number: int) -> SlidePlan:
    suffix, tool = KINDS[number % len(KINDS)]
    slide_id = f"slide_{number + 1:02d}"
    stem = f"slide {number + 1:02d} (HE)" if number == ODDLY_NAMED else slide_id
    beside = {"qupath": f"{stem}.geojson"}.get(tool, f"annotations/{stem}.xml")
    own_seed = seeds.derive(seed, "demo", "slides", slide_id)
    rng = stream(own_seed, "layout")
    size = (settings.width_px + 38 * (number % 3), settings.height_px - 22 * (number % 2))
    turn, of_ten = divmod(number, len(PATIENTS))
    return SlidePlan(
        slide_id=slide_id,
        image=f"{stem}{suffix}",
        annotation=beside,
        tool=tool,
        patient=f"P{PATIENTS[of_ten] + turn * max(PATIENTS):02d}",
        split=SPLITS[PATIENTS[of_ten] - 1],
        site="north" if number % len(MPP_FACTORS) else "south",
        mpp=round(tissues.MPP * MPP_FACTORS[number % len(MPP_FACTORS)], 4),
        states_mpp=number != WITHOUT_MPP,
        size=size,
        seed=own_seed,
        regions=_regions(rng, size, WITHOUT_TUMOUR if number % 3 == 2 else ISLANDS, holes=tool != "asap"),
    )


def _regions(
    rng: np.random.Generator, size: tuple[int, int], islands: Sequence[str], holes: bool
) -> tuple[Region, ...]:
    """Return one piece of tissue, all of it stroma, and islands in it that keep clear of each other."""
    (whole,) = layout.tissue(rng, size, 1)
    tissue = Polygon(whole).buffer(0)
    left, top, right, bottom = tissue.bounds
    step = ((right - left) / COLUMNS, (bottom - top) / ROWS)
    gap = 0.02 * min(step)
    free: BaseGeometry = tissue.buffer(-gap)
    regions = []
    places = itertools.product(range(ROWS), range(COLUMNS))
    for (row, column), kind in zip(places, rng.permutation(islands).tolist(), strict=True):
        shift, swell = 0.35 + 0.3 * rng.random(2), 0.36 + 0.10 * rng.random(2)
        centre = (left + step[0] * (column + float(shift[0])), top + step[1] * (row + float(shift[1])))
        radius = (step[0] * float(swell[0]), step[1] * float(swell[1]))
        shape = Polygon(outline.irregular(rng, centre, radius)).buffer(0)
        if kind != "stroma":
            island = outline.largest(shape.intersection(free))
            regions.append(Region(kind, outline.ring_of(island)))
            free = free.difference(island.buffer(gap))
    if holes:
        regions = _with_hole(rng, regions)
    order = list(TISSUES)
    return Region("stroma", whole), *sorted(regions, key=lambda region: order.index(region.name))


def _with_hole(rng: np.random.Generator, regions: list[Region]) -> list[Region]:
    """Return the regions with stroma inside the largest of them."""
    largest = max(regions, key=lambda region: region.polygon.area)
    size = HOLE_SHARE * float(largest.polygon.area) ** 0.5
    core = largest.polygon.buffer(-size)
    spot = (largest.polygon if core.is_empty else core).representative_point()
    shape = Polygon(outline.irregular(rng, (spot.x, spot.y), (size, 0.8 * size), 0.12)).buffer(0)
    hole = outline.ring_of(outline.largest(shape.intersection(largest.polygon.buffer(-0.1 * size))))
    return [dataclasses.replace(region, holes=(hole,)) if region is largest else region for region in regions]


def labels(slide: SlidePlan) -> NDArray[np.uint8]:
    """Return what tissue each pixel (h, w) is of: 0 glass, else its number in tissues.TISSUES from 1."""
    drawn = np.zeros((slide.size[1], slide.size[0]), np.uint8)
    for region in slide.regions:
        inside = outline.mask([region.ring], slide.size)
        if region.holes:
            inside &= ~outline.mask(region.holes, slide.size)
        drawn[inside] = tissues.TISSUES.index(TISSUES[region.name]) + 1
    return drawn


def picture(slide: SlidePlan) -> NDArray[np.uint8]:
    """Return the slide's level-0 picture (h, w, 3) uint8, drawn from its plan alone."""
    # how thick the section is and how the stains took differs between areas that are none of the classes'
    areas = (24 * fractal(stream(slide.seed, "areas"), grid_shape(slide.size), 120)).astype(np.int64)
    section = tissues.build(stream(slide.seed, "tissues"), labels(slide), areas)
    rng = stream(slide.seed, "cells")
    canvases = nuclei.populate(rng, slide.size, slide.mpp, section, tissues.SPACING_UM, tissues.LOOKS)
    tiles = render.make_tiles(stream(slide.seed, "tiles"))
    dye = stain.vary(stream(slide.seed, "stain"), STAIN_SPREAD)
    return render.render(slide.size, section.ground, *canvases, tiles, dye)


def annotation_text(slide: SlidePlan) -> str:
    """Return a slide's annotation as its tool writes it, with that tool's names of the classes."""
    names = dict(zip(TISSUES, NAMES[slide.tool], strict=True))
    regions = [dataclasses.replace(region, name=names[region.name]) for region in slide.regions]
    ruler: Ring = ((50.0, 40.0), (50.0 + 1000 / slide.mpp // 10, 40.0))  # what people leave: 100 um, measured
    if slide.tool == "qupath":
        return tools.qupath(regions, ruler)
    if slide.tool == "imagescope":
        return tools.imagescope(regions, slide.mpp, ruler)
    return tools.asap(regions, names["stroma"])


def draw_slide(slide: SlidePlan, root: Path) -> None:
    """Draw one slide and its annotation under `root`.

    Raises:
        AcinusError: `root` cannot be written.
    """
    pixels, path = picture(slide), root / slide.image
    if path.suffix == ".svs":
        pyramid.write_aperio(path, pixels, slide.mpp)
    elif path.suffix == ".tif":
        pyramid.write_ome(path, pixels, slide.mpp)
    else:
        per_inch: dict[str, Any] = {"dpi": (25_400 / slide.mpp,) * 2} if slide.states_mpp else {}
        with atomic_path(path) as part:
            Image.fromarray(pixels).save(part, compress_level=1, **per_inch)
    write_text(root / slide.annotation, annotation_text(slide))


def finish(plans: Sequence[SlidePlan], root: Path) -> None:
    """Write slides.csv: patient, split and site of each slide, and um per px of the one whose file does not say it."""
    lines = [
        f"{slide.image},{slide.patient},{slide.split},{slide.site},{'' if slide.states_mpp else slide.mpp}\n"
        for slide in plans
    ]
    write_text(root / "slides.csv", "slide,patient,split,site,mpp\n" + "".join(lines))
