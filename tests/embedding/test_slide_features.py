"""One slide to features: held against patches that OpenSlide reads one by one and the encoder's plain forward."""

from dataclasses import replace

import numpy as np
import openslide
import pytest
import torch

from acinus import params
from acinus.embedding.slide_features import EmbedJob, Encoder, SlideToEmbed, embed, slide_features
from acinus.encoders.loading import load_encoder, make_encoder
from acinus.errors import AcinusError, SlideError
from acinus.paths import Paths
from tests.embedding.study import BLANK, EDGE, GRID, HEIGHT, MPP, WIDTH, study

IN_TISSUE = [(x0, y0) for y0 in range(0, HEIGHT, EDGE) for x0 in range(0, WIDTH, EDGE)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return study(tmp_path_factory.mktemp("study"), ("a",))


def job(paths: Paths, slide_id: str = "a", **index: object) -> EmbedJob:
    paths.features.mkdir(exist_ok=True)
    spec = make_encoder("test_resnet", "none", EDGE, paths.features, 3)
    image, tissue = paths.root / "cohort" / f"{slide_id}.tif", paths.tissue / f"{slide_id}.png"
    return EmbedJob(
        slide=SlideToEmbed(slide_id, image, MPP, tissue),
        index=params.Index.model_validate({**GRID, **index}),
        encoder=Encoder(spec, paths.model, paths.features, "cpu", 1, batch_size=5),
    )


def tissue_share(x0: int, y0: int) -> float:
    """Tissue covers 60 to 400 px across and 40 to 340 down: 3 to 20 of 25 and 2 to 17 of 21 px of the mask."""
    wide = min(x0 + EDGE, 400) - max(x0, 60)
    return max(0, wide) * max(0, min(y0 + EDGE, 340) - max(y0, 40)) / EDGE**2


def one_by_one(job: EmbedJob, corners: list[tuple[int, int]], edge0: int = EDGE) -> np.ndarray:
    """Each patch alone, read by OpenSlide, scaled to 0 to 1, normalised, through the encoder."""
    net = load_encoder(job.encoder.spec, job.encoder.model, job.encoder.folder)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (job.encoder.spec.mean, job.encoder.spec.std))
    rows = []
    with openslide.OpenSlide(job.slide.image) as slide, torch.inference_mode():
        for x0, y0 in corners:
            pixels = np.asarray(slide.read_region((x0, y0), 0, (edge0, edge0)).convert("RGB"), dtype=np.float32)
            values = torch.from_numpy(pixels / 255).permute(2, 0, 1)[None]
            rows.append(net((values - mean) / std)[0].numpy())
    return np.stack(rows)


def test_all_tissue_is_embedded_row_by_row(paths: Paths) -> None:
    one = job(paths)
    found = slide_features(one)
    assert found is not None
    corners = [place for place in IN_TISSUE if tissue_share(*place) >= 0.5]
    assert len(corners) == 20
    assert list(zip(found.patches.x0.tolist(), found.patches.y0.tolist(), strict=True)) == corners
    assert found.features == pytest.approx(one_by_one(one, corners), abs=1e-5)
    assert found.patches.prob is None
    assert (found.patches.width, found.patches.height, found.patches.mpp) == (WIDTH, HEIGHT, MPP)


def test_batches_and_threads_do_not_change_the_features(paths: Paths) -> None:
    one = job(paths)
    found, other = slide_features(one), slide_features(replace(one, decode_threads=3, memory_mib=1))
    large = slide_features(replace(one, encoder=replace(one.encoder, batch_size=64)))
    assert found is not None
    assert other is not None
    assert large is not None
    assert (found.features == other.features).all()
    assert large.features == pytest.approx(found.features, abs=1e-5)


def test_a_step_smaller_than_the_patch_and_a_coarser_resolution(paths: Paths) -> None:
    found = slide_features(job(paths, stride_px=32))
    assert found is not None
    assert len(found.patches) > 80
    coarse = slide_features(job(paths, level=None, mpp=1.0, patch_px=32, stride_px=32))
    assert coarse is not None
    assert (coarse.patches.downsample, coarse.patches.edge0) == (2.0, 64.0)
    whole = slide_features(job(paths))
    assert whole is not None
    assert (coarse.patches.x0 == whole.patches.x0).all()


def test_little_tissue_still_gives_a_patch_and_none_gives_none(paths: Paths) -> None:
    few = slide_features(job(paths, patch_px=400, stride_px=400, min_tissue_fraction=0.99))
    assert few is not None
    assert len(few.patches) == 1
    assert slide_features(job(paths, BLANK)) is None


def test_failures_say_what_to_do(paths: Paths) -> None:
    with pytest.raises(SlideError, match=r"0\.25 um/px asked for, but the slide has 0\.5"):
        slide_features(job(paths, level=None, mpp=0.25))
    one = job(paths)
    spec = one.encoder.spec.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(AcinusError, match="not the weights"):
        slide_features(replace(one, encoder=replace(one.encoder, spec=spec)))


def test_autocast_is_for_gpus(paths: Paths) -> None:
    one = job(paths)
    with pytest.raises(AcinusError, match=r"embed\.precision = 'bf16-mixed' runs on a GPU only"):
        slide_features(replace(one, encoder=replace(one.encoder, precision="bf16-mixed")))


def test_a_level_of_another_resolution_than_the_encoders(paths: Paths) -> None:
    one = job(paths)
    spec = one.encoder.spec.model_copy(update={"mpp": 1.0})
    with pytest.raises(SlideError, match=r"slide a: index\.patch_px = 64 at 0\.5 um/px, scaled to 64 px"):
        slide_features(replace(one, encoder=replace(one.encoder, spec=spec)))
    coarse = replace(one, slide=replace(one.slide, mpp=1.0))
    assert slide_features(replace(coarse, encoder=replace(one.encoder, spec=spec))) is not None


def test_what_keeps_the_features_may_fail(paths: Paths) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        embed(job(paths), full)
