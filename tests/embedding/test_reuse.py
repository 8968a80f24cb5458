"""Features under a content key: taken over by recipes and after kills, and only where nothing else was asked for."""

import hashlib
import json
import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acinus import records
from acinus.embedding.bags import Choice
from acinus.embedding.feature_file import read_features
from acinus.embedding.folder import feature_path, own_features, read_encoder, save_encoder
from acinus.embedding.reuse import (
    KeptJob,
    embed_or_take_over,
    embedding_code,
    gpus,
    key_of,
    modules_of_features,
    shelf_of,
    swept,
)
from acinus.embedding.slide_features import EmbedJob
from acinus.errors import AcinusError
from acinus.paths import Paths
from acinus.stages import embed
from tests.embedding import test_slide_features
from tests.embedding.study import BLANK, ROOT, SLIDES, recipe_of, stage_of, study


def kept(paths: Paths, target: str = "one") -> KeptJob:
    job = test_slide_features.job(paths)
    (paths.root / target).mkdir(exist_ok=True)
    shelf = shelf_of(paths.root, job.encoder.spec)
    return KeptJob(job, "print", embedding_code(), shelf, feature_path(paths.root / target, "a"))


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_second_time_nothing_is_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = study(tmp_path, ("a",))
    first = embed_or_take_over(kept(paths))
    assert (first.taken_over, first.width) == (False, 128 if first.width == 128 else first.width)
    monkeypatch.setattr("acinus.embedding.reuse.embed", None)  # is not called
    second = embed_or_take_over(kept(paths, "two"))
    assert (second.taken_over, second.num_patches, second.width) == (True, first.num_patches, first.width)
    one, two = (kept(paths, name).target for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_ino == two.stat().st_ino


def test_a_disk_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError("not supported")

    paths = study(tmp_path, ("a",))
    monkeypatch.setattr("os.link", no_links)
    embed_or_take_over(kept(paths))
    embed_or_take_over(kept(paths, "two"))
    assert kept(paths).target.read_bytes() == kept(paths, "two").target.read_bytes()


@pytest.mark.parametrize("damage", [lambda data: data[:-50], lambda data: data.replace(b"print", b"other") + b"x"])
def test_what_is_damaged_is_embedded_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    paths = study(tmp_path, ("a",))
    job = kept(paths)
    embed_or_take_over(job)
    whole = job.target.read_bytes()
    job.target.unlink()
    path = job.shelf / f"{key_of(job)}.h5"
    path.write_bytes(whole[:-50])
    again = embed_or_take_over(job)
    assert not again.taken_over
    assert "embedded again, since" in str(again)
    assert job.target.read_bytes() == whole


CHANGES: dict[str, Callable[[EmbedJob], EmbedJob]] = {
    "grid": lambda job: replace(job, index=job.index.model_copy(update={"stride_px": 32})),
    "resolution": lambda job: replace(job, index=job.index.model_copy(update={"level": None, "mpp": 1.0})),
    "tissue asked for": lambda job: replace(job, index=job.index.model_copy(update={"min_tissue_fraction": 0.4})),
    "mpp": lambda job: replace(job, slide=replace(job.slide, mpp=0.25)),
    "slide": lambda job: replace(job, slide=replace(job.slide, slide_id="b")),
    "batch": lambda job: replace(job, encoder=replace(job.encoder, batch_size=6)),
    "threads": lambda job: replace(job, encoder=replace(job.encoder, threads=2)),
    "precision": lambda job: replace(job, encoder=replace(job.encoder, precision="bf16-mixed")),
    "weights": lambda job: replace(
        job, encoder=replace(job.encoder, spec=job.encoder.spec.model_copy(update={"weights_sha256": "0" * 64}))
    ),
    "input": lambda job: replace(
        job, encoder=replace(job.encoder, spec=job.encoder.spec.model_copy(update={"px": 32}))
    ),
    "colours": lambda job: replace(
        job, encoder=replace(job.encoder, spec=job.encoder.spec.model_copy(update={"mean": (0.1, 0.2, 0.3)}))
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_decides_the_features_changes_the_key(tmp_path: Path, what: str) -> None:
    job = kept(study(tmp_path, ("a",)))
    assert key_of(replace(job, embed=CHANGES[what](job.embed))) != key_of(job)


def test_the_file_the_mask_the_map_and_the_code_change_the_key_and_other_settings_do_not(tmp_path: Path) -> None:
    paths = study(tmp_path, ("a",))
    job = kept(paths)
    before = key_of(job)
    others = [replace(job, fingerprint="other"), replace(job, code="other"), replace(job, dtype="float16")]
    assert before not in [key_of(other) for other in others]
    same = replace(job.embed, decode_threads=7, memory_mib=1, bag_seed=4)
    same = replace(same, index=same.index.model_copy(update={"tumor_min_fraction": 0.9}))
    assert key_of(replace(job, embed=same, target=tmp_path / "elsewhere.h5")) == before
    map_file = tmp_path / "map.tif"
    map_file.write_bytes(b"a map")
    chosen = replace(job.embed, choice=Choice(4, 2, 1.0, (1,)), slide=replace(job.embed.slide, map=map_file))
    by_map = key_of(replace(job, embed=chosen))
    assert by_map not in {before, key_of(replace(job, embed=replace(chosen, bag_seed=9)))}
    map_file.write_bytes(b"another")
    assert key_of(replace(job, embed=chosen)) != by_map
    Image.fromarray(np.ones((21, 25), dtype=bool)).save(job.embed.slide.tissue)
    assert key_of(job) != before


def test_the_key_holds_the_code_that_reads_and_computes_but_none_that_only_says_settings() -> None:
    modules = modules_of_features()
    rooms = {".".join(name.split(".")[:2]) for name in modules}
    assert {"acinus.slides.tile_pass", "acinus.slides.jpeg_pixels", "acinus.learning.inputs"} <= modules.keys()
    assert {"acinus.encoders.networks", "acinus.encoders.loading", "acinus.tissue.mask"} <= modules.keys()
    assert {"acinus.embedding.bags", "acinus.patches.grid", "acinus.regions.amounts", "acinus.seeds"} <= modules.keys()
    assert not {"acinus.params", "acinus.records", "acinus.labels"} & rooms
    assert "acinus.encoders.known" not in modules


def test_a_second_recipe_with_the_same_encoder_embeds_nothing(tmp_path: Path, capsys: Any) -> None:
    paths, figures = study(tmp_path), list[dict[str, Any]]()
    other = Paths(tmp_path, "other")
    other.data.mkdir(parents=True)
    for name in ("manifest.parquet", "tissue"):
        (other.data / name).symlink_to(paths.data / name)
    for name in ("r", "other"):
        embed.run(stage_of(tmp_path, recipe_of(tmp_path), name, figures.append))
    assert [one["n_taken_over"] for one in figures] == [0, len(SLIDES)]
    assert figures[0]["n_patches"] == figures[1]["n_patches"] == 80
    assert contents(paths.features) == contents(other.features)
    printed = capsys.readouterr().out
    assert f"{BLANK}: no tissue to take a patch from, left out" in printed
    assert "4 slides, 4 of them embedded before; 1 left out" in printed


def test_an_edit_of_one_slide_embeds_that_slide_again(tmp_path: Path) -> None:
    paths, figures = study(tmp_path), list[dict[str, Any]]()
    embed.run(stage_of(tmp_path, recipe_of(tmp_path), figures=figures.append))
    manifest = records.read(records.MANIFEST, paths.manifest)
    manifest.loc[manifest["slide_id"] == "b", "fingerprint"] = "replaced"
    records.write(records.MANIFEST, manifest, paths.manifest)
    Image.fromarray(np.ones((21, 25), dtype=bool)).save(paths.tissue / "c.png")
    embed.run(stage_of(tmp_path, recipe_of(tmp_path), figures=figures.append))
    assert figures[1]["n_taken_over"] == len(SLIDES) - 2


def test_features_of_another_encoder_mpp_or_slide_do_not_belong_to_a_recipe(tmp_path: Path) -> None:
    paths = study(tmp_path, ("a", "b"))
    recipe = recipe_of(tmp_path)
    embed.run(stage_of(tmp_path, recipe))
    old, spec = tmp_path / "old.h5", read_encoder(paths.features)
    shutil.copyfile(feature_path(paths.features, "a"), old)
    assert own_features(paths.features, "a", recipe.index) == feature_path(paths.features, "a")
    assert own_features(paths.features, BLANK, recipe.index) is None
    with pytest.raises(AcinusError, match=r"a\.h5: features of patches of 64 px, expected 32 px"):
        own_features(paths.features, "a", recipe.index.model_copy(update={"patch_px": 32}))
    with pytest.raises(AcinusError, match=r"a\.h5: features of 0\.5 um/px, expected 0\.25 um/px"):
        own_features(paths.features, "a", recipe.index.model_copy(update={"level": None, "mpp": 0.25}))
    with pytest.raises(AcinusError, match="features of another encoder, grid, resolution or slide"):
        read_features(old, key="0" * 32)
    with pytest.raises(AcinusError, match="the encoder gives 7"):
        read_features(old, width=7)
    embed.run(stage_of(tmp_path, recipe_of(tmp_path, encoder="test_vit")))
    assert read_encoder(paths.features) != spec
    for name, words in (("a", "encoder test_resnet, expected test_vit"), ("b", "slide a, expected slide b")):
        feature_path(paths.features, name).unlink()
        shutil.copyfile(old, feature_path(paths.features, name))
        with pytest.raises(AcinusError, match=f"{name}.h5: features of {words}; run the stage embed again"):
            own_features(paths.features, name, recipe.index)
    other = spec.model_copy(update={"weights_sha256": "0" * 64})
    save_encoder(paths.features, other)
    with pytest.raises(AcinusError, match="features of encoder test_resnet with other weights"):
        own_features(paths.features, "a", recipe.index)


def test_ten_kills_give_the_bytes_of_one_straight_run(tmp_path: Path) -> None:
    every = tuple(f"s{number:02d}" for number in range(24))
    straight, killed = study(tmp_path / "straight", every), study(tmp_path / "killed", every)
    command = [sys.executable, "-m", "tests.embedding.kill_embed", str(straight.root), str(killed.root), "10", "3"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    outcome = json.loads(ended.stdout.splitlines()[-1])
    assert outcome["straight"]["n_taken_over"] == 0
    assert outcome["killed"] >= 5  # the others had ended by their moment
    assert outcome["last"]["n_taken_over"] > 0  # what kills left was used
    assert contents(straight.features) == contents(killed.features)
    assert len(contents(straight.features)) == len(every) + 2  # and the encoder
    shelf = shelf_of(killed.root, read_encoder(killed.features))
    assert len(list(shelf.glob("*.h5"))) == len(every)
    assert not list(shelf.glob(".*.part"))  # what kills left half-written is gone


def test_half_written_files_are_swept_unless_another_stage_works_there(tmp_path: Path) -> None:
    left = tmp_path / "shelf" / ".a.h5.xyz.part"
    with swept([tmp_path / "shelf"]):
        left.mkdir()
        with swept([tmp_path / "shelf"]):  # a second stage, at the same time
            assert left.is_dir()
    with swept([tmp_path / "shelf"]):
        assert not left.exists()


def test_several_gpus_are_shared_between_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from acinus.embedding import reuse

    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert gpus("cuda") == gpus("auto") == ("cuda:0", "cuda:1")
    assert gpus("cuda:1") == gpus("cpu") == ()
    job = replace(kept(study(tmp_path, ("a",))), devices=("cuda:0", "cuda:1"))
    devices = []
    for number in (1, 2, 3):
        reuse._process_number.cache_clear()
        monkeypatch.setattr(multiprocessing.current_process(), "name", f"SpawnProcess-{number}")
        devices.append(reuse._on_own_device(job).encoder.device)
    reuse._process_number.cache_clear()
    assert devices == ["cuda:1", "cuda:0", "cuda:1"]


def test_a_recipe_that_learns_nothing_of_slides_embeds_nothing(tmp_path: Path) -> None:
    paths = study(tmp_path, ("a",))
    recipe = recipe_of(tmp_path)
    recipe = recipe.model_copy(update={"grade": recipe.grade.model_copy(update={"target": "none"})})
    embed.run(stage_of(tmp_path, recipe))
    assert [path.name for path in paths.features.iterdir()] == ["none.txt"]
    code = "import sys, acinus.stages.embed; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], check=True)
