"""The mixed slides of shared/data/slides as a person's cohort: outlines drawn by hand in three tools, and a table.

Two slides cannot be used (one is broken, one has a tag of 29 um/px), three have no um/px or a false one.
"""

from pathlib import Path

import shapely

from tests.real import tool_files

Ring = list[tuple[int, int]]
CMU, TCGA, IHC, CYTOLOGY, SQUARES = (
    "cmu-1-small-region.svs",
    "tcga-cr-7395-01a-01-ts1.svs",
    "CRC-AI-8_E_X40_IHC.tif",
    "cyto_A_BB_563479_1.svs",
    "small_HE_levels.tiff",
)
BLUE: Ring = [(67, 72), (204, 72), (204, 205), (67, 205)]
"""The blue rectangle of SQUARES, 137 x 133 px: it lies over a corner of the red one."""
RED: Ring = [(31, 30), (183, 30), (183, 136), (31, 136)]
"""The red one, 152 x 106 px, of which the blue one hides 116 x 64."""
DRAWN: dict[str, list[tuple[str, Ring]]] = {  # file -> class and ring of each outline, level-0 px
    CMU: [
        (
            "Epithelium",
            [(830, 2000), (910, 2000), (850, 2370), (780, 2750), (740, 2955), (590, 2955), (620, 2700), (750, 2500)],
        ),
        (
            "Epithelium",
            [
                (1110, 720),
                (1290, 700),
                (1350, 850),
                (1270, 1190),
                (1200, 1560),
                (1270, 1820),
                (1400, 1900),
                (1370, 2200),
                (1190, 2480),
                (1120, 2200),
                (1120, 1860),
                (1110, 1400),
                (1150, 1190),
            ],
        ),
        ("Stroma", [(980, 800), (1070, 760), (1100, 1180), (1030, 1690), (910, 1650), (890, 1400), (910, 1060)]),
        ("Stroma", [(980, 2200), (1070, 2200), (1110, 2500), (1060, 2900), (870, 2900), (910, 2540)]),
    ],
    TCGA: [
        (
            "Tumor",
            [(640, 1080), (1140, 950), (1460, 1210), (1710, 1650), (1520, 2090), (950, 2090), (600, 1900), (540, 1460)],
        ),
        (
            "Tumor",
            [
                (2790, 1140),
                (3300, 1080),
                (3620, 1400),
                (3550, 1900),
                (3170, 2150),
                (3040, 2090),
                (2820, 1710),
                (2700, 1590),
            ],
        ),
        (
            "Stroma",
            [
                (1360, 950),
                (1490, 920),
                (1900, 1460),
                (2190, 1780),
                (2475, 1270),
                (2550, 700),
                (2630, 700),
                (2615, 1270),
                (2350, 1710),
                (2220, 1970),
                (2160, 1900),
                (1840, 1620),
                (1460, 1270),
            ],
        ),
    ],
    IHC: [
        (
            "Epithelium",
            [
                (1230, 310),
                (1950, 510),
                (2610, 920),
                (2770, 1230),
                (2460, 1330),
                (2050, 1180),
                (1640, 1230),
                (1130, 1080),
            ],
        ),
        ("Stroma", [(2920, 1900), (3430, 1900), (3430, 2380), (3080, 2380), (2920, 2360)]),
        ("Pen", [(2150, 2250), (2300, 2180), (2440, 2250), (2440, 2430), (2300, 2500), (2150, 2420)]),
    ],
    SQUARES: [("Stroma", RED), ("Tumor", BLUE)],
}
TOOLS = {
    CMU: ("cmu-1-small-region.geojson", tool_files.qupath),
    TCGA: ("annotations/tcga-cr-7395-01a-01-ts1.xml", tool_files.asap),
}
TOOLS |= {
    IHC: ("annotations/CRC-AI-8_E_X40_IHC.xml", tool_files.imagescope),
    SQUARES: ("small_HE_levels.geojson", tool_files.qupath),
}


def lay_out(slides: Path, root: Path) -> None:
    """Lay links to the real slides and files of the outlines below a new folder."""
    (root / "annotations").mkdir(parents=True)
    for path in sorted(slides.iterdir()):
        (root / path.name).symlink_to(path)
    for name, (place, written) in TOOLS.items():
        (root / place).write_text(written([(drawn, shapely.Polygon(ring)) for drawn, ring in DRAWN[name]]))
