"""Pathology encoders that are known by name: where they lie, how they are built, what they take and may be used for.

From the model cards, checked against TRIDENT's loaders and table of licences
(github.com/mahmoodlab/TRIDENT, trident/patch_encoder_models/load.py and README.md). What no second source confirmed
stands in `unsure`. No torch here: `preflight` and `acinus encoders` read this table too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from acinus.encoders.spec import Pooling, Rgb, Value

HUB = "hf-hub:"
"""What the name of a model on the Hugging Face hub begins with, as timm has it."""

IMAGENET: tuple[Rgb, Rgb] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF: tuple[Rgb, Rgb] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OPTIMUS: tuple[Rgb, Rgb] = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
LUNIT: tuple[Rgb, Rgb] = ((0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464))

BY_NC_ND = "CC-BY-NC-ND-4.0"
NON_COMMERCIAL = (BY_NC_ND, "Kaiko non-commercial", "Lunit non-commercial", "Owkin non-commercial")
"""Licences that a recipe has to acknowledge in `embed.licence`."""

ALL_MPP = (0.5, 0.25, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class KnownEncoder:
    """What is known of an encoder.

    hub: its name on the hub; None where timm or a package brings the weights. architecture: timm's name.
    mpp: um per px that it was trained at, the reference first; empty: any. width: features per patch.
    needs: a package without which its format cannot be read. note: what else a user should know.
    """

    name: str
    hub: str | None = None
    architecture: str
    arguments: Mapping[str, Value] = field(default_factory=dict)
    px: int = 224
    mpp: tuple[float, ...] = (0.5,)
    width: int
    pooling: Pooling | None = "cls"
    colours: tuple[Rgb, Rgb] = IMAGENET
    licence: str
    gated: bool = False
    needs: str | None = None
    note: str = ""
    unsure: tuple[str, ...] = ()

    @property
    def mean(self) -> Rgb:
        """Return the mean of RGB in [0, 1] that it was trained with."""
        return self.colours[0]

    @property
    def std(self) -> Rgb:
        """Return the standard deviation of RGB in [0, 1] that it was trained with."""
        return self.colours[1]

    @property
    def non_commercial(self) -> bool:
        """Return whether its licence forbids commercial use."""
        return self.licence in NON_COMMERCIAL


_VIRCHOW: dict[str, Value] = {
    "img_size": 224,
    "init_values": 1e-5,
    "mlp_ratio": 5.3375,
    "mlp_layer": "SwiGLUPacked",
    "act_layer": "SiLU",
    "dynamic_img_size": True,
}


def _kaiko(name: str, network: str, width: int, **arguments: Value) -> KnownEncoder:
    return KnownEncoder(
        name=name,
        hub=f"1aurent/{network}.kaiko_ai_towards_large_pathology_fms",
        architecture=network,
        arguments={"dynamic_img_size": True, **arguments},
        mpp=ALL_MPP,
        width=width,
        colours=HALF,
        licence="Kaiko non-commercial",
        unsure=("mpp",),
    )


def _lunit(name: str, network: str) -> KnownEncoder:
    return KnownEncoder(
        name=name,
        hub=f"1aurent/{network}.lunit_dino",
        architecture=network,
        arguments={"dynamic_img_size": True},
        width=384,
        colours=LUNIT,
        licence="Lunit non-commercial",
    )


_ENCODERS = (
    KnownEncoder(
        name="UNI",
        hub="MahmoodLab/UNI",
        architecture="vit_large_patch16_224",
        arguments={"img_size": 224, "init_values": 1e-5, "dynamic_img_size": True},
        width=1024,
        licence=BY_NC_ND,
        gated=True,
    ),
    KnownEncoder(
        name="UNI2-h",
        hub="MahmoodLab/UNI2-h",
        architecture="vit_giant_patch14_224",
        arguments={
            "img_size": 224,
            "patch_size": 14,
            "depth": 24,
            "num_heads": 24,
            "init_values": 1e-5,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "no_embed_class": True,
            "mlp_layer": "SwiGLUPacked",
            "act_layer": "SiLU",
            "reg_tokens": 8,
            "dynamic_img_size": True,
        },
        width=1536,
        licence=BY_NC_ND,
        gated=True,
    ),
    KnownEncoder(
        name="Virchow",
        hub="paige-ai/Virchow",
        architecture="vit_huge_patch14_224",
        arguments=_VIRCHOW,
        width=2560,
        pooling="cls+mean",
        licence="Apache-2.0",
        gated=True,
    ),
    KnownEncoder(
        name="Virchow2",
        hub="paige-ai/Virchow2",
        architecture="vit_huge_patch14_224",
        arguments={**_VIRCHOW, "reg_tokens": 4},
        mpp=ALL_MPP,
        width=2560,
        pooling="cls+mean",
        licence=BY_NC_ND,
        gated=True,
    ),
    KnownEncoder(
        name="Prov-GigaPath",
        hub="prov-gigapath/prov-gigapath",
        architecture="vit_giant_patch14_dinov2",
        arguments={
            "img_size": 224,
            "patch_size": 16,
            "embed_dim": 1536,
            "depth": 40,
            "num_heads": 24,
            "init_values": 1e-5,
            "mlp_ratio": 5.33334,
        },
        width=1536,
        licence="Apache-2.0",
        gated=True,
        note="its own transform crops the centre 224 px of a 256-px tile at 0.5 um/px; patches of 224 px are the same",
    ),
    KnownEncoder(
        name="H-optimus-0",
        hub="bioptimus/H-optimus-0",
        architecture="vit_giant_patch14_reg4_dinov2",
        arguments={"img_size": 224, "init_values": 1e-5, "dynamic_img_size": False},
        width=1536,
        colours=OPTIMUS,
        licence="Apache-2.0",
        gated=True,
    ),
    _kaiko("Kaiko-S16", "vit_small_patch16_224", 384),
    _kaiko("Kaiko-S8", "vit_small_patch8_224", 384),
    _kaiko("Kaiko-B16", "vit_base_patch16_224", 768),
    _kaiko("Kaiko-B8", "vit_base_patch8_224", 768),
    _kaiko("Kaiko-L14", "vit_large_patch14_reg4_dinov2", 1024, img_size=518),
    _lunit("Lunit-S16", "vit_small_patch16_224"),
    _lunit("Lunit-S8", "vit_small_patch8_224"),
    KnownEncoder(
        name="Phikon",
        hub="owkin/phikon",
        architecture="vit_base_patch16_224",
        width=768,
        licence="Owkin non-commercial",
        needs="transformers",
        note="a copy in timm's format: hf-hub:1aurent/vit_base_patch16_224.owkin_pancancer",
    ),
    KnownEncoder(
        name="Phikon-v2",
        hub="owkin/phikon-v2",
        architecture="vit_large_patch16_224",
        width=1024,
        licence="Owkin non-commercial",
        needs="transformers",
    ),
    KnownEncoder(
        name="resnet50.tv_in1k",
        architecture="resnet50.tv_in1k",
        mpp=(),
        width=2048,
        pooling=None,
        licence="BSD-3-Clause",
        note="ImageNet, not pathology: a baseline; weights: imagenet",
    ),
    KnownEncoder(
        name="tf_efficientnet_lite0",
        architecture="tf_efficientnet_lite0",
        mpp=(),
        width=1280,
        pooling=None,
        colours=HALF,
        licence="Apache-2.0",
        note="ImageNet, not pathology: small enough for a demonstration; weights: package",
    ),
)

KNOWN: dict[str, KnownEncoder] = {encoder.name: encoder for encoder in _ENCODERS}
"""Name -> encoder, in the order of `acinus encoders`."""


def find(name: str) -> KnownEncoder | None:
    """Return the encoder of that name here or on the hub (`hf-hub:org/name`, a revision after @ left out)."""
    if name.startswith(HUB):
        wanted = name.removeprefix(HUB).partition("@")[0].lower()
        return next((known for known in _ENCODERS if known.hub is not None and known.hub.lower() == wanted), None)
    return next((known for known in _ENCODERS if known.name.lower() == name.lower()), None)
