"""`acinus show`: the picture of a slide whose mask lies where the mask's file says, or one line that says why not."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from acinus import records
from acinus.charts.classes import TISSUE_LINE
from acinus.cli import main
from acinus.commands import show
from acinus.errors import AcinusError
from acinus.labels.palette import class_colours
from acinus.params import load_recipe
from acinus.paths import Paths
from acinus.tissue.mask import TissueMask, save_tissue

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 800, 600
AREA = (slice(150, 450), slice(500, 700))  # rows, columns of the annotated region in level-0 px
PINK = (230, 200, 215)


def tiff(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric=kind, compression="deflate", metadata=None)


def slide(slide_id: str, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(records.MANIFEST.schema.names) | {
        "slide_id": slide_id,
        "image": f"{slide_id}.tif",
        "label_source": f"{slide_id}_mask.tif",
        "label_kind": "mask",
        "exhaustive": True,
        "split": "train",
        "patient": slide_id,
        "provider": "karolinska",
        "width": WIDTH,
        "height": HEIGHT,
        "split_rule": "drawn",
        "derived": False,
        "findings": "",
        "status": "ok",
        "reason": "",
        "fingerprint": slide_id,
    }
    return row | changes


def patch(slide_id: str, tumour: float, x0: int = 0) -> dict[str, Any]:
    return {
        "slide_id": slide_id,
        "x0": x0,
        "y0": 0,
        "downsample": 2.0,
        "patch_px": 64,
        "tissue_fraction": 1.0,
        "tumour_fraction": tumour,
        "class_fractions": [1 - tumour, tumour],
        "label": int(tumour > 0),
        "split": "train",
    }


Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Make a project with one recipe, a manifest and an index; every slide is pink, 2 in AREA of its mask."""

    def make(recipe: str, slides: list[dict[str, Any]], patches: list[dict[str, Any]]) -> Path:
        text = (ROOT / "recipes" / f"{recipe}.yaml").read_text()
        (tmp_path / "recipes").mkdir()
        (tmp_path / "recipes" / "mine.yaml").write_text(text.replace("picture_px: 900", "picture_px: 400", 1))
        (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        paths = Paths(tmp_path, "mine")
        cohort = tmp_path / load_recipe(tmp_path, "mine").cohort.root
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[AREA] = 2
        for row in slides:
            image, label = cohort / row["image"], cohort / f"{row['slide_id']}_mask.tif"
            if row["derived"]:
                image, label = paths.rasters / f"{row['slide_id']}.tif", paths.rasters / f"{row['slide_id']}_mask.tif"
            tiff(image, np.full((HEIGHT, WIDTH, 3), PINK, np.uint8))
            tiff(label, mask)
        records.write(records.MANIFEST, records.frame(records.MANIFEST, slides), paths.manifest)
        records.write(records.INDEX, records.frame(records.INDEX, patches), paths.index)
        return tmp_path

    return make


def panels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The slide and, beside it, the slide with its classes: (300, 400, 3) each, without the key below them."""
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] >= 300
    assert pixels.shape[1] > 800
    return pixels[:300, :400], pixels[:300, -400:]


def box(changed: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(changed)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_the_annotation_lies_on_the_slide_where_the_mask_has_it(project: Project) -> None:
    root = project("demo-panda", [slide("a")], [])
    path = Path(show.run(root, "mine", "a", None))
    assert path == root / "reports" / "mine" / "show" / "a.png"
    plain, tinted = panels(path)
    assert (plain == PINK).all()
    changed = (tinted != PINK).any(axis=2)
    assert box(changed) == (75, 225, 250, 350)  # AREA at half size
    assert changed[75:225, 250:350].all()


def test_without_a_name_it_is_the_usable_annotated_slide_with_most_tumour(project: Project) -> None:
    """By area over all patches: one full patch of b, three half ones of c; d and e are out of the question."""
    slides = [slide("a"), slide("b"), slide("c"), slide("d", status="excluded"), slide("e", label_kind="unknown")]
    patches = [patch("a", 0.0), patch("b", 1.0), *(patch("c", 0.5, x0=128 * n) for n in range(3))]
    patches += [patch(name, 1.0, x0=128 * n) for name in "de" for n in range(4)]
    assert Path(show.run(project("demo-panda", slides, patches), "mine", None, None)).name == "c.png"


def test_equally_much_tumour_is_the_first_slide_and_none_is_said(project: Project) -> None:
    root = project("demo-panda", [slide("b"), slide("a")], [patch("b", 0.5), patch("a", 0.5)])
    assert Path(show.run(root, "mine", None, None)).name == "a.png"
    index = Paths(root, "mine").index
    for patches in ([], [patch("a", 0.0)]):
        records.write(records.INDEX, records.frame(records.INDEX, patches), index)
        with pytest.raises(
            AcinusError, match=r"index\.parquet: no slide with annotated tumour; name one with --slide$"
        ):
            show.run(root, "mine", None, None)


def test_the_values_of_each_provider_are_its_own(project: Project) -> None:
    """2 is cancer at one, healthy epithelium at the other."""
    root = project("demo-panda", [slide("a"), slide("b", provider="radboud")], [])
    assert (panels(Path(show.run(root, "mine", "a", None)))[1] != PINK).any()
    assert (panels(Path(show.run(root, "mine", "b", None)))[1] == PINK).all()


def test_a_colour_coded_cohort_is_shown_from_its_rasters_in_its_own_colours(project: Project) -> None:
    root = project("demo-biopsy", [slide("a", image="a.png", derived=True, label_source="masks/a.png")], [])
    recipe = load_recipe(root, "mine")
    assert class_colours(recipe.classes, recipe.cohort)["grey"] == (150, 150, 150)
    _, tinted = panels(Path(show.run(root, "mine", "a", None)))
    assert box((tinted != PINK).any(axis=2)) == (75, 225, 250, 350)
    middle = tinted[150, 300].astype(int)  # between the slide's pink and the cohort's grey, class 2
    assert (np.sign(np.array(PINK) - middle) == np.sign(np.array(PINK) - 150)).all()


def test_another_file_may_be_asked_for_and_the_command_says_which(project: Project, monkeypatch) -> None:
    root = project("demo-panda", [slide("a")], [patch("a", 1.0)])
    monkeypatch.chdir(root)
    done = CliRunner().invoke(main, ["show", "--recipe", "mine", "--out", "elsewhere/picture.png"])
    assert (done.exit_code, done.output) == (0, "elsewhere/picture.png\n")
    first = (root / "elsewhere" / "picture.png").read_bytes()
    done = CliRunner().invoke(main, ["show", "--recipe", "mine", "--slide", "a"])
    assert Path(done.output.strip()).read_bytes() == first  # the same slide, the same bytes
    done = CliRunner().invoke(main, ["show", "--recipe", "mine", "--slide", "x"])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: slide 'x': not in ")


@pytest.mark.parametrize(
    ("slide_id", "said"),
    [
        ("nobody", r"slide 'nobody': not in .*manifest\.parquet; give a slide_id of it$"),
        ("bad", r"slide bad: bad: no mpp$"),
        ("graded", r"slide graded: has no annotation to show; give another one$"),
    ],
)
def test_a_slide_that_cannot_be_shown_is_one_line(project: Project, slide_id: str, said: str) -> None:
    slides = [
        slide("a"),
        slide("bad", status="bad", reason="no mpp", width=None, height=None),
        slide("graded", label_kind="unknown", label_source=None),
    ]
    root = project("demo-panda", slides, [])
    with pytest.raises(AcinusError, match=said) as caught:
        show.run(root, "mine", slide_id, None)
    assert "\n" not in str(caught.value)
    assert not (root / "reports").exists()


def test_a_slide_without_tumour_that_is_asked_for_is_shown_plain(project: Project) -> None:
    root = project("demo-panda", [slide("a", label_kind="none", label_source=None)], [])
    assert (panels(Path(show.run(root, "mine", "a", None)))[1] == PINK).all()


def test_before_ingest_it_says_what_to_run(project: Project) -> None:
    root = project("demo-panda", [slide("a")], [])
    Paths(root, "mine").manifest.unlink()
    with pytest.raises(AcinusError, match=r"manifest\.parquet: not found; run the stage that writes it"):
        show.run(root, "mine", "a", None)


def test_the_border_of_the_tissue_is_drawn_where_index_has_found_it(project: Project) -> None:
    root = project("demo-panda", [slide("a")], [])
    before = panels(Path(show.run(root, "mine", "a", None)))[1]
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:4, 1:6] = True  # of 100 level-0 px each: 50 px of the picture
    folder = Paths(root, "mine").tissue
    folder.mkdir(parents=True)
    save_tissue(TissueMask(mask, WIDTH, HEIGHT), folder / "a.png")
    plain, after = panels(Path(show.run(root, "mine", "a", None)))
    assert (plain == PINK).all()
    drawn = (after != before).any(axis=2)
    assert box(drawn) == (49, 201, 49, 301)
    assert not drawn[52:198, 52:298].any()
    assert (after[drawn] == TISSUE_LINE).all()
