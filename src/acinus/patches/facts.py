"""Which way patches took into their store, and what it cost them: per shard, and over all of them."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

WAYS = ("tile", "cut", "encoded", "stored")
"""The ways of a patch into its store, see ShardFacts."""

COUNTS = (*WAYS, "source_tiles", "decodes")
"""What a tally counts one by one."""

SAMPLED = 32
"""One encoded patch in so many, chosen by its key, is decoded again to see what encoding cost it."""


@dataclass(frozen=True)
class ShardFacts:
    """How the patches of one shard were made.

    Patches by way: tile (a source tile's bytes), cut (a part of one, without loss), encoded (decoded, then encoded
    as JPEG), stored (decoded, then kept exactly). source_tiles: distinct JPEG tiles of the slides that they lie on;
    decodes: of those; more than tiles only where memory ran out. through_openslide: patches by reason. Of the
    sampled encoded patches: how many, how many came back unchanged, and of the others sum and least of the PSNR, dB.
    """

    tile: int
    cut: int
    encoded: int
    stored: int
    source_tiles: int
    decodes: int
    through_openslide: dict[str, int]
    sampled: int
    unchanged: int
    sum_db: float
    least_db: float | None


@dataclass
class Tally:
    """Counts the facts of a shard while its patches are made.

    counts: by COUNTS. through_openslide: patches that OpenSlide read, by reason. losses_db: PSNR of every sampled
    patch; None: it came back unchanged.
    """

    counts: Counter[str] = field(default_factory=Counter)
    through_openslide: Counter[str] = field(default_factory=Counter)
    losses_db: list[float | None] = field(default_factory=list)

    def facts(self) -> ShardFacts:
        """Return what was counted so far."""
        losses = [loss for loss in self.losses_db if loss is not None]
        return ShardFacts(
            **{name: self.counts[name] for name in COUNTS},
            through_openslide={reason: count for reason, count in sorted(self.through_openslide.items()) if count},
            sampled=len(self.losses_db),
            unchanged=len(self.losses_db) - len(losses),
            sum_db=math.fsum(losses),
            least_db=min(losses, default=None),
        )


def extraction(shards: Iterable[ShardFacts]) -> dict[str, Any]:
    """Return the content of extraction.json: the facts of all shards, given in the order of their names.

    Metrics by the names that a report shows (see `extraction_metrics`), and words: openslide_reasons (reason ->
    patches), second_jpeg_sample (of which patches second_jpeg_* are). Counts add up. second_jpeg_psnr_db, _min: mean
    and least over the sampled patches that encoding changed; null where there are none. How often tiles were decoded
    is not told: where memory runs out that depends on compute.memory_mib, on which no output does.
    """
    every = list(shards)
    reasons: Counter[str] = Counter()
    for facts in every:
        reasons.update(facts.through_openslide)
    sampled, unchanged = sum(facts.sampled for facts in every), sum(facts.unchanged for facts in every)
    changed = sampled - unchanged
    return {
        **{f"patches_{way}": sum(getattr(facts, way) for facts in every) for way in WAYS},
        "patches_openslide": reasons.total(),
        "openslide_reasons": dict(reasons),
        "source_tiles": sum(facts.source_tiles for facts in every),
        "second_jpeg_sample": f"encoded patches of which the first byte of BLAKE2b(key) is a multiple of {SAMPLED}",
        "second_jpeg_sampled": sampled,
        "second_jpeg_unchanged": unchanged,
        "second_jpeg_psnr_db": math.fsum(facts.sum_db for facts in every) / changed if changed else None,
        "second_jpeg_psnr_db_min": min((facts.least_db for facts in every if facts.least_db is not None), default=None),
    }


def extraction_metrics(content: Mapping[str, Any]) -> dict[str, float | int | None]:
    """Return the metrics among the content of extraction.json."""
    return {name: value for name, value in content.items() if value is None or isinstance(value, int | float)}
