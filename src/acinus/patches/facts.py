"""Which way patches took into their store, and what it cost them: per shard, and over all of them."""

import math
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
    """Counts the facts of a shard while its patches are made."""

    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    sampled: int = 0
    losses_db: list[float] = field(default_factory=list)

    def add(self, name: str, count: int = 1) -> None:
        """Add to one of COUNTS."""
        self.counts[name] = self.counts.get(name, 0) + count

    def add_through_openslide(self, reason: str, count: int) -> None:
        """Add patches that OpenSlide read, and why."""
        if count:
            self.reasons[reason] = self.reasons.get(reason, 0) + count

    def add_loss(self, psnr_db: float | None) -> None:
        """Add a sampled patch; None: it came back unchanged."""
        self.sampled += 1
        if psnr_db is not None:
            self.losses_db.append(psnr_db)

    def facts(self) -> ShardFacts:
        """Return what was counted so far."""
        losses = self.losses_db
        return ShardFacts(
            **(dict.fromkeys(COUNTS, 0) | self.counts),
            through_openslide=dict(sorted(self.reasons.items())),
            sampled=self.sampled,
            unchanged=self.sampled - len(losses),
            sum_db=math.fsum(losses),
            least_db=min(losses, default=None),
        )


def extraction(shards: Iterable[ShardFacts]) -> dict[str, Any]:
    """Return the content of extraction.json: the facts of all shards, given in the order of their names.

    Figures by the names that a report shows (see `figures`), and words: openslide_reasons (reason -> patches),
    second_jpeg_sample (of which patches second_jpeg_* are). Counts add up. second_jpeg_psnr_db, _min: mean and least
    over the sampled patches that encoding changed; null where there are none. How often tiles were decoded is not
    told: where memory runs out that depends on compute.memory_mib, on which no output does.
    """
    own = list(shards)
    reasons: dict[str, int] = {}
    for shard in own:
        for reason, count in shard.through_openslide.items():
            reasons[reason] = reasons.get(reason, 0) + count
    sampled, unchanged = sum(one.sampled for one in own), sum(one.unchanged for one in own)
    changed = sampled - unchanged
    return {
        **{f"patches_{way}": sum(getattr(one, way) for one in own) for way in WAYS},
        "patches_openslide": sum(reasons.values()),
        "openslide_reasons": reasons,
        "source_tiles": sum(one.source_tiles for one in own),
        "second_jpeg_sample": f"encoded patches of which the first byte of BLAKE2b(key) is a multiple of {SAMPLED}",
        "second_jpeg_sampled": sampled,
        "second_jpeg_unchanged": unchanged,
        "second_jpeg_psnr_db": math.fsum(one.sum_db for one in own) / changed if changed else None,
        "second_jpeg_psnr_db_min": min((one.least_db for one in own if one.least_db is not None), default=None),
    }


def figures(content: Mapping[str, Any]) -> dict[str, float | int | None]:
    """Return the figures among the content of extraction.json."""
    return {name: value for name, value in content.items() if value is None or isinstance(value, int | float)}
