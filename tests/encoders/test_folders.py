"""Encoders in the hub's layout against timm's own forward pass, and what is said where weights do not fit."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from acinus.encoders.loading import load_encoder, make_encoder, patch_features
from acinus.encoders.spec import EncoderSpec
from acinus.errors import AcinusError
from acinus.files import sha256
from acinus.learning.weights import timm
from acinus.params import Embed
from tests.encoders.hub_folder import GATED, MEAN, NETWORK, STD, UNI, UNI_OWN, VIRCHOW2, as_input, drawn, pixels, write


def made(name: str, out: Path, weights: str = "imagenet", patch_px: int = 32, **keys: Any) -> EncoderSpec:
    out.mkdir(exist_ok=True)
    return make_encoder(name, weights, patch_px, out, 0, Embed.model_validate(keys))


def features(spec: EncoderSpec, out: Path, patches: np.ndarray, **more: Any) -> np.ndarray:
    return patch_features(load_encoder(spec, out, out), patches, spec, "cpu", **more)


@pytest.fixture
def uni(tmp_path: Path) -> Path:
    return write(tmp_path / "uni", drawn(**UNI, **UNI_OWN), UNI, 32)


@pytest.fixture
def virchow2(tmp_path: Path) -> Path:
    return write(tmp_path / "virchow2", drawn(**VIRCHOW2, **GATED), VIRCHOW2, 28)


def test_a_folder_of_unis_kind_gives_what_timm_gives(uni: Path, tmp_path: Path) -> None:
    spec = made(str(uni), tmp_path / "out", arguments=UNI_OWN, pooling="cls")
    assert (spec.px, spec.mean, spec.std, spec.width) == (32, MEAN, STD, 24)
    assert spec.weights_sha256 == sha256(uni / "model.safetensors")
    reference: Any = timm().create_model(f"local-dir:{uni}", pretrained=True, num_classes=0, **UNI_OWN).eval()
    with torch.inference_mode():
        expected = reference.forward_features(as_input(pixels(3, 32)))[:, 0]
    assert np.abs(features(spec, tmp_path, pixels(3, 32)) - expected.numpy()).max() < 1e-5
    again = EncoderSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert {again: 1}[spec]
    assert not list((tmp_path / "out").iterdir())  # the weights stay where they are


def test_its_own_pooling_is_that_of_its_forward_pass(uni: Path, tmp_path: Path) -> None:
    spec = made(f"local-dir:{uni}", tmp_path, arguments=UNI_OWN)
    reference: Any = timm().create_model(f"local-dir:{uni}", pretrained=True, num_classes=0, **UNI_OWN).eval()
    with torch.inference_mode():
        expected = reference(as_input(pixels(2, 32)))
    assert np.abs(features(spec, tmp_path, pixels(2, 32)) - expected.numpy()).max() < 1e-5


def test_a_dynamic_size_takes_larger_patches(uni: Path, tmp_path: Path) -> None:
    spec = made(str(uni), tmp_path, arguments=UNI_OWN, pooling="mean", input_px=48)
    reference: Any = timm().create_model(f"local-dir:{uni}", pretrained=True, num_classes=0, **UNI_OWN).eval()
    with torch.inference_mode():
        expected = reference.forward_features(as_input(pixels(2, 48)))[:, 1:].mean(dim=1)
    assert np.abs(features(spec, tmp_path, pixels(2, 48)) - expected.numpy()).max() < 1e-5


def test_a_folder_of_virchow2s_kind_leaves_registers_out(virchow2: Path, tmp_path: Path) -> None:
    spec = made(str(virchow2), tmp_path, arguments=GATED, pooling="cls+mean")
    layers = {"mlp_layer": timm().layers.SwiGLUPacked, "act_layer": torch.nn.SiLU}
    reference: Any = timm().create_model(f"local-dir:{virchow2}", pretrained=True, num_classes=0, **layers).eval()
    with torch.inference_mode():
        tokens = reference(as_input(pixels(3, 28)))  # as on the model's card: class, 4 registers, 16 patches
    assert tokens.shape == (3, 21, 24)
    expected = torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], dim=-1)
    assert spec.width == 48
    assert np.abs(features(spec, tmp_path, pixels(3, 28)) - expected.numpy()).max() < 1e-5


def test_features_depend_on_no_batch(virchow2: Path, tmp_path: Path) -> None:
    spec = made(str(virchow2), tmp_path, arguments=GATED, pooling="cls+mean")
    one = features(spec, tmp_path, pixels(5, 28), batch_size=1)
    assert np.abs(features(spec, tmp_path, pixels(5, 28), batch_size=3) - one).max() < 1e-5


def test_a_file_with_its_network_is_the_same_encoder(uni: Path, tmp_path: Path) -> None:
    arguments = {**UNI, **UNI_OWN}
    colours = {"mean": list(MEAN), "std": list(STD)}
    spec = made(NETWORK, tmp_path, str(uni / "model.safetensors"), arguments=arguments, pooling="cls", **colours)
    folder = made(str(uni), tmp_path, arguments=UNI_OWN, pooling="cls")
    assert spec.identity() == folder.identity()
    assert spec.name != folder.name
    other = made(str(uni), tmp_path, arguments=UNI_OWN, pooling="mean")
    assert other.identity() != folder.identity()


def misfit_of(folder: Path, out: Path, **keys: Any) -> str:
    with pytest.raises(AcinusError) as caught:
        made(str(folder), out, **keys)
    return str(caught.value)


def test_the_argument_that_explains_a_misfit_is_named(uni: Path, virchow2: Path, tmp_path: Path) -> None:
    plain = misfit_of(uni, tmp_path, pooling="cls")
    assert "4 unknown (blocks.0.ls1.gamma, blocks.0.ls2.gamma, blocks.1.ls1.gamma, ...)" in plain
    assert "they have LayerScale: set embed.arguments.init_values: 1.0e-05" in plain
    assert "model.safetensors" in plain
    ungated = misfit_of(virchow2, tmp_path, pooling="cls+mean")
    assert "set embed.arguments.mlp_layer: SwiGLUPacked, with act_layer: SiLU" in ungated


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({**GATED, "reg_tokens": 0}, "they have 4 register tokens, the network 0: set embed.arguments.reg_tokens: 4"),
        ({**GATED, "img_size": 35}, "a grid of 4 x 4 tokens: set embed.arguments.img_size: 28"),
        ({**GATED, "depth": 3}, "they have 2 blocks, the network 3: set embed.arguments.depth: 2"),
        ({**GATED, "mlp_ratio": 4.0}, "set embed.arguments.mlp_ratio: 5.33333"),
        ({**GATED, "embed_dim": 48}, "they are 24 wide: set embed.arguments.embed_dim: 24"),
        ({**GATED, "patch_size": 14}, "their tokens are 7 px wide: set embed.arguments.patch_size: 7"),
        ({**GATED, "no_embed_class": True}, "set embed.arguments.no_embed_class: false"),
        ({**GATED, "qk_norm": True}, "they have no attn.q_norm: set embed.arguments.qk_norm: false"),
        ({"mlp_layer": "SwiGLUPacked"}, "without act_layer: timm would gate with GELU"),
        ({**GATED, "num_heads": 5}, "timm's vit_tiny_patch16_224 cannot be built with them"),
        ({**GATED, "dynamic_img_size": False}, "the network takes no patches of 35 px"),
    ],
)
def test_a_wrong_argument_is_found_by_the_weights_shapes(
    virchow2: Path, tmp_path: Path, arguments: dict[str, Any], text: str
) -> None:
    px = {"input_px": 35} if "dynamic_img_size" in arguments else {}
    assert text in misfit_of(virchow2, tmp_path, arguments=arguments, pooling="cls+mean", **px)


def test_tokens_without_pooling_are_no_features(virchow2: Path, tmp_path: Path) -> None:
    assert "say cls, mean or cls+mean" in misfit_of(virchow2, tmp_path, arguments=GATED)


def test_weights_of_another_network_are_no_matter_of_arguments(uni: Path, tmp_path: Path) -> None:
    save_file({"layer1.weight": torch.zeros(3, 3)}, uni / "model.safetensors")
    assert "these are weights of another architecture" in misfit_of(uni, tmp_path, arguments=UNI_OWN)
    state = {f"backbone.{key}": value for key, value in drawn(**UNI, **UNI_OWN).state_dict().items()}
    save_file(state, uni / "model.safetensors")
    assert "every name begins with 'backbone.'" in misfit_of(uni, tmp_path, arguments=UNI_OWN)
    save_file({"embeddings.cls_token": torch.zeros(1)}, uni / "model.safetensors")
    assert "these names are those of transformers" in misfit_of(uni, tmp_path, arguments=UNI_OWN)


def test_a_classifier_among_the_weights_is_left_out(uni: Path, tmp_path: Path) -> None:
    spec = made(str(uni), tmp_path, arguments=UNI_OWN, pooling="cls")
    plain = features(spec, tmp_path, pixels(2, 32))
    state = load_file(uni / "model.safetensors")
    save_file({**state, "head.weight": torch.ones(5, 24), "head.bias": torch.ones(5)}, uni / "model.safetensors")
    again = made(str(uni), tmp_path, arguments=UNI_OWN, pooling="cls")
    assert np.array_equal(features(again, tmp_path, pixels(2, 32)), plain)


def test_weights_that_are_gone_or_changed_are_named(uni: Path, tmp_path: Path) -> None:
    spec = made(str(uni), tmp_path, arguments=UNI_OWN, pooling="cls")
    state = load_file(uni / "model.safetensors")
    save_file({**state, "norm.bias": state["norm.bias"] + 1}, uni / "model.safetensors")
    with pytest.raises(AcinusError, match=r"model.safetensors: not the weights that .* put those back"):
        load_encoder(spec, tmp_path, tmp_path)
    with pytest.raises(AcinusError, match=r"embed.weights_sha256: .*model.safetensors has .* these are other weights"):
        made(str(uni), tmp_path, arguments=UNI_OWN, weights_sha256=spec.weights_sha256)
    shutil.rmtree(uni)
    with pytest.raises(AcinusError, match=r"model.safetensors: not found; these are the weights of the encoder"):
        load_encoder(spec, tmp_path, tmp_path)


def test_pickled_weights_are_read_as_tensors_only(uni: Path, tmp_path: Path) -> None:
    state = load_file(uni / "model.safetensors")
    expected = made(str(uni), tmp_path, arguments=UNI_OWN, pooling="cls")
    torch.save({"state_dict": {key: value.half() for key, value in state.items()}}, uni / "pytorch_model.bin")
    (uni / "model.safetensors").unlink()
    spec = made(str(uni), tmp_path, arguments=UNI_OWN, pooling="cls")
    assert spec.place is not None
    assert spec.place.file.endswith("uni/pytorch_model.bin")
    assert spec.identity() != expected.identity()
    assert features(spec, tmp_path, pixels(2, 32)).dtype == np.float32
    torch.save({"net": torch.nn.Linear(2, 2)}, uni / "pytorch_model.bin")
    assert "holds more than tensors" in misfit_of(uni, tmp_path, arguments=UNI_OWN)
    (uni / "pytorch_model.bin").write_bytes(b"no weights")
    assert "pytorch_model.bin" in misfit_of(uni, tmp_path, arguments=UNI_OWN)
    torch.save({"epoch": 3, **state}, uni / "pytorch_model.bin")
    assert "1 of its" in misfit_of(uni, tmp_path, arguments=UNI_OWN)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"architecture": "resnet51"}, "resnet51"),
        ({"architecture": 3}, "without timm's key architecture"),
        ({"architecture": None, "model_type": "vit"}, "in the format of transformers"),
        ({"model_args": {"pretrained": True}}, "model_args.pretrained: no argument that is passed on to timm"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "model_args.checkpoint_path: no argument"),
        ({"model_args": {"embed_dim": 10**9}}, "embed_dim = 1000000000: give an integer from 1 to 16384"),
        ({"model_args": {"depth": True}}, "depth = True: give an integer"),
        ({"model_args": {"mlp_layer": "os.system"}}, "mlp_layer = 'os.system': give one of 'Mlp'"),
        ({"model_args": {"init_values": 1e400}}, "init_values = inf: give a number"),
        ({"model_args": [1]}, "model_args is no object"),
        ({"pretrained_cfg": {"mean": [0.5, 0.5, float("nan")]}}, "mean = .* three numbers of RGB"),
        ({"pretrained_cfg": {"std": [0.5, 0.5, 0.0]}}, "std = .* three numbers of RGB"),
        ({"pretrained_cfg": {"input_size": [3, 224, 100000]}}, "input_size"),
    ],
)
def test_a_config_is_outside_text(uni: Path, tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    config = json.loads((uni / "config.json").read_text())
    (uni / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(AcinusError, match=text):
        made(str(uni), tmp_path, arguments=UNI_OWN)


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"architecture": "' + b"a" * (1 << 20)]
)
def test_a_config_that_is_none_is_named(uni: Path, tmp_path: Path, content: bytes) -> None:
    (uni / "config.json").write_bytes(content)
    assert "config.json: " in misfit_of(uni, tmp_path, arguments=UNI_OWN)


def test_a_large_network_in_the_config_is_never_built(uni: Path, tmp_path: Path) -> None:
    """16384 wide and 200 deep: 2.6 TB of weights, which the file's shapes refuse before."""
    config = json.loads((uni / "config.json").read_text())
    config["model_args"] |= {"embed_dim": 16384, "depth": 20, "num_heads": 64}
    (uni / "config.json").write_text(json.dumps(config))
    assert "they are 24 wide" in misfit_of(uni, tmp_path, arguments=UNI_OWN)


