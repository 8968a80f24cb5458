"""Features of TRIDENT, CLAM and STAMP, in files written as these programs write them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from acinus.cli import main
from acinus.commands import import_features
from acinus.embedding.feature_file import read_features
from acinus.embedding.folder import feature_path, read_encoder
from acinus.embedding.imported import imported_folder
from acinus.errors import AcinusError
from acinus.paths import Paths
from acinus.stages import embed
from tests.embedding.study import EDGE, HEIGHT, MPP, SLIDES, WIDTH, recipe_of, stage_of, study

CORNERS = np.array([(x0, y0) for x0 in (64, 128, 192) for y0 in (64, 128)], dtype=np.int64)  # column by column
D = 16


def values(slide_id: str, count: int = len(CORNERS)) -> np.ndarray:
    return np.random.default_rng(ord(slide_id[0])).normal(size=(count, D)).astype(np.float32)


def save_h5(path: Path, assets: dict[str, np.ndarray], attributes: dict[str, dict[str, Any]]) -> None:
    """TRIDENT, IO.save_h5."""
    with h5py.File(path, "w") as file:
        for key, val in assets.items():
            shape = val.shape[1:]
            dset = file.create_dataset(
                key, shape=val.shape, maxshape=(None, *shape), chunks=(1, *shape), dtype=val.dtype
            )
            dset[:] = val
            for attr_key, attr_val in attributes.get(key, {}).items():
                dset.attrs[attr_key] = json.dumps(attr_val) if isinstance(attr_val, dict) else attr_val


def trident(folder: Path, slide_id: str, coords: np.ndarray = CORNERS, **changes: Any) -> None:
    """TRIDENT, WSI.extract_patch_features over the coordinates of IO.coords_to_h5."""
    attributes = {"patch_size": EDGE, "patch_size_level0": EDGE, "level0_magnification": 20, "target_magnification": 20}
    attributes |= {"overlap": 0, "name": slide_id, "savetodir": "/data/out", "level0_width": WIDTH}
    attributes |= {"level0_height": HEIGHT, **changes}
    attributes = {key: value for key, value in attributes.items() if value is not None}
    assets = {"features": values(slide_id, len(coords)), "coords": coords}
    save_h5(folder / f"{slide_id}.h5", assets, {"features": {"name": slide_id}, "coords": attributes})


def clam(folder: Path, slide_id: str, coords: np.ndarray = CORNERS) -> None:
    """CLAM, extract_features_fp.compute_w_loader: batches appended to both datasets."""
    (folder / "h5_files").mkdir(exist_ok=True)
    (folder / "pt_files").mkdir(exist_ok=True)
    (folder / "pt_files" / f"{slide_id}.pt").write_bytes(b"\x80\x04pickle")
    with h5py.File(folder / "h5_files" / f"{slide_id}.h5", "w") as file:
        for start in range(0, len(coords), 4):
            batch = {"features": values(slide_id)[start : start + 4], "coords": coords[start : start + 4]}
            for key, val in batch.items():
                val = val.astype(np.int32) if key == "coords" else val
                if key not in file:
                    chunks, most = (1, *val.shape[1:]), (None, *val.shape[1:])
                    file.create_dataset(key, data=val, maxshape=most, chunks=chunks)
                else:
                    file[key].resize(len(file[key]) + len(val), axis=0)
                    file[key][-len(val) :] = val


def stamp(folder: Path, slide_id: str, coords: np.ndarray = CORNERS, **changes: Any) -> None:
    """STAMP, preprocessing.extract_."""
    with h5py.File(folder / f"{slide_id}.h5", "w") as file:
        file["coords"] = (coords * MPP).astype(np.float32)
        file["feats"] = values(slide_id).astype(np.float16)
        attributes = {"stamp_version": "2.4.0", "extractor": "uni2", "unit": "um", "feat_type": "tile"}
        attributes |= {"tile_size_um": EDGE * MPP, "tile_size_px": EDGE, "code_hash": "abc", **changes}
        for key, value in attributes.items():
            file.attrs[key] = value


@pytest.fixture
def project(tmp_path: Path) -> Paths:
    paths = study(tmp_path)
    write_recipe(tmp_path)
    (tmp_path / "made").mkdir()
    return paths


def write_recipe(root: Path, **embed: object) -> None:
    """Write the study's recipe, with imported features."""
    recipe = recipe_of(root, encoder="some_encoder", weights="imported", **embed)
    (root / "recipes").mkdir(exist_ok=True)
    slim = {"title": "t", "family": "panda", "task": "slide_labels", "grade": {"target": "isup"}, "report": {}}
    slim |= {"cohort": recipe.cohort.model_dump(), "index": recipe.index.model_dump(mode="json")}
    slim |= {"embed": recipe.embed.model_dump(mode="json"), "validate": {}, "classes": recipe.classes}
    (root / "recipes" / "r.yaml").write_text(yaml.safe_dump(slim))


