"""Everything that is measured: groups of cases that run in turn, so that a ratio compares runs of the same minutes."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Case

NAMES = (
    "extract",
    "whole tiles",
    "processes",
    "windows",
    "reads",
    "resnet",
    "tiny",
    "lite0",
    "vit",
    "memory",
    "index",
    "raster",
    "command line",
)
"""The groups of cases, in the order in which they run."""
RESNET, TINY = "resnet18", "mobilenetv3_small_050"
LITE0, VIT = "tf_efficientnet_lite0", "vit_small_patch16_224"


@dataclass(frozen=True)
class Scale:
    """How much work is measured; edges in px, the rest numbers of patches or of windows.

    reference: patches that the slow scripts are given. reads: patches of the store that is read from. names: how
    often the slide is extracted with one and with two processes. bare: windows of the bare ResNet-18; the tiny
    network gets ten times as many.
    """

    slide_px: int = 20_000
    large_px: int = 60_000
    network_px: int = 7_500
    raster_px: tuple[int, int] = (15_000, 16_000)
    reference: int = 400
    reads: int = 2_000
    names: int = 12
    bare: int = 256


@dataclass(frozen=True)
class Files:
    """What the cases read, as built at the start of a run."""

    slide: Path
    large: Path
    network: Path
    raster: Path
    mask: Path


@dataclass(frozen=True)
class Group:
    """Cases that are compared with each other. repeats: at most so many; memory hardly varies between runs."""

    name: str
    cases: tuple[Case, ...]
    repeats: int = 99


def groups(files: Files, scale: Scale) -> tuple[Group, ...]:
    """Return all groups, in the order in which they run."""
    return (
        _extract(files, scale),
        Group("whole tiles", (Case("whole tiles", "ours.extract", _grid(files.large, 512, codec="source")),)),
        _processes(files, scale),
        _windows(files, scale),
        _reads(files, scale),
        *_inference(files, scale),
        *_embedding(files, scale),
        _memory(files),
        Group("index", (Case("index of the large slide", "whole_slides.index", {"slide": files.large}),)),
        _raster(files),
        Group("command line", (Case("acinus --help", "checkout.start_up"), Case("dvc repro", "checkout.no_op"))),
    )


def _grid(slide: Path, edge_px: int, stride_px: int | None = None, **more: object) -> dict[str, object]:
    return {"slide": slide, "edge_px": edge_px, "stride_px": stride_px or edge_px, **more}


def _extract(files: Files, scale: Scale) -> Group:
    few, every = _grid(files.slide, 256, limit=scale.reference), _grid(files.slide, 256)
    return Group(
        "extract",
        (
            Case("script: PNG files", "references.png_files", few),
            Case("script: PNG in LMDB", "references.png_lmdb", few),
            Case("script: JPEG 4:2:0 in LMDB", "references.jpeg_lmdb", few),
            Case("script: JPEG 4:4:4 in LMDB", "references.jpeg_lmdb", {**few, "full_chroma": True}),
            Case("extract: jpeg", "ours.extract", {**every, "codec": "jpeg"}),
            Case("limit: decode once, encode once", "limits.decode_encode", every),
            Case("extract: source", "ours.extract", {**every, "codec": "source"}),
            Case("limit: lossless cut", "limits.lossless_cut", every),
            Case("limit: lossless cut, a tile at a time", "limits.lossless_cuts", every),
        ),
    )


def _processes(files: Files, scale: Scale) -> Group:
    several = {"slide": files.slide, "edge_px": 256, "names": scale.names}
    return Group(
        "processes",
        (
            Case("extract: 1 process", "ours.extract_several", {**several, "workers": 1}),
            Case("extract: 1 process on one core", "ours.extract_several", {**several, "workers": 1, "cores": 1}),
            Case("extract: 2 processes", "ours.extract_several", {**several, "workers": 2}),
        ),
    )


def _windows(files: Files, scale: Scale) -> Group:
    few, every = _grid(files.slide, 299, 128, limit=scale.reference), _grid(files.slide, 299, 128)
    return Group(
        "windows",
        (
            Case("script: 299-px windows, PNG in LMDB", "references.png_lmdb", few),
            Case("299-px windows: jpeg", "ours.extract", {**every, "codec": "jpeg"}),
            Case("299-px windows: pixels alone", "ours.windows", every),
        ),
    )


def _reads(files: Files, scale: Scale) -> Group:
    store = {"slide": files.slide, "edge_px": 256, "limit": scale.reads}
    batches = {**store, "batch": 64}
    return Group(
        "reads",
        (
            Case("limit: JPEG decode", "limits.decode", store),
            Case("read: jpeg", "ours.read_random", {**store, "codec": "jpeg"}),
            Case("read: raw", "ours.read_random", {**store, "codec": "raw"}),
            Case("read batches: jpeg", "ours.read_batches", {**batches, "codec": "jpeg"}),
            Case("read batches: raw", "ours.read_batches", {**batches, "codec": "raw"}),
        ),
    )


def _inference(files: Files, scale: Scale) -> tuple[Group, Group]:
    return (
        Group(
            "resnet",
            (
                Case("bare ResNet-18", "networks.bare", {"model": RESNET, "windows": scale.bare}),
                Case("infer: ResNet-18", "networks.infer", {"slide": files.network, "model": RESNET}),
            ),
        ),
        Group(
            "tiny",
            (
                Case("bare tiny network", "networks.bare", {"model": TINY, "windows": 10 * scale.bare}),
                Case("infer: tiny network", "networks.infer", {"slide": files.slide, "model": TINY}),
            ),
        ),
    )


def _embedding(files: Files, scale: Scale) -> tuple[Group, Group]:
    of_lite0, of_vit = {"slide": files.network, "model": LITE0}, {"slide": files.network, "model": VIT}
    return (
        Group(
            "lite0",
            (
                Case("bare EfficientNet-Lite0", "embed.bare", {"model": LITE0, "patches": scale.bare}),
                Case("embed: EfficientNet-Lite0", "embed.features", of_lite0),
                Case("embed: a second recipe", "embed.taken_over", of_lite0),
            ),
        ),
        Group(
            "vit",
            (
                Case("bare ViT-S", "embed.bare", {"model": VIT, "patches": scale.bare}),
                Case("embed: ViT-S", "embed.features", of_vit),
            ),
        ),
    )


def _memory(files: Files) -> Group:
    jpeg = {"codec": "jpeg"}
    sizes = (("small", files.slide), ("large", files.large))
    cases = [
        case
        for name, slide in sizes
        for case in (
            Case(f"memory: extract, {name} slide", "ours.extract", {**_grid(slide, 256), **jpeg}),
            Case(f"memory: infer, {name} slide", "networks.infer", {"slide": slide, "model": TINY}),
            Case(f"memory: quantify, {name} slide", "whole_slides.quantify", {"slide": slide}),
            Case(f"memory: embed, {name} slide", "embed.features", {"slide": slide, "model": TINY}),
        )
    ]
    return Group("memory", tuple(cases), repeats=1)


def _raster(files: Files) -> Group:
    png = {"png": files.raster, "edge_px": 512}
    return Group(
        "raster",
        (
            Case("script: PNG load + copy", "references.patchify", png),
            Case("giant PNG to patches", "ours.raster", png),
            Case("giant colour mask to class mask", "ours.class_mask", {"png": files.mask}),
        ),
    )
