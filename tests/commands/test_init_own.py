"""What `acinus init` makes of contradictions, odd masks and missing patients: a line for each, and no crash."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acinus.commands.draft import Draft, own_draft
from acinus.commands.own_slides import look
from acinus.params.cohorts import SlidesRecipe

GROUND, RED, GREEN = (0, 0, 0), (255, 0, 0), (0, 255, 0)


def draft(root: Path) -> Draft:
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    return own_draft(root, files, None, 1)


def write(root: Path, name: str, mask: Image.Image | None) -> None:
    Image.new("RGB", (400, 300), (220, 180, 200)).save(root / f"{name}.tif", tiled=True, resolution=20_000)
    if mask is not None:
        mask.save(root / f"{name}_mask.png")


def painted(*colours: tuple[int, int, int]) -> Image.Image:
    """An RGB mask with a stripe of each colour."""
    mask = Image.new("RGB", (400, 300))
    for number, colour in enumerate(colours):
        mask.paste(colour, (40 * number, 0, 40 * number + 40, 300))
    return mask


@pytest.mark.parametrize("contrary", [True, False])
def test_a_table_and_annotations_that_contradict_each_other_are_told(tmp_path: Path, contrary: bool) -> None:
    """Regression: grades benign and malignant beside masks of glands, where ingest called every benign slide bad."""
    mask = Image.new("L", (400, 300))
    mask.paste(1, (0, 0, 100, 100))
    rows = ["file,grade"]
    for number in range(6):
        benign = number < 3
        write(tmp_path, f"s{number}", mask if contrary or not benign else Image.new("L", (400, 300)))
        rows.append(f"s{number},{'benign' if benign else 'malignant'}")
    (tmp_path / "grades.csv").write_text("\n".join(rows))
    made = draft(tmp_path)
    assert isinstance(made.recipe, SlidesRecipe)
    label = made.recipe.cohort.label
    assert (label is None) == contrary
    lines = [line for line in made.todo if line.startswith("column grade of the table calls 3 slides otherwise than ")]
    assert len(lines) == contrary
    if contrary:
        assert "s0.tif, s1.tif, s2.tif" in lines[0]
        assert "not as the annotations have it" in made.notes["cohort.label"]


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_mask_that_is_all_ground_is_coloured_as_the_others_are(tmp_path: Path, mode: str) -> None:
    """Regression: mask_values and mask_colours are both given."""
    for number in range(3):
        write(tmp_path, f"s{number}", painted(RED, GREEN))
    write(tmp_path, "empty", Image.new(mode, (400, 300)))
    recipe = draft(tmp_path).recipe
    assert isinstance(recipe, SlidesRecipe)
    assert recipe.cohort.mask_values == {}
    colours = {"normal": [0, 0, 0], "colour_ff0000": [255, 0, 0], "colour_00ff00": [0, 255, 0]}
    assert recipe.cohort.mask_colours == colours


def test_borders_that_a_program_has_smoothed_are_told(tmp_path: Path) -> None:
    shades = np.tile(np.linspace(0, 255, 400).astype(np.uint8), (300, 1))
    smooth = Image.fromarray(np.stack([shades, 0 * shades, 0 * shades], axis=-1))
    for number in range(3):
        write(tmp_path, f"s{number}", smooth)
    assert any(
        line.startswith("masks have 256 colours, of which the first 12 are classes: ") for line in draft(tmp_path).todo
    )
    (tmp_path / "few").mkdir()
    for number in range(3):
        write(tmp_path / "few", f"s{number}", painted(RED, GREEN))
    assert not any("smoothed" in line for line in draft(tmp_path / "few").todo)


def test_outlines_and_a_mask_of_one_slide_are_told(tmp_path: Path) -> None:
    ring = [[0, 0], [200, 0], [200, 100], [0, 100], [0, 0]]
    for number in range(3):
        write(tmp_path, f"s{number}", painted(RED))
    (tmp_path / "s1.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    (line,) = look(tmp_path, [path.name for path in tmp_path.iterdir()]).first
    assert line.startswith("s1.geojson and s1_mask.png: annotations of one slide, s1.tif; keep one, or name ")
    assert line.endswith("in column annotation of slides.csv; for now it names the first")
    assert line in draft(tmp_path).todo


@pytest.mark.parametrize(
    ("table", "said", "first"),
    [
        (None, "", "no column says whose slide it is: each slide is a patient of its own; fill in column patient"),
        ("file,Pat-ID\ns0,1\ns1,1\ns2,2\n", "patients: column Pat-ID", ""),
        ("file,Pat-ID\ns0,1\ns1,1\ns2,\n", "", "patients: column Pat-ID, but nothing for 1 slide (s2.tif): each is a"),
        ("file,age\ns0,1\ns1,1\ns2,2\n", "", "no column says whose slide it is: each slide is a patient of its own; "),
    ],
)
def test_whose_slides_they_are_is_always_told(tmp_path: Path, table: str | None, said: str, first: str) -> None:
    for number in range(3):
        write(tmp_path, f"s{number}", painted(RED))
    if table:
        (tmp_path / "list.csv").write_text(table)
    made = draft(tmp_path)
    assert made.notes.get("cohort.split_by", "") == (f"{said}." if said else "")
    assert any(line.startswith(first) for line in made.todo) if first else "patient" not in " ".join(made.todo[:1])
    (tmp_path / "slides.csv").write_text("slide,patient\ns0,1\ns1,1\ns2,2\n")
    assert draft(tmp_path).notes["cohort.split_by"] == "patients: column patient."


def test_a_table_that_cannot_be_read_comes_first(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, f"s{number}", painted(RED))
    (tmp_path / "list.csv").write_bytes("file;Befund\ns0;Gewächs\n".encode("cp1252"))
    assert any(line.startswith("list.csv: not UTF-8 text (") for line in draft(tmp_path).todo)
