"""What a recipe's section `embed` cannot mean, found before any work: no torch, no network, no file of weights read."""

from pathlib import Path

from acinus.encoders.known import KnownEncoder, find
from acinus.encoders.settings import Defaults, Settings, settled
from acinus.encoders.source import CONFIG, Config, Source, located, read_config, source
from acinus.encoders.spec import IMPORTED, OWN
from acinus.errors import AcinusError
from acinus.params import Embed, Index

TOLERANCE = 0.05
"""Share by which the um per px that an encoder is given may differ from those that it was trained at."""
OF_OTHERS = ("weights_sha256", "arguments", "pooling", "mean", "std", "input_px", "mpp", "licence")
"""Settings that mean nothing for the trained network's own encoder."""
ANY = Defaults((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), None)


def check(embed: Embed, index: Index, root: Path) -> Source | None:
    """Refuse a section `embed` that cannot be used with this `index`; None: no encoder but the trained network's own.

    Raises:
        AcinusError: an encoder that is not known or not there, arguments that it does not take, another resolution than
            it was trained at, or a licence that is not acknowledged.
    """
    if embed.encoder == OWN:
        _check_own(embed)
        return None
    made_elsewhere = embed.weights == IMPORTED
    origin = Source("timm", known=find(embed.encoder)) if made_elsewhere else source(embed.encoder, embed.weights, root)
    for fault in (licence_fault(embed, origin.known), *_faults_of_size(embed, index, origin, root)):
        if fault is not None:
            raise AcinusError(fault)
    return None if made_elsewhere else origin


def licence_fault(embed: Embed, known: KnownEncoder | None) -> str | None:
    """Return why the recipe does not acknowledge the licence of its encoder."""
    if known is None or embed.licence == known.licence or (embed.licence is None and not known.non_commercial):
        return None
    if not known.non_commercial:
        return f"embed.licence = {embed.licence!r}: that of {known.name} is {known.licence}; write it, or leave it out"
    said = "missing" if embed.licence is None else f"= {embed.licence!r}"
    return (
        f"embed.licence {said}: {known.name} may be used under {known.licence} only, which forbids commercial use; "
        f"read it on the model's page and set embed.licence: {known.licence} to say that you keep to it"
    )


def resolution_fault(patch_px: int, mpp: float, px: int, wanted: tuple[float, ...], name: str) -> str | None:
    """Return why patches of `patch_px` at `mpp` um per px, scaled to `px`, are not as `wanted`: any of these um per px.

    Nothing wanted: any will do.
    """
    given = mpp * patch_px / px
    if not wanted or any(abs(given / each - 1.0) <= TOLERANCE for each in wanted):
        return None
    edge = round(wanted[0] * px / mpp)
    return (
        f"index.patch_px = {patch_px} at {mpp:g} um/px, scaled to {px} px, gives {name} {given:.3g} um/px; it is meant "
        f"for {' or '.join(f'{each:g}' for each in wanted)}: set index.patch_px: {edge}, or embed.mpp: {given:.3g} if "
        "you mean it"
    )


def _check_own(embed: Embed) -> None:
    set_ = [key for key in OF_OTHERS if getattr(embed, key) != Embed.model_fields[key].default]
    if set_:
        raise AcinusError(
            f"embed.{set_[0]} = {getattr(embed, set_[0])!r}: the trained network's own encoder (embed.encoder: model) "
            "is as it was trained; leave it out, or name another encoder"
        )


def _faults_of_size(embed: Embed, index: Index, origin: Source, root: Path) -> tuple[str | None, ...]:
    settings, known = _settings(embed, index, origin, root), origin.known
    size = settings.arguments.get("img_size")
    if size is not None and settings.px != size and not settings.arguments.get("dynamic_img_size"):
        return (
            f"embed.input_px = {settings.px}: {embed.encoder} takes {size} px only; leave it out, or set "
            "embed.arguments.dynamic_img_size: true",
        )
    if index.mpp is None:  # only a slide says how many um a px of a level has
        return ()
    wanted = (embed.mpp,) if embed.mpp else known.mpp if known else ()
    return (resolution_fault(index.patch_px, index.mpp, settings.px, wanted, embed.encoder),)


def _settings(embed: Embed, index: Index, origin: Source, root: Path) -> Settings:
    """Return the encoder's settings as far as the recipe, the table and a folder's config.json tell them."""
    folder = located(origin.path, root) if origin.kind == "folder" and origin.path else None
    if folder is not None and (origin.architecture is None or (folder / CONFIG).exists()):
        config = read_config(folder / CONFIG)
    else:
        config = Config(origin.architecture or "")
    return settled(config, origin.known, embed, index.patch_px, ANY)
