"""A real slide to features: pixels by OpenSlide, ImageNet's EfficientNet-Lite0 by timm's own forward, file by h5py."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import openslide
import pytest
import torch
from safetensors.torch import load_file

from acinus import params
from acinus.embedding.reuse import KeptJob, embed_or_take_over, embedding_code, shelf_of
from acinus.embedding.slide_features import EmbedJob, Encoder, SlideToEmbed
from acinus.encoders.loading import make_encoder
from acinus.learning.weights import timm
from acinus.slides.open import open_slide
from acinus.tissue.mask import find_tissue, save_tissue

MODEL, EDGE = "tf_efficientnet_lite0", 224
INDEX = params.Index(
    level=0, patch_px=EDGE, stride_px=EDGE, min_tissue_fraction=0.6, tissue=params.Tissue(downsample=16)
)


def test_every_tissue_patch_of_a_real_slide(shared_data: Path, tmp_path: Path) -> None:
    image = shared_data / "slides" / "cmu-1-small-region.svs"
    with open_slide(image, "cmu") as slide:
        tissue = find_tissue(slide, INDEX.tissue)
        save_tissue(tissue, tmp_path / "tissue.png")
        mpp = slide.tag_mpp
    assert mpp is not None
    spec = make_encoder(MODEL, "package", EDGE, tmp_path, 1)
    job = EmbedJob(
        slide=SlideToEmbed("cmu", image, sum(mpp) / 2, tmp_path / "tissue.png"),
        index=INDEX,
        encoder=Encoder(spec, tmp_path, tmp_path, "cpu", 1, batch_size=16),
        decode_threads=2,
    )
    kept = KeptJob(job, "print", embedding_code(), shelf_of(tmp_path, spec), tmp_path / "cmu.h5")
    done = embed_or_take_over(kept)
    with h5py.File(kept.target) as file:
        features, coords = file["features"][:], file["coords"][:]
    share = tissue.fractions(coords[:, 0], coords[:, 1], EDGE)
    assert (share >= 0.6).all()
    assert done.num_patches == len(features) == len(coords) > 20
    net = timm().create_model(MODEL, num_classes=0)
    state = {
        name: value for name, value in load_file(tmp_path / "encoder.safetensors").items() if "classifier" not in name
    }
    net.load_state_dict(state)
    net.eval()
    for row in (0, len(coords) // 2, len(coords) - 1):
        with openslide.OpenSlide(image) as slide, torch.inference_mode():
            pixels = np.asarray(slide.read_region(tuple(coords[row].tolist()), 0, (EDGE, EDGE)).convert("RGB"))
            values = torch.from_numpy(pixels / 255).float().permute(2, 0, 1)[None]
            mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (spec.mean, spec.std))
            wanted = net((values - mean) / std)[0].numpy()
        assert features[row] == pytest.approx(wanted, abs=1e-4)
    again = embed_or_take_over(replace(kept, target=tmp_path / "again.h5"))
    assert again.taken_over