def test_arguments_with_timms_own_weights_are_copied_beside(tmp_path: Path) -> None:
    spec = made("test_vit", tmp_path, "none", arguments={"img_size": 64, "reg_tokens": 2}, pooling="cls+mean")
    assert spec.width == 128
    assert spec.px == 64
    assert (tmp_path / "encoder.safetensors").is_file()
    reference: Any = timm().create_model("test_vit", num_classes=0, img_size=64, reg_tokens=2).eval()
    reference.load_state_dict(load_file(tmp_path / "encoder.safetensors"))
    with torch.inference_mode():
        tokens = reference.forward_features(as_input(pixels(2, 64), spec.mean, spec.std))
        expected = torch.cat([tokens[:, 0], tokens[:, 3:].mean(1)], dim=1)
    assert np.abs(features(spec, tmp_path, pixels(2, 64)) - expected.numpy()).max() < 1e-5


def test_a_network_without_tokens_has_none_to_pool(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match=r"embed.pooling = 'cls': the network has no tokens; leave it out"):
        made("test_resnet", tmp_path, "none", pooling="cls")
    with pytest.raises(AcinusError, match="cannot be built with them"):
        made("test_resnet", tmp_path, "none", arguments={"reg_tokens": 2})


def test_another_width_than_noted_is_refused(uni: Path, tmp_path: Path) -> None:
    spec = made(str(uni), tmp_path, arguments=UNI_OWN, pooling="cls")
    changed = EncoderSpec.model_validate({**spec.model_dump(), "width": 25})
    with pytest.raises(AcinusError, match="gives 24 features per patch, 25 were noted"):
        features(changed, tmp_path, pixels(1, 32))


