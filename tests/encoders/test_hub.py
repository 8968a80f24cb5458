"""The hub: a model in its cache needs no network; refusals say what to do, and never the token."""

import shutil
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, errors
from safetensors.torch import load_file

from acinus.encoders import hub
from acinus.encoders.loading import load_encoder, make_encoder, patch_features
from acinus.errors import AcinusError
from acinus.params import Embed
from tests.encoders.hub_folder import UNI, UNI_OWN, drawn, pixels, write

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_secret"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub's library, with no network behind it."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return folder


def cached(cache: Path, org: str, name: str) -> Path:
    """Put a small network where the library keeps downloads of org/name and return the folder of its files."""
    model = cache / f"models--{org}--{name}"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    return write(model / "snapshots" / COMMIT, drawn(**UNI, **UNI_OWN), UNI, 32)


def test_a_model_in_the_cache_needs_no_network(cache: Path, tmp_path: Path) -> None:
    folder = cached(cache, "org", "name")
    embed = Embed(arguments=UNI_OWN, pooling="cls")
    hub.check_access("org/name")
    spec = make_encoder("hf-hub:org/name", "imagenet", 32, tmp_path, 0, embed)
    assert spec.place is not None
    assert (spec.place.hub, spec.place.revision, spec.place.file) == ("org/name", COMMIT, "model.safetensors")
    copy = shutil.copytree(folder, tmp_path / "copy")
    local = make_encoder(str(copy), "imagenet", 32, tmp_path, 0, embed)
    assert local.identity() == spec.identity()
    found = patch_features(load_encoder(spec, tmp_path, tmp_path), pixels(2, 32), spec, "cpu")
    assert (found == patch_features(load_encoder(local, tmp_path, tmp_path), pixels(2, 32), local, "cpu")).all()


def test_pickled_weights_in_the_cache_need_no_network_either(cache: Path, tmp_path: Path) -> None:
    folder = cached(cache, "org", "name")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    spec = make_encoder("hf-hub:org/name", "imagenet", 32, tmp_path, 0, Embed(arguments=UNI_OWN))
    assert spec.place is not None
    assert spec.place.file == "pytorch_model.bin"


def test_a_hub_that_is_down_says_what_to_do(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match="hf download org/name --local-dir FOLDER; bring FOLDER here") as caught:
        make_encoder("hf-hub:org/name", "imagenet", 32, tmp_path, 0)
    assert TOKEN not in str(caught.value)
    with pytest.raises(AcinusError, match=r"^embed.weights = 'imagenet': no pretrained weights for test_vit could be"):
        make_encoder("test_vit", "imagenet", 32, tmp_path, 0)
    with pytest.raises(AcinusError, match="hf download MahmoodLab/UNI --local-dir FOLDER"):
        hub.check_access("MahmoodLab/UNI")


class Response:
    """As much of an answer of the hub as its library's errors look at."""

    status_code = 403
    headers: ClassVar[dict[str, str]] = {}
    request: Any = None
    url = "hub"
    text = ""


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("GatedRepoError", "access to it has not been granted to you; ask for it on the model's page on the hub"),
        ("RepositoryNotFoundError", "the hub knows no such model or revision"),
        ("HfHubHTTPError", "the hub cannot be reached"),
    ],
)
def test_access_that_is_refused_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch, kind: str, text: str) -> None:
    def refuse(_model: str) -> None:
        raise getattr(errors, kind)(f"refused {TOKEN}", response=Response())

    monkeypatch.setattr(huggingface_hub, "auth_check", refuse)
    with pytest.raises(AcinusError, match=text) as caught:
        hub.check_access("MahmoodLab/UNI")
    assert TOKEN not in str(caught.value)
