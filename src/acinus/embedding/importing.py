"""Features that other programs made, checked against slides and recipe and kept in our own layout.

They become the features of a recipe that says so (embed.weights: imported). All or nothing: one file that does not fit
is refused with its reason, and nothing is imported.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus import params
from acinus.embedding.feature_file import About, Patches, write_features
from acinus.embedding.folder import feature_path
from acinus.embedding.foreign_file import ForeignFeatures, foreign_features
from acinus.embedding.imported import WantedSlide, import_key, shown
from acinus.errors import AcinusError
from acinus.files import atomic_path
from acinus.slides.geometry import MPP_TOLERANCE, resolve
from acinus.slides.open import open_slide

NOMINAL = 0.2
"""TRIDENT and CLAM go by magnifications, which are nominal: 20x is 0.4 to 0.6 um/px. So far may patches be off."""
PICKLED = (".pt", ".pth", ".pkl")


@dataclass(frozen=True)
class Imported:
    """One slide's features, as they were taken over. twice: patches of which only the first was kept. mpp: um per px of
    the patches as the file has them, None where the slide's is unknown."""

    slide_id: str
    tool: str
    num_patches: int
    width: int
    twice: int
    mpp: float | None


def import_features(
    source: Path,
    slides: Sequence[WantedSlide],
    index: params.Index,
    encoder: tuple[str, int | None],
    target: Path,
    say: Callable[[str], None],
) -> list[Imported]:
    """Write the features of every slide that has a file in the folder `source` to `target`, all or nothing.

    encoder: name and width of the encoder that made them, the width None where it is not known. What is not used
    (files, slides without a file) is named by `say`.

    Raises:
        AcinusError: no file of any slide; two of one slide; files that do not fit, all of them named.
    """
    files = _matched(source, slides, say)
    done, faults = list[Imported](), list[str]()
    with atomic_path(target) as folder:
        folder.mkdir()
        for slide in slides:
            if slide.slide_id not in files:
                continue
            path = feature_path(folder, slide.slide_id)
            try:
                done.append(import_one(files[slide.slide_id], slide, index, encoder[0], path))
            except AcinusError as error:
                faults.append(str(error))
                continue
            width, first = done[-1].width, encoder[1] or done[0].width
            if width != first:
                whose = f"{encoder[0]} gives" if encoder[1] else f"slide {done[0].slide_id} has"
                faults.append(f"{files[slide.slide_id]}: features of {width} numbers, {whose} {first}")
            elif done[-1].twice:
                say(f"{slide.slide_id}: {done[-1].twice} patches twice in the file, the first of each kept")
        if faults:
            more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
            raise AcinusError(f"{len(faults)} of {len(files)} files refused: {'; '.join(faults[:3])}{more}")
    off = [slide.mpp for slide in done if slide.mpp and index.mpp and abs(slide.mpp / index.mpp - 1) > MPP_TOLERANCE]
    if off:
        say(f"{len(off)} slides have patches of {min(off):.3g} to {max(off):.3g} um/px, index.mpp = {index.mpp:g}")
    return done


def import_one(path: Path, slide: WantedSlide, index: params.Index, encoder: str, target: Path) -> Imported:
    """Write one slide's features from another program's file.

    Raises:
        AcinusError: the file is damaged, its patches are of another size than the recipe's or lie outside the slide, or
            a feature is no finite number.
    """
    with open_slide(slide.image, slide.slide_id) as pixels, foreign_features(path) as found:
        at = resolve(pixels.level_downsamples, slide.mpp, level=index.level, mpp=index.mpp)
        scale = 1.0
        if found.in_um:  # of the slide's own tag, which STAMP goes by
            scale = 1.0 / _mpp(pixels.tag_mpp[0] if pixels.tag_mpp else slide.mpp, slide, path)
        corners = np.floor(found.coords * scale + 0.5).astype(np.int64)
        if not ((corners >= 0) & (corners < (pixels.width, pixels.height))).all():
            raise AcinusError(
                f"{path}: patches up to ({corners[:, 0].max()}, {corners[:, 1].max()}) level-0 px, slide "
                f"{slide.slide_id} has {pixels.width} x {pixels.height}; these are features of another slide"
            )
        downsample = _downsample(found, scale, corners, index, at.downsample, path)
        features = found.features[()]
        if not (finite := np.isfinite(features).all(axis=1)).all():
            raise AcinusError(
                f"{path}: the features of patch {int(finite.argmin())} are no finite numbers; make it anew"
            )
        order = np.lexsort((corners[:, 0], corners[:, 1]))
        new = np.ones(len(order), dtype=bool)
        new[1:] = (np.diff(corners[order], axis=0) != 0).any(axis=1)
        kept = order[new]
        patches = Patches(
            slide_id=slide.slide_id,
            width=pixels.width,
            height=pixels.height,
            mpp=slide.mpp,
            x0=corners[kept, 0],
            y0=corners[kept, 1],
            downsample=downsample,
            patch_px=index.patch_px,
            stride_px=index.stride_px,
        )
        dtype = "float16" if features.dtype == np.float16 else "float32"
        about = About(import_key(slide, index), encoder, tool=found.tool)
        width = write_features(target, patches, iter([features[kept]]), about, dtype)
    mpp = None if slide.mpp is None else slide.mpp * downsample
    return Imported(slide.slide_id, found.tool, len(kept), width, len(order) - len(kept), mpp)


