"""Segmentation networks by name: every px answered, weights where they belong, and what does not suit refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from acinus.errors import AcinusError
from acinus.learning.models import build_model, check_input
from acinus.learning.segmenters import Padded
from acinus.learning.weights import PACKAGED, ModelSpec, package_tensors, timm

TINY = "test_resnet"
NAMES = ("unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "deeplabv3", "deeplabv3plus", "pan", "upernet")


def segmenter(name: str = "unet", encoder: str | None = TINY, classes: int = 3, **more: Any) -> ModelSpec:
    return ModelSpec(task="segmentation", name=name, encoder=encoder, classes=classes, **more)


def build(seed: int = 0, **more: Any) -> Any:
    torch.manual_seed(seed)
    return build_model(segmenter(**more))


def noise(patches: int, px: int) -> Tensor:
    return torch.randn(patches, 3, px, px, generator=torch.Generator().manual_seed(px))


@pytest.mark.parametrize("name", [*NAMES, "segformer", "dpt"])
def test_every_architecture_answers_every_px_and_learns(name: str) -> None:
    encoder = "test_vit" if name == "dpt" else TINY
    px = 150 if name == "pan" else 70  # divisible by nothing that a network asks for
    check_input(segmenter(name, encoder), px)
    model = build(name=name, encoder=encoder)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    logits = model.train()(noise(2, px))
    assert logits.shape == (2, 3, px, px)
    nn.functional.cross_entropy(logits, torch.zeros(2, px, px, dtype=torch.long)).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    moved = [key for key, value in model.state_dict().items() if not torch.equal(before[key], value)]
    assert any("encoder" in key for key in moved)
    assert any("segmentation_head" in key for key in moved)


@pytest.mark.parametrize("encoder", [PACKAGED, "convnext_atto", "pvt_v2_b0", "mobilenetv3_small_050"])
def test_any_timm_network_with_stages_is_an_encoder(encoder: str) -> None:
    check_input(segmenter(encoder=encoder), 64)
    with torch.inference_mode():
        assert build(encoder=encoder).eval()(noise(1, 64)).shape == (1, 3, 64, 64)


def test_the_published_panda_network_is_dilated() -> None:
    """DeepLabV3 on ResNet-50: stride 8, so that stage 3 and 4 see a 64-px patch as 8 x 8; 2048 features."""
    spec = segmenter("deeplabv3", "resnet50", 2)
    check_input(spec, 512, 16)
    model: Any = build_model(spec).eval()
    with torch.inference_mode():
        features = model.net.encoder(noise(1, 64))
    assert [tuple(one.shape[1:]) for one in features[-3:]] == [(512, 8, 8), (1024, 8, 8), (2048, 8, 8)]
    dilated = {one.dilation for one in model.net.encoder.modules() if isinstance(one, nn.Conv2d)}
    assert dilated == {(1, 1), (2, 2), (4, 4)}


class Echo(nn.Module):
    """Gives back what it is given, and remembers its size."""

    size: tuple[int, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        self.size = tuple(x.shape[-2:])
        return x


@pytest.mark.parametrize(
    ("edges", "padded"), [((64, 64), (64, 64)), ((33, 95), (64, 96)), ((1, 1), (32, 32)), ((10, 40), (32, 64))]
)
def test_padding_is_cropped_back_to_the_px_that_were_given(edges: tuple[int, int], padded: tuple[int, int]) -> None:
    net = Echo()
    x = torch.rand(2, 3, *edges)
    assert torch.equal(Padded(net, 32)(x), x)
    assert net.size == padded


def test_padding_changes_nothing_where_a_size_needs_none() -> None:
    model, x = build().eval(), noise(2, 64)
    with torch.inference_mode():
        assert torch.equal(model(x), model.net(x))


def test_a_padded_patch_is_answered_as_part_of_its_own_reflection() -> None:
    model, x = build().eval(), noise(1, 50)
    mirrored = torch.cat([x, x[..., 35:49].flip(-1)], dim=-1)  # 14 columns, without the last one again
    mirrored = torch.cat([mirrored, mirrored[..., 35:49, :].flip(-2)], dim=-2)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), model.net(mirrored)[..., :50, :50])


def test_weights_from_scratch_follow_the_callers_seed() -> None:
    one, same, other = (build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["net.segmentation_head.0.weight"], other["net.segmentation_head.0.weight"])
    assert not torch.equal(one["net.encoder.model.conv1.0.weight"], other["net.encoder.model.conv1.0.weight"])


@pytest.mark.parametrize("name", ["unet", "deeplabv3"])
def test_the_packages_weights_see_in_the_encoder_what_they_see_in_the_classifier(name: str) -> None:
    model = build(name=name, encoder=PACKAGED, weights="package").eval()
    classifier = build_model(ModelSpec(task="patch_classification", name=PACKAGED, weights="package", classes=2)).eval()
    known = package_tensors(PACKAGED, "train.encoder")
    own = model.net.encoder.model.state_dict()
    assert len(own) == 288  # all but conv_head, bn2 and classifier
    assert all(torch.equal(own[key], known[key]) for key in own)
    if name == "deeplabv3":  # dilated: the same tensors, other strides
        return
    net: Any = classifier
    with torch.inference_mode():
        expected = net.blocks(net.bn1(net.conv_stem(noise(1, 64))))
        torch.testing.assert_close(model.net.encoder(noise(1, 64))[-1], expected)


@pytest.mark.parametrize("encoder", [TINY, "convnext_atto"])  # the latter's stages have other names in an encoder
def test_a_classifiers_file_fills_the_encoder(tmp_path: Path, encoder: str) -> None:
    torch.manual_seed(5)
    source = timm().create_model(encoder, num_classes=7)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    model = build(encoder=encoder, weights=str(tmp_path / "w.safetensors")).eval()
    source.eval()
    with torch.inference_mode():
        expected = source.forward_intermediates(noise(1, 64), intermediates_only=True)
        found = model.net.encoder(noise(1, 64))
    torch.testing.assert_close(found[-1], expected[-1])
    assert found[-1].std() > 0


def test_a_whole_networks_file_fills_all_but_a_head_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    source = build(1).state_dict()
    save_file(source, path)
    same = build(2, weights=str(path)).state_dict()
    assert all(torch.equal(same[key], value) for key, value in source.items())
    other = build(2, weights=str(path), classes=5).state_dict()
    assert {key for key in other if not torch.equal(other[key], source[key])} == {
        "net.segmentation_head.0.weight",
        "net.segmentation_head.0.bias",
    }


def test_files_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for state in (timm().create_model("test_vit").state_dict(), {"else": torch.zeros(1)}):
        save_file(state, path)
        with pytest.raises(AcinusError, match=r"w.safetensors: tensors \d+ missing .*weights of another model"):
            build(weights=str(path))
    save_file(build(name="fpn").state_dict(), path)
    with pytest.raises(AcinusError, match=r"missing \(net.decoder.blocks.*unknown \(net.decoder"):
        build(weights=str(path))


def test_offline_imagenet_weights_are_one_line_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        AcinusError, match=r"no pretrained weights for resnet10t .*; go online once.*train.encoder to tf"
    ) as caught:
        build(encoder="resnet10t", weights="imagenet")
    assert "\n" not in str(caught.value)
    with pytest.raises(AcinusError, match=r"does not suit train.model = 'unet'"):  # not the hub's fault
        build(encoder="test_vit", weights="imagenet")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"name": "u-net"},
            r"train.model = 'u-net': no such architecture; known are deeplabv3, .*upernet; close to it: unet",
        ),
        ({"encoder": "resnet51"}, r"train.encoder = 'resnet51': timm has no such model; close to it: .*resnet50"),
        ({"encoder": None}, r"train.encoder: missing; name a timm network for train.model = 'unet'"),
        ({"encoder": "test_vit"}, r"train.encoder = 'test_vit' does not suit train.model = 'unet'"),
        ({"name": "dpt"}, r"train.encoder = 'test_resnet' does not suit train.model = 'dpt'"),
        ({"weights": "zero"}, r"train.weights = 'zero': unknown; use none .*, imagenet .*, package"),
        ({"weights": "package"}, r"'package' holds tf_efficientnet_lite0 only, found train.encoder = 'test_resnet'"),
        ({"head_units": 8}, r"train.head_units, train.freeze and train.dropout are for task patch_classification"),
        ({"freeze": True}, r"are for task patch_classification"),
        ({"dropout": 0.5}, r"are for task patch_classification"),
    ],
)
def test_what_does_not_suit_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(AcinusError, match=said) as caught:
        build(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "px", "batch_size", "said"),
    [
        (
            segmenter("deeplabv3"),
            512,
            1,
            r"batches of 1 with 512 px \(Expected more than 1 value.*a larger train.batch_size",
        ),
        (segmenter("pan"), 64, 4, r"cannot train on batches of 4 with 64 px .* set another train.input_px"),
        (segmenter("pspnet", "inception_v3"), 128, 4, r"answers 104 x 104 of 128 x 128 px"),
        (segmenter("unet", "swin_tiny_patch4_window7_224"), 256, 4, r"with 256 px .* set another train.input_px"),
    ],
)
def test_batches_that_a_network_cannot_train_on_are_found_beforehand(
    spec: ModelSpec, px: int, batch_size: int, said: str
) -> None:
    with pytest.raises(AcinusError, match=said):
        check_input(spec, px, batch_size)


def test_looking_beforehand_draws_nothing() -> None:
    """The weights come from the same generator: a check before the seed is set or after it changes nothing."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    check_input(segmenter("deeplabv3", "resnet50"), 512, 2)
    assert torch.equal(torch.get_rng_state(), before)
