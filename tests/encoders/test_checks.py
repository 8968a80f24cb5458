"""What a section `embed` cannot mean, said before any work."""

from pathlib import Path
from typing import Any

import pytest

from acinus.encoders.checks import check, resolution_fault
from acinus.errors import AcinusError
from acinus.params import Embed, Index

NC = {"licence": "CC-BY-NC-ND-4.0"}


def checked(root: Path = Path(), patch_px: int = 224, mpp: float | None = 0.5, **embed: Any) -> str | None:
    """Return the kind of source, as check finds it."""
    resolution = {"level": 0} if mpp is None else {"mpp": mpp}
    index = Index.model_validate({"patch_px": patch_px, "stride_px": patch_px, **resolution})
    found = check(Embed.model_validate(embed), index, root)
    return None if found is None else found.kind


def test_what_goes_together_is_taken() -> None:
    assert checked() is None
    assert checked(encoder="UNI", **NC) == "hub"
    assert checked(encoder="hf-hub:MahmoodLab/UNI2-h", **NC) == "hub"
    assert checked(encoder="H-optimus-0") == "hub"
    assert checked(encoder="Virchow2", mpp=1.0, **NC) == "hub"
    assert checked(encoder="UNI", patch_px=112, mpp=1.0, **NC, arguments={"img_size": 224}) == "hub"
    assert checked(encoder="UNI", patch_px=256, mpp=None, **NC) == "hub"  # a level: a slide says
    assert checked(encoder="resnet18", patch_px=512, mpp=4.0) == "timm"
    assert checked(encoder="tf_efficientnet_lite0", weights="package") == "timm"


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"encoder": "UNI"}, "embed.licence missing: UNI may be used under CC-BY-NC-ND-4.0 only"),
        ({"encoder": "UNI", "licence": "MIT"}, "embed.licence = 'MIT': UNI may be used"),
        ({"encoder": "hf-hub:mahmoodlab/uni"}, "embed.licence missing"),
        ({"encoder": "Virchow", "licence": "MIT"}, "that of Virchow is Apache-2.0"),
        ({"encoder": "Kaiko-S16"}, "set embed.licence: Kaiko non-commercial"),
        (
            {"encoder": "UNI", "patch_px": 256, **NC},
            "index.patch_px = 256 at 0.5 um/px, scaled to 224 px, gives UNI 0.571 um/px; it is meant for 0.5: "
            "set index.patch_px: 224, or embed.mpp: 0.571 if you mean it",
        ),
        ({"encoder": "UNI", "mpp": 0.25, **NC}, "gives UNI 0.25 um/px; it is meant for 0.5: set index.patch_px: 448"),
        ({"encoder": "H-optimus-0", "input_px": 256, "patch_px": 256}, "embed.input_px = 256: H-optimus-0 takes 224"),
        ({"encoder": "UNI", "arguments": {"num_heads": 8}, **NC}, "UNI is built with timm's default, another network"),
        ({"encoder": "UNI2-h", "arguments": {"depth": 12}, **NC}, "UNI2-h is built with 24, another network"),
        ({"encoder": "Phikon", "licence": "x"}, "in the format of transformers, which is not read; a copy in timm's"),
        ({"encoder": "MahmoodLab/UNI"}, "write hf-hub:MahmoodLab/UNI for a model of the hub"),
        ({"encoder": "hf-hub:a/b/c"}, "a model of the hub is hf-hub:org/name"),
        ({"encoder": "resnet18", "weights": "x.safetensors"}, "embed.weights = 'x.safetensors': no such file"),
        ({"encoder": "resnet18", "weights": "imagenett"}, "embed.weights = 'imagenett': unknown; use none"),
        ({"encoder": "hf-hub:a/b", "weights": "here.bin"}, "embed.weights = 'here.bin': no such file"),
        ({"encoder": "UNI", "weights": "none", **NC}, "UNI comes with weights of its own"),
        ({"encoder": "resnet18", "arguments": {"pretrained": True}}, "embed.arguments.pretrained: no argument"),
        ({"encoder": "vit_tiny_patch16_224", "arguments": {"mlp_layer": "SwiGLUPacked"}}, "gate with GELU"),
        ({"encoder": "model", "pooling": "cls"}, "embed.pooling = 'cls': the trained network's own encoder"),
    ],
)
def test_what_does_not_is_one_line_that_says_what_to_change(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(AcinusError) as caught:
        checked(**keys)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_resolution_is_taken_where_the_recipe_says_it() -> None:
    """256-px patches at 0.5 um/px, as TRIDENT cuts them, are 256 / 224 * 0.5 um per px of UNI's input."""
    index = Index.model_validate({"patch_px": 256, "stride_px": 256, "mpp": 0.5})
    assert check(Embed.model_validate({"encoder": "UNI", "mpp": 0.571, **NC}), index, Path()) is not None


def test_resolutions_agree_within_a_twentieth() -> None:
    assert resolution_fault(224, 0.5, 224, (), "x") is None
    assert resolution_fault(224, 0.52, 224, (0.5,), "x") is None
    assert resolution_fault(224, 0.53, 224, (0.5,), "x") is not None
    assert resolution_fault(448, 0.25, 224, (0.5, 1.0), "x") is None
    assert resolution_fault(448, 0.5, 224, (0.5, 1.0), "x") is None
