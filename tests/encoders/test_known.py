"""The table of encoders against what their authors publish."""

import pytest
import torch

from acinus.commands import encoders
from acinus.encoders.arguments import checked
from acinus.encoders.known import KNOWN, NON_COMMERCIAL, find
from acinus.encoders.networks import create
from acinus.encoders.source import SUFFIXES, source
from acinus.errors import AcinusError

PUBLISHED = {
    "UNI": (303.4, 197, 1024),
    "UNI2-h": (681.4, 256, 1536),
    "Virchow": (631.2, 257, 1280),
    "Virchow2": (631.2, 261, 1280),
    "Prov-GigaPath": (1134.9, 197, 1536),
    "H-optimus-0": (1134.8, 256, 1536),
}
"""Millions of weights, as the model cards and papers say, places of tokens and width: of its tensor pos_embed."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_are_as_large_as_published(name: str) -> None:
    known = KNOWN[name]
    with torch.device("meta"):
        net = create(known.architecture, checked(known.arguments, name))
    millions, places, wide = PUBLISHED[name]
    assert sum(weight.numel() for weight in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    assert tuple(net.pos_embed.shape) == (1, places, wide)  # type: ignore[union-attr,unused-ignore]
    assert known.width == wide * (2 if known.pooling == "cls+mean" else 1)


def test_an_encoder_is_found_by_its_name_here_and_on_the_hub() -> None:
    assert find("uni2-H") is KNOWN["UNI2-h"]
    assert find("hf-hub:mahmoodlab/uni") is KNOWN["UNI"]
    assert find("hf-hub:paige-ai/Virchow2@main") is KNOWN["Virchow2"]
    assert find("hf-hub:someone/UNI") is None
    assert find("resnet18") is None


def test_values_of_the_table_are_possible() -> None:
    for known in KNOWN.values():
        assert checked(known.arguments, known.name) == dict(known.arguments)
        assert all(0 < value < 1 for value in (*known.mean, *known.std))
        assert known.non_commercial == ("NC" in known.licence or "non-commercial" in known.licence)
        assert not known.name.endswith(SUFFIXES)
    assert {known.licence for known in KNOWN.values() if known.non_commercial} == set(NON_COMMERCIAL)


def test_what_comes_from_the_hub_is_asked_of_it_by_its_own_name() -> None:
    assert source("UNI2-h", "imagenet").hub == "MahmoodLab/UNI2-h"
    assert source("hf-hub:bioptimus/H-optimus-0@abc", "hub").hub == "bioptimus/H-optimus-0@abc"
    assert source("tf_efficientnet_lite0", "package").kind == "timm"


def test_the_table_fits_a_terminal_and_names_every_licence() -> None:
    lines = encoders.run(None).splitlines()
    assert max(map(len, lines)) <= 80
    for known in KNOWN.values():
        line = next(line for line in lines if line.split(" ")[0] == known.name)
        assert known.licence in line
        assert ("gated" in line) == known.gated
        assert max(map(len, encoders.run(known.name).splitlines())) <= 96  # a hub's name is not broken
    assert "licence: CC-BY-NC-ND-4.0" in encoders.run("UNI")
    assert "licence:" not in encoders.run("Virchow").split("In a recipe:")[1]
    assert "Not read" in encoders.run("Phikon-v2")
    with pytest.raises(AcinusError, match="NUI: not known by name; known: UNI, UNI2-h"):
        encoders.run("NUI")