def _matched(source: Path, slides: Sequence[WantedSlide], say: Callable[[str], None]) -> Mapping[str, Path]:
    """Return slide_id -> its file, and name what is left."""
    if not source.is_dir():
        raise AcinusError(f"{source}: no such folder; give the folder of the feature files")
    names = {name: slide.slide_id for slide in slides for name in slide.names}
    found: dict[str, list[Path]] = defaultdict(list)
    unused, pickled = list[str](), 0
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        if path.suffix in (".h5", ".hdf5") and path.stem in names:
            found[names[path.stem]].append(path)
        elif path.suffix in PICKLED:
            pickled += 1
        else:
            unused.append(path.relative_to(source).as_posix())
    if pickled:
        say(f"not used: {pickled} pickled files ({', '.join(PICKLED)}); the .h5 files beside them hold the same")
    if unused:
        say(f"not used: {len(unused)} files that are features of no slide: {shown(unused)}")
    if not found:
        raise AcinusError(f"{source}: no <slide>.h5 of any of {len(slides)} slides; give the folder of one encoder")
    if twice := [paths for paths in found.values() if len(paths) > 1]:
        raise AcinusError(f"{twice[0][0]} and {twice[0][1]}: two files of one slide; give the folder of one encoder")
    if bare := [slide.slide_id for slide in slides if slide.slide_id not in found]:
        say(f"without features: {len(bare)} of {len(slides)} slides: {shown(bare)}")
    return {slide_id: paths[0] for slide_id, paths in found.items()}


def _mpp(mpp: float | None, slide: WantedSlide, path: Path) -> float:
    if mpp is None:
        raise AcinusError(f"{path}: coordinates in um, slide {slide.slide_id} has no um/px; set cohort.mpp")
    return mpp


def _downsample(
    found: ForeignFeatures, scale: float, corners: np.ndarray, index: params.Index, downsample: float, path: Path
) -> float:
    """Return level-0 px per patch px by what the file says, which is near `downsample`, the recipe's for this slide.

    Raises:
        AcinusError: patches of another size on the slide, or of another number of px, than the recipe's.
    """
    if found.patch_px not in (None, index.patch_px):
        raise AcinusError(
            f"{path}: patches of {found.patch_px} px ({found.tool}), the recipe has {index.patch_px}; mend "
            "index.patch_px, or extract anew"
        )
    if found.edge is not None:
        told, px, what = found.edge * scale, index.patch_px, "patches of"
    else:  # CLAM's files say no more than where the patches are
        told, px, what = _step(corners) or index.stride_px * downsample, index.stride_px, "a patch every"
    if not abs(told / (px * downsample) - 1) <= NOMINAL:
        raise AcinusError(
            f"{path}: {what} {told:g} level-0 px ({found.tool}), the recipe has {px * downsample:g} ({px} px of "
            f"{downsample:g}); mend index.mpp, index.patch_px or index.stride_px, or extract anew"
        )
    return told / px


def _step(corners: np.ndarray) -> int | None:
    """Return the commonest step from one patch to the next in its row, None where no two lie in a row."""
    order = np.lexsort((corners[:, 0], corners[:, 1]))
    steps = np.diff(corners[order], axis=0)
    across = steps[(steps[:, 1] == 0) & (steps[:, 0] > 0), 0]
    if not len(across):
        return None
    values, counts = np.unique(across, return_counts=True)
    return int(values[counts.argmax()])