def imported(paths: Paths) -> tuple[str, list[str]]:
    lines: list[str] = []
    return import_features.run(paths.root, "r", paths.root / "made", lines.append), lines


@pytest.mark.parametrize("tool", [trident, clam, stamp])
def test_features_of_the_three_tools_become_ours(project: Paths, tool: Callable[..., None]) -> None:
    for slide_id in SLIDES[:3]:
        tool(project.root / "made", slide_id)
    (project.root / "made" / "readme.txt").write_text("hello")
    said, lines = imported(project)
    assert said.startswith("3 of 5 slides imported, 18 patches of 16 features (")
    assert tool.__name__.upper() in said
    assert any("1 files that are features of no slide: readme.txt" in line for line in lines)
    assert any("without features: 2 of 5 slides: blank, d" in line for line in lines)
    assert any("pickled" in line for line in lines) == (tool is clam)
    figures: list[dict[str, Any]] = []
    embed.run(
        stage_of(project.root, recipe_of(project.root, weights="imported", encoder="some"), figures=figures.append)
    )
    assert (figures[0]["n_slides"], figures[0]["n_slides_left_out"], figures[0]["n_patches"]) == (3, 2, 18)
    found = read_features(feature_path(project.features, "b"))
    order = np.lexsort((CORNERS[:, 0], CORNERS[:, 1]))
    assert np.stack([found.patches.x0, found.patches.y0], axis=1).tolist() == CORNERS[order].tolist()
    wanted = values("b")[order]
    assert (found.features == (wanted.astype(np.float16) if tool is stamp else wanted)).all()
    spec = read_encoder(project.features)
    assert (spec.name, spec.width) == ("some", D)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "another size": (
        lambda folder: trident(folder, "a", patch_size_level0=128),
        r"patches of 128 level-0 px \(TRIDENT\), the recipe has 64",
    ),
    "another resolution": (
        lambda folder: trident(folder, "a", patch_size=32),
        r"patches of 32 px \(TRIDENT\), the recipe has 64; mend index\.patch_px",
    ),
    "the first TRIDENT": (
        lambda folder: trident(folder, "a", patch_size_level0=None, level0_magnification=40),
        r"patches of 128 level-0 px",
    ),
    "another step": (lambda folder: clam(folder, "a", CORNERS * 2), r"a patch every 128 level-0 px \(CLAM\)"),
    "another mpp": (lambda folder: stamp(folder, "a", tile_size_um=256.0), r"patches of 512 level-0 px \(STAMP\)"),
    "another slide": (
        lambda folder: trident(folder, "a", CORNERS + 300),
        r"patches up to \(492, 428\) level-0 px, slide a has 500 x 420; these are features of another slide",
    ),
    "no attributes": (lambda folder: trident(folder, "a", patch_size="None"), "attributes of no known layout"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_and_nothing_is_imported(project: Paths, what: str) -> None:
    write, words = REFUSED[what]
    write(project.root / "made")
    tool = stamp if what == "another mpp" else trident
    tool(project.root / "made", "b")
    with pytest.raises(AcinusError, match=f"1 of 2 files refused: .*a.h5: {words}"):
        imported(project)
    with pytest.raises(AcinusError, match="no features were imported for this recipe; run acinus embed --recipe r"):
        embed.run(stage_of(project.root, recipe_of(project.root, weights="imported")))


def spoil(path: Path, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def test_nan_two_encoders_two_files_and_none(project: Paths) -> None:
    made = project.root / "made"
    with pytest.raises(AcinusError, match=r"no <slide>\.h5 of any of 5 slides"):
        imported(project)
    trident(made, "a")
    trident(made, "b")
    spoil(made / "b.h5", lambda file: file["features"].__setitem__((4, 3), np.nan))
    with pytest.raises(AcinusError, match=r"b\.h5: the features of patch 4 are no finite numbers"):
        imported(project)
    with h5py.File(made / "b.h5", "w") as file:
        file["features"], file["coords"] = np.zeros((6, 8), dtype=np.float32), CORNERS
    with pytest.raises(AcinusError, match=r"b\.h5: features of 8 numbers, slide a has 16"):
        imported(project)
    with h5py.File(made / "b.h5", "w") as file:
        file["features"], file["coords"] = np.zeros((6, D), dtype=np.float32), CORNERS[:5]
    with pytest.raises(AcinusError, match=r"b\.h5: \(6, 16\) features and \(5, 2\) coordinates"):
        imported(project)
    (made / "uni").mkdir()
    trident(made / "uni", "a")
    with pytest.raises(AcinusError, match="two files of one slide; give the folder of one encoder"):
        imported(project)


def test_the_width_of_a_known_encoder_is_checked(project: Paths) -> None:
    write_recipe(project.root)
    text = (project.root / "recipes" / "r.yaml").read_text().replace("some_encoder", "UNI")
    (project.root / "recipes" / "r.yaml").write_text(text)
    trident(project.root / "made", "a")
    with pytest.raises(AcinusError, match="features of 16 numbers, UNI gives 1024"):
        imported(project)


def test_a_nominal_magnification_is_taken_with_the_size_that_the_file_says(project: Paths) -> None:
    write_recipe(project.root)
    path = project.root / "recipes" / "r.yaml"
    recipe = yaml.safe_load(path.read_text())
    recipe["index"] |= {"level": None, "mpp": MPP}
    path.write_text(yaml.safe_dump(recipe))
    trident(project.root / "made", "a", patch_size_level0=60)  # 20x at 0.5 um/px is nominal
    _, lines = imported(project)
    assert "1 slides have patches of 0.469 to 0.469 um/px, index.mpp = 0.5" in lines
    found = read_features(feature_path(imported_folder(project.root, "r"), "a"))
    assert (found.patches.edge0, found.patches.patch_px) == (60.0, EDGE)


def test_patches_twice_are_kept_once(project: Paths) -> None:
    trident(project.root / "made", "a", np.concatenate([CORNERS, CORNERS[:2]]))
    said, lines = imported(project)
    assert "6 patches" in said
    assert "a: 2 patches twice in the file, the first of each kept" in lines


def test_a_recipe_that_embeds_by_itself_imports_nothing(project: Paths) -> None:
    path = project.root / "recipes" / "r.yaml"
    path.write_text(path.read_text().replace("weights: imported", "weights: none"))
    with pytest.raises(AcinusError, match=r"embed.weights = 'none'; write imported"):
        imported(project)


def test_a_slide_replaced_since_is_refused(project: Paths) -> None:
    from acinus import records

    trident(project.root / "made", "a")
    imported(project)
    manifest = records.read(records.MANIFEST, project.manifest)
    manifest.loc[manifest["slide_id"] == "a", "fingerprint"] = "replaced"
    records.write(records.MANIFEST, manifest, project.manifest)
    with pytest.raises(AcinusError, match="features of another encoder, grid, resolution or slide"):
        embed.run(stage_of(project.root, recipe_of(project.root, weights="imported")))


def test_the_command_says_what_was_done_and_what_is_next(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acinus.project.checkout.project_root", lambda: project.root)
    made = project.root / "made"
    stamp(made, "a")
    done = CliRunner().invoke(main, ["embed", "--recipe", "r", "--import", str(made)])
    assert done.exit_code == 0, done.output
    assert "1 of 5 slides imported, 6 patches of 16 features (STAMP)" in done.output
    assert "next: acinus dvc repro --force --single-item embed@r" in done.output
    wrong = CliRunner().invoke(main, ["embed", "--recipe", "r", "--import", str(made / "no")])
    assert wrong.exit_code == 1
    assert "no such folder; give the folder of the feature files" in wrong.output
