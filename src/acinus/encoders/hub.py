"""Models on the Hugging Face hub: their files, whether this machine may have them, and what to do where it may not.

The hub's own library reads HF_TOKEN; here the token is neither read nor written, and its errors are told by kind.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acinus.encoders.source import CONFIG, WEIGHT_FILES
from acinus.errors import AcinusError

COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch(model: str, file: str) -> Path:
    """Return a file of the hub's model `org/name` or `org/name@revision`, downloaded where it is not here yet.

    Raises:
        FileNotFoundError: the model has no such file.
        AcinusError: no access, no such model, or no hub to be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    name, _, revision = model.partition("@")
    try:
        return Path(_asked(model, lambda: hf_hub_download(name, file, revision=revision or None)))
    except RemoteEntryNotFoundError as error:
        raise FileNotFoundError(f"{model}: no {file}") from error
    except LocalEntryNotFoundError as error:
        raise _offline(model, error) from error


def weights(model: str) -> Path:
    """Return the file of weights of a model, .safetensors where it has one. AcinusError: as `fetch`, or none."""
    failure = AcinusError(f"embed.encoder = 'hf-hub:{model}': the model has no {' and no '.join(WEIGHT_FILES)}")
    asked = True
    for file in WEIGHT_FILES:
        try:
            if asked or _is_here(model, file):
                return fetch(model, file)
        except FileNotFoundError:
            continue
        except AcinusError as error:  # no hub, or no access: then only what is here already counts
            failure, asked = error, False
    raise failure


def commit(path: Path) -> str | None:
    """Return the commit that a downloaded file is of, by its place in the hub's cache."""
    names = [name for name in path.parts if COMMIT.fullmatch(name)]
    return names[-1] if names else None


def is_cached(model: str) -> bool:
    """Return whether a model's config and weights are on this machine, so that no hub is asked."""
    return _is_here(model, CONFIG) and any(_is_here(model, file) for file in WEIGHT_FILES)


def _is_here(model: str, file: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    name, _, revision = model.partition("@")
    return isinstance(try_to_load_from_cache(name, file, revision=revision or None), str)


def check_access(model: str) -> None:
    """Refuse a model that is neither on this machine nor to be had with HF_TOKEN.

    Raises:
        AcinusError: access was not granted, there is no such model, or the hub cannot be reached.
    """
    from huggingface_hub import auth_check

    if not is_cached(model):
        _asked(model, lambda: auth_check(model.partition("@")[0]))


def _asked(model: str, ask: Callable[[], Any]) -> Any:
    """Return what the hub answers. AcinusError: it refuses, or cannot be reached."""
    from huggingface_hub import errors

    try:
        return ask()
    except errors.GatedRepoError as error:
        raise AcinusError(
            f"embed.encoder = 'hf-hub:{model}': access to it has not been granted to you; ask for it on the model's "
            "page on the hub, then set HF_TOKEN to a token of yours that may read it"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise AcinusError(
            f"embed.encoder = 'hf-hub:{model}': the hub knows no such model or revision, or hides it from who may not "
            "read it; correct the name, or set HF_TOKEN"
        ) from error
    except (errors.RemoteEntryNotFoundError, errors.LocalEntryNotFoundError):
        raise
    except (*errors.HfHubHTTPError.__bases__, ValueError) as error:  # its bases: errors of its HTTP library, OSError
        raise _offline(model, error) from error  # ValueError: a name that the hub refuses


def _offline(model: str, error: BaseException) -> AcinusError:
    name = model.partition("@")[0]
    return AcinusError(
        f"embed.encoder = 'hf-hub:{model}': the hub cannot be reached and the weights are not on this machine "
        f"({type(error).__name__}); where there is a network: hf download {name} --local-dir FOLDER; bring FOLDER here "
        "and set embed.encoder: FOLDER, or embed.weights: FOLDER beside a name of acinus encoders"
    )
