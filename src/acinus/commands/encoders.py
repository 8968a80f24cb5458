"""`acinus encoders`: the encoders known by name, what they take, and what they may be used for."""

import textwrap

from acinus.encoders.known import HUB, KNOWN, KnownEncoder, find
from acinus.errors import AcinusError

HEADING = f"{'encoder':<21}{'px':>4} {'um/px':<16} {'features':>8} {'licence':<22}access"
LAST = """\
?: not confirmed by a second source. `acinus encoders NAME` says how to use one.
Networks of timm, hf-hub:org/name and folders in the hub's layout are taken too."""


def run(name: str | None) -> str:
    """Return the table, or what is known of one encoder. AcinusError: a name that is not in it."""
    if name is None:
        return "\n".join([HEADING, *map(_row, KNOWN.values()), "", LAST])
    known = find(name)
    if known is None:
        raise AcinusError(f"{name}: not known by name; known: {', '.join(KNOWN)}")
    return _details(known)


def _row(known: KnownEncoder) -> str:
    return (
        f"{known.name:<21}{known.px:>4} {_mpp(known):<16} {known.width:>8} {known.licence:<22}{_access(known)}"
    ).rstrip()


def _mpp(known: KnownEncoder) -> str:
    doubt = "?" if "mpp" in known.unsure else ""
    return ", ".join(f"{each:g}" for each in sorted(known.mpp)) + doubt or "any"


def _access(known: KnownEncoder) -> str:
    if known.needs is not None:
        return "no"
    return "gated" if known.gated else "open"


def _details(known: KnownEncoder) -> str:
    """Return the facts of an encoder and the section of a recipe that uses it."""
    weights = f"{HUB}{known.hub}" if known.hub else "timm's or the package's"
    access = " (ask for access on the model's page, then set HF_TOKEN)" if known.gated else ""
    arguments = ", ".join(f"{key}: {value}" for key, value in known.arguments.items()) or "timm's own"
    lines = [
        f"{known.name}: {known.width} features of {known.px} px at {_mpp(known)} um/px",
        f"  weights    {weights}{access}",
        f"  licence    {known.licence}{' (no commercial use)' if known.non_commercial else ''}",
        f"  network    {known.architecture}",
        f"  arguments  {arguments}",
        f"  pooling    {known.pooling or 'its own'}",
        f"  mean, std  {', '.join(map(str, known.mean))} / {', '.join(map(str, known.std))}",
    ]
    if known.note:
        lines.append(f"  note       {known.note}")
    lines = [textwrap.fill(line, 80, subsequent_indent=" " * 13, break_on_hyphens=False) for line in lines]
    if known.needs is not None:
        return "\n".join([*lines, f"Not read: its weights are in the format of {known.needs}."])
    section = ["In a recipe:", "embed:", f"  encoder: {known.name}"]
    section += [f"  licence: {known.licence}"] if known.non_commercial else []
    section += ["  weights: package"] if known.architecture == "tf_efficientnet_lite0" else []
    return "\n".join([*lines, *section])
