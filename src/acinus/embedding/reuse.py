"""Features kept under a content key: what was embedded once is taken over by every recipe and after every kill.

A key says all that the features depend on: the slide, the patch grid, the tissue, the encoder, how it runs, the code.
So an edit of one slide embeds that slide again, and a kill loses the slide in hand. The folder may be deleted at any
time.
"""

import contextlib
import hashlib
import json
import multiprocessing
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import openslide
import torch

from acinus.code import package
from acinus.embedding.feature_file import FORMAT, SUFFIX, About, check_features, write_features
from acinus.embedding.folder import Embedded, features_kept, link_or_copy
from acinus.embedding.slide_features import EmbedJob, embed
from acinus.encoders.spec import EncoderSpec
from acinus.errors import AcinusError
from acinus.files import sha256, try_lock
from acinus.learning.device import best_alone, pick

GRID = ("level", "mpp", "patch_px", "stride_px", "cell_px", "min_tissue_fraction")
"""The keys of section index that decide which patches a slide has; of its tissue the mask itself counts."""


WITHOUT_NUMBERS = re.compile(
    r"acinus\.(annotations|code|errors|labels|params|paths|plugin_code|plugins|records|scoring)(\..*)?"
    r"|acinus\.encoders\.(checks|hub|known|misfits|settings|source)"
)
"""Modules of which no number of a feature depends that is not in its key."""


@dataclass(frozen=True)
class KeptJob:
    """One slide to embed, or to take over; travels to a worker.

    fingerprint: of the slide's file. code: see `embedding_code`. shelf: the folder of what is kept, of this encoder.
    target: the recipe's file. devices: the GPUs to share slides between, none for the encoder's own device.
    """

    embed: EmbedJob
    fingerprint: str
    code: str
    shelf: Path
    target: Path
    dtype: Literal["float32", "float16"] = "float32"
    devices: tuple[str, ...] = ()


class Map(Protocol):
    """Spreads jobs over processes, as `Stage.map`."""

    def __call__(self, function: Callable[[Any], Any], jobs: Sequence[Any], alone: bool = False) -> Iterator[Any]:
        """Yield function(job) in the order of the jobs; alone: in this process."""


def embed_all(jobs: Sequence[KeptJob], spread: Map, say: Callable[[str], None]) -> list[Embedded]:
    """Embed slides or take them over, and say what became of each. One process serves a GPU, several serve several.

    Raises:
        SlideError: see `embed_or_take_over`; what was embedded until then is kept.
    """
    done: list[Embedded] = []
    alone = any(best_alone(job.embed.encoder.device) and not job.devices for job in jobs[:1])
    with swept({job.shelf for job in jobs}):
        for slide in spread(embed_or_take_over, jobs, alone=alone):
            done.append(slide)
            say(f"{slide} ({len(done)} of {len(jobs)})")
    return done


def embed_or_take_over(job: KeptJob) -> Embedded:
    """Put a slide's features under `job.target`: those kept under its key, all checks passed, or embedded now.

    Raises:
        SlideError: the slide cannot be read, or a feature is no finite number.
    """
    start, slide_id, key = time.perf_counter(), job.embed.slide.slide_id, key_of(job)
    kept, damaged = job.shelf / f"{key}{SUFFIX}", None
    if kept.is_file():
        try:
            count, width = check_features(kept, key)
            link_or_copy(kept, job.target)
            return Embedded(slide_id, count, width, time.perf_counter() - start, taken_over=True)
        except AcinusError as error:
            damaged = str(error)
    about = About(key, job.embed.encoder.spec.name, job.embed.encoder.spec.identity())
    made = embed(
        _on_own_device(job),
        lambda patches, features: (len(patches), write_features(kept, patches, features, about, job.dtype)),
    )
    count, width = made or (0, 0)
    if made is not None:
        link_or_copy(kept, job.target)
    return Embedded(slide_id, count, width, time.perf_counter() - start, damaged=damaged)


def key_of(job: KeptJob) -> str:
    """Return a digest of all that decides the features of a slide, bit for bit."""
    slide, encoder, index = job.embed.slide, job.embed.encoder, job.embed.index.model_dump(mode="json")
    where = pick(encoder.device).type
    facts: list[Any] = [
        *(FORMAT, job.code, slide.slide_id, job.fingerprint, slide.mpp, sha256(slide.tissue)),
        {name: index[name] for name in GRID},
        *(encoder.spec.name, encoder.spec.identity(), where, encoder.threads if where == "cpu" else None, job.dtype),
    ]
    if job.embed.choice is None:
        facts += [encoder.precision, encoder.batch_size]
    elif slide.map is not None:
        facts += [asdict(job.embed.choice), job.embed.bag_seed, sha256(slide.map)]
    return _digest(facts)


@cache
def embedding_code() -> str:
    """Return a digest of the code that makes features, and of its libraries."""
    return _digest([modules_of_features(), package().facts(__name__)["libraries"], openslide.__library_version__])


def modules_of_features() -> dict[str, str]:
    """Return the digest of each module that features may depend on: all that this one imports, but those that only say
    or read settings, which are in the key themselves: a new setting or a new encoder in the table embeds nothing anew.
    """
    modules = package().facts(__name__)["modules"]
    return {name: digest for name, digest in modules.items() if not WITHOUT_NUMBERS.fullmatch(name)}


def shelf_of(root: Path, spec: EncoderSpec) -> Path:
    """Return the folder of the project at `root` that keeps what an encoder made."""
    name = re.sub(r"[^\w.-]+", "_", spec.name)[-60:]
    return features_kept(root) / f"{name}-{_digest([spec.name, spec.identity()])[:8]}"


@contextlib.contextmanager
def swept(shelves: Iterable[Path]) -> Iterator[None]:
    """Remove from shelves what a kill left half-written there, unless another stage works there now."""
    with contextlib.ExitStack() as locks:
        for shelf in sorted(shelves):
            shelf.mkdir(parents=True, exist_ok=True)
            if (lock := try_lock(shelf / "lock")) is not None:
                locks.callback(lock.release)
                for left in shelf.glob(".*.part"):
                    shutil.rmtree(left, ignore_errors=True)
        yield


def gpus(device: str) -> tuple[str, ...]:
    """Return the GPUs that compute.device leaves to be shared between processes; none where there are not several."""
    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return tuple(f"cuda:{number}" for number in range(count)) if count > 1 else ()


def _on_own_device(job: KeptJob) -> EmbedJob:
    if not job.devices:
        return job.embed
    encoder = replace(job.embed.encoder, device=job.devices[_process_number() % len(job.devices)])
    return replace(job.embed, encoder=encoder)


@cache
def _process_number() -> int:
    """Return which of the processes that work side by side this is; Python counts them in their names."""
    number = multiprocessing.current_process().name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _digest(facts: Any) -> str:
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