def test_weights_that_are_no_numbers_are_refused(uni: Path, tmp_path: Path) -> None:
    state = load_file(uni / "model.safetensors")
    save_file({**state, "norm.bias": state["norm.bias"] * float("nan")}, uni / "model.safetensors")
    assert "1 tensors hold NaN or infinity (norm.bias)" in misfit_of(uni, tmp_path, arguments=UNI_OWN)
    save_file({**state, "norm.bias": state["norm.bias"].to(torch.int8)}, uni / "model.safetensors")
    assert "norm.bias is torch.int8; only weights in floats" in misfit_of(uni, tmp_path, arguments=UNI_OWN)


def test_a_folder_with_the_name_of_its_network_is_the_same_encoder(uni: Path, tmp_path: Path) -> None:
    spec = made(NETWORK, tmp_path, f"{uni}/", arguments=UNI_OWN, pooling="cls")
    assert spec.identity() == made(str(uni), tmp_path, arguments=UNI_OWN, pooling="cls").identity()
    with pytest.raises(AcinusError, match=r"is a vit_small_patch16_224, the config.json of its weights says vit_tiny"):
        made("vit_small_patch16_224", tmp_path, f"{uni}/", arguments=UNI_OWN)


def test_a_relative_path_is_meant_from_the_project(uni: Path, tmp_path: Path) -> None:
    embed = Embed.model_validate({"arguments": UNI_OWN, "pooling": "cls"})
    spec = make_encoder("./uni", "imagenet", 32, tmp_path, 0, embed, tmp_path)
    assert spec.place is not None
    assert spec.place.file == "uni/model.safetensors"
    assert load_encoder(spec, tmp_path, tmp_path, tmp_path).training is False
