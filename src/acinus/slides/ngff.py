"""OME-Zarr: which arrays of a folder are a slide's levels, and how large a px is. NGFF 0.4 (Zarr 2) and 0.5 (Zarr 3).

Source: https://ngff.openmicroscopy.org. The text is an outsider's: no path of it leads out of the folder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from acinus.slides.tiff_layout import downsample_of, factors
from acinus.slides.zarr_metadata import FILES, NoSlideError, Stored, as_list, as_object, read_object, stored

MAX_LEVELS = 64
"""More levels, or images in one folder, than any slide has."""
_LONGEST_PATH = 200
_VERSIONS = ("0.4", "0.5")
_UM = {"angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}
_UM |= {"nm": 1e-3, "um": 1.0, "µm": 1.0, "micron": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
_SHOWN = 5


@dataclass(frozen=True)
class LevelArray:
    """The array of one level. axes: a letter each, of t, c, z, y, x. scale: of a px (x, y), in the metadata's units."""

    folder: Path
    axes: str
    array: Stored
    scale: tuple[float, float]

    def xy(self, sizes: tuple[int, ...]) -> tuple[int, int]:
        """Return those of x and y among the sizes along all axes."""
        return sizes[self.axes.index("x")], sizes[self.axes.index("y")]


@dataclass(frozen=True)
class NgffImage:
    """The levels of a slide, finest first; downsamples: level-0 px per px of each; mpp: um per px (x, y) of level 0."""

    levels: list[LevelArray]
    downsamples: list[float]
    mpp: tuple[float, float] | None


def image_of(folder: Path) -> NgffImage:
    """Return the slide in an OME-Zarr: its image or, of several (of bioformats2raw), the first of 8-bit RGB.

    Raises:
        NoSlideError: there is none, with the reason of each image.
        ValueError, OSError, RuntimeError: metadata that is damaged or too large, a path or link that leads elsewhere.
    """
    attributes, zarr = _attributes(folder)
    if "multiscales" in attributes:
        return _image(folder, folder, attributes, zarr)
    if "plate" in attributes or "well" in attributes:
        raise NoSlideError("a plate of wells; give one of its images as an OME-Zarr of its own")
    if attributes.get("bioformats2raw.layout") != 3:
        raise ValueError("its metadata has no multiscales; expected an image of NGFF 0.4 or 0.5")
    reasons = []
    for path in _series(folder):
        try:
            place = _inside(folder, folder, path)
            return _image(folder, place, *_attributes(place))
        except NoSlideError as error:
            reasons.append(f"image {path}: {error}")
    more = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    raise NoSlideError(f"no image of 8-bit RGB ({'; '.join(reasons[:_SHOWN])}{more})")


def _series(folder: Path) -> Iterator[object]:
    """Yield the paths of the images: as the group OME lists them, else 0, 1, ..."""
    if (folder / "OME").is_dir():
        listed = _attributes(_inside(folder, folder, "OME"))[0].get("series")
        if isinstance(listed, list) and listed:
            yield from listed[:MAX_LEVELS]
            return
    for number in range(MAX_LEVELS):
        if (folder / str(number)).is_dir():
            yield str(number)


def _attributes(folder: Path) -> tuple[dict[str, Any], int]:
    """Return what NGFF says in a group, and the version of Zarr."""
    if (folder / "zarr.json").exists():
        attributes = as_object(read_object(folder / "zarr.json").get("attributes", {}), "attributes")
        return as_object(attributes.get("ome", {}), "ome"), 3
    if (folder / ".zattrs").exists():
        return read_object(folder / ".zattrs"), 2
    raise ValueError("neither zarr.json nor .zattrs is in it; copy the whole folder, hidden files too")


def _image(root: Path, folder: Path, attributes: dict[str, Any], zarr: int) -> NgffImage:
    """Return the levels of the image whose group is `folder`."""
    entry = as_object(as_list(attributes.get("multiscales"), "multiscales")[0], "multiscales")
    version = entry.get("version", attributes.get("version", _VERSIONS[0]))
    if version not in _VERSIONS:
        raise ValueError(f"NGFF {str(version)[:20]}; only {' and '.join(_VERSIONS)} are read")
    axes, unit = _axes(as_list(entry.get("axes"), "axes"))
    datasets = as_list(entry.get("datasets"), "datasets")
    if len(datasets) > MAX_LEVELS:
        raise ValueError(f"{len(datasets)} levels; expected at most {MAX_LEVELS}")
    whole = _scale(entry, axes)
    levels = []
    for dataset in (as_object(dataset, "datasets") for dataset in datasets):
        place, own = _inside(root, folder, dataset.get("path")), _scale(dataset, axes)
        file = place / FILES[zarr]
        if not file.exists():
            raise ValueError(f"level {place.name}: {file.name} is not there; copy the whole folder, hidden files too")
        array = stored(read_object(file), zarr, axes)
        levels.append(LevelArray(place, axes, array, (own[0] * whole[0], own[1] * whole[1])))
    levels.sort(key=lambda level: -level.xy(level.array.shape)[0])
    mpp = None if unit is None else (levels[0].scale[0] * unit[0], levels[0].scale[1] * unit[1])
    return NgffImage(levels, [_downsample(levels[0], level) for level in levels], mpp)


def _axes(entries: list[Any]) -> tuple[str, tuple[float, float] | None]:
    """Return the axes as letters, and um per unit (x, y) where both units are lengths."""
    units: dict[str, str] = {}
    for entry in entries:
        name = as_object(entry, "axes").get("name")
        if name not in tuple("tczyx") or name in units:
            raise ValueError(f"axis {str(name)[:20]!r}; expected each of t, c, z, y, x at most once")
        units[name] = str(entry.get("unit")).strip().lower().replace("\u03bc", "µ").replace("metre", "meter")
    if not {"x", "y"} <= set(units):
        raise ValueError(f"axes {''.join(units)}; expected x and y among them")
    x, y = _UM.get(units["x"]), _UM.get(units["y"])
    return "".join(units), None if x is None or y is None else (x, y)


def _scale(entry: dict[str, Any], axes: str) -> tuple[float, float]:
    """Return the factors of x and y by all transforms; shifts, of half a px between levels, are not looked at."""
    x = y = 1.0
    transforms = entry.get("coordinateTransformations")
    for transform in transforms if isinstance(transforms, list) else []:
        kind = as_object(transform, "coordinateTransformations").get("type")
        if kind in ("identity", "translation"):
            continue
        factors = transform.get("scale")
        if kind != "scale" or not isinstance(factors, list) or len(factors) != len(axes):
            raise ValueError(f"transform {str(kind)[:20]!r}; expected a scale of {len(axes)} numbers")
        x, y = x * _positive(factors[axes.index("x")]), y * _positive(factors[axes.index("y")])
    return x, y


def _positive(value: object) -> float:
    if type(value) not in (int, float) or not 1e-12 < value < 1e12:  # type: ignore[operator]
        raise ValueError(f"scale {str(value)[:20]}; expected a positive number")
    return float(value)  # type: ignore[arg-type]


def _downsample(finest: LevelArray, level: LevelArray) -> float:
    """Return level-0 px per px of a level: as the sizes say where they are of a whole reduction, else as the scales do.

    Raises:
        ValueError: to a px of its own it does not show all of level 0, and nothing more.
    """
    full, reduced = finest.xy(finest.array.shape), level.xy(level.array.shape)
    least, most = factors(full, reduced)
    if least > most:
        what = f"level {level.folder.name}: {reduced[0]} x {reduced[1]} px is no reduction of {full[0]} x {full[1]} px"
        raise ValueError(f"{what}; write the pyramid anew")
    by_size = downsample_of(full, reduced)
    told = [small / large for small, large in zip(level.scale, finest.scale, strict=True)]
    if by_size.is_integer() or not all(least <= factor <= most for factor in told):
        return by_size
    return round(sum(told) / 2, 6)


def _inside(root: Path, folder: Path, path: object) -> Path:
    """Return folder / path, which must lie below the root, links followed."""
    if not isinstance(path, str) or not 0 < len(path) <= _LONGEST_PATH:
        raise ValueError(f"path {str(path)[:40]!r}; expected the name of a folder")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
        raise ValueError(f"path {path[:40]!r} leads out of the folder")
    if not (folder / path).resolve().is_relative_to(root.resolve()):
        raise ValueError(f"path {path[:40]!r} is a link that leads out of the folder")
    return folder / path
