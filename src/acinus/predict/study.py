"""Slides through the models of a recipe of task slide_labels: an answer for each, and what the models looked at."""

import csv
import hashlib
import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from acinus import params
from acinus.annotations.frame import qupath_corner
from acinus.charts import layers
from acinus.cohorts.inventory import fingerprint
from acinus.embedding.feature_file import SlideFeatures, read_features
from acinus.embedding.reuse import KeptJob, embed_or_take_over, embedding_code, swept
from acinus.embedding.slide_features import EmbedJob, Encoder, SlideToEmbed, slide_features
from acinus.errors import AcinusError
from acinus.files import atomic_path, read_json, sha256, write_text
from acinus.grading.baselines import tissue_colour
from acinus.grading.card import CARD_FILE
from acinus.grading.study_card import Loaded, StudyCard, ask_study, load_study
from acinus.grading.study_stain import STAIN_FILE, density_of
from acinus.learning.colour import TrainingStain
from acinus.maps.attention import write_attention_geojson, write_attention_map
from acinus.maps.tiff import MapInfo
from acinus.params import SLIDE_LABELS
from acinus.predict.opening import (
    Opened,
    Order,
    openable,
    resolution,
    stain_distance,
    stain_warnings,
    tag_of,
    tissue_settings,
)
from acinus.project.checkout import project_above
from acinus.scoring.decisions import CLASSED
from acinus.slides import brightfield
from acinus.slides.geometry import at_downsample
from acinus.slides.open import SlidePixels, open_slide
from acinus.slides.tiles import check_under
from acinus.tissue.mask import find_tissue, save_tissue

ATTENTION, GEOJSON, PICTURE = "attention.tif", "attention.geojson", "attention.png"
STUDY_OUTPUTS = (ATTENTION, GEOJSON, PICTURE)
TABLE = "predictions.csv"
PICTURE_PX = 1200
TOP = 10
"""So many patches of highest attention stand in a result."""
DECODE_THREADS = 2
MAX_CARD_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class StudyModel:
    """The models of a study. folder: models/<recipe>.mil. cache: where features are kept, or None.

    stain: of the slides that they learned from, or None. digest: of every file that decides an answer, and of this
    version.
    """

    folder: Path
    runs: tuple[Loaded, ...]
    card: StudyCard
    index: params.Index
    stain: TrainingStain | None
    digest: str
    cache: Path | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The files of a slide beside its result."""
        return STUDY_OUTPUTS


def study_folder(model: Path) -> Path | None:
    """Return the folder of a study's models: `model` itself, or models/<recipe>.mil beside it; None of other models."""
    for folder in (model, model.parent / f"{model.name}.mil"):
        card = folder / CARD_FILE
        if not card.is_file() or card.stat().st_size > MAX_CARD_BYTES:
            continue
        content = read_json(card)
        if isinstance(content, dict) and content.get("task") == SLIDE_LABELS:
            return folder
    return None


def open_study(folder: Path, cache: Path | None) -> StudyModel:
    """Return the models of a folder models/<recipe>.mil.

    Raises:
        AcinusError: a damaged card, weights or stain.json, those of another version.
    """
    runs, card = load_study(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    text = json.dumps([version("acinus"), digests], sort_keys=True)
    try:
        index = params.Index.model_validate(card.index)
    except ValueError as error:
        raise AcinusError(
            f"{folder / CARD_FILE}: index is not a recipe's section of this version; run the grade stage again"
        ) from error
    digest = hashlib.sha256(text.encode()).hexdigest()
    return StudyModel(folder, tuple(runs), card, index, _stain(folder / STAIN_FILE), digest, cache)


def _stain(path: Path) -> TrainingStain | None:
    try:
        return TrainingStain.model_validate_json(path.read_bytes())
    except FileNotFoundError:  # the stain is not judged, and every result says so
        return None
    except ValueError as error:
        raise AcinusError(f"{path}: not a summary of stains; run the grade stage again") from error


def predict_study(order: Order, model: StudyModel) -> dict[str, Any]:
    """Write a slide's attention map, GeoJSON and picture to its folder and return its result, ready for JSON.

    Raises:
        AcinusError: the slide does not open, cannot give the models' resolution, or has damaged pixels.
    """
    with tempfile.TemporaryDirectory(prefix=".work.", suffix=".part", dir=order.folder) as scratch:
        work = Path(scratch)
        opened = _open(order, model, work)
        order.step("grade")
        features = _features(order, model, opened, work)
        said = _said(model, features)
        patches = _patches(features, said.pop("attention"))
        write_attention_map(
            order.folder / ATTENTION,
            patches,
            (opened.width, opened.height),
            MapInfo(order.name, ("attention",), opened.mpp),
        )
        write_attention_geojson(order.folder / GEOJSON, patches, opened.corner0)
        order.step("picture")
        _write_picture(order, opened, patches)
    return _result(order, model, opened, said) | {"top_patches": patches[:TOP]}


def _open(order: Order, model: StudyModel, work: Path) -> Opened:
    """Open the slide (a raster by way of a pyramid), find its tissue and look at its stain."""
    order.step("opening")
    image, index = openable(order, work), model.index
    with open_slide(image, order.name) as slide:
        brightfield.check(slide)
        mpp = (order.mpp, order.mpp) if order.mpp is not None else slide.tag_mpp
        at = resolution(slide, index.level, index.mpp, mpp)
        warnings = []
        if mpp is None:
            warnings.append(f"um/px unknown ({tag_of(slide)}): the models look at another size of tissue, or not")
        elif order.mpp is not None:
            warnings.append(f"um/px assumed: {mpp[0]:g} as given by --mpp ({tag_of(slide)})")
        order.step("tissue")
        corner, edge0 = np.zeros(1, dtype=np.int64), float(max(slide.width, slide.height))
        check_under(slide, at_downsample(slide.level_downsamples, index.tissue.downsample), corner, corner, edge0)
        tissue = find_tissue(slide, tissue_settings(index, mpp, warnings), mpp)
        save_tissue(tissue, work / "tissue.png")
        colour = tissue_colour(slide, tissue)
        density = density_of(colour) if colour.any() else None
        distance = None if density is None else stain_distance(density, model.stain)
        if density is not None:
            warnings += stain_warnings(distance, model.stain)
        size, corner0 = (slide.width, slide.height), qupath_corner(slide.properties)
        return Opened(image, *size, mpp, at, work / "tissue.png", density, distance, tuple(warnings), corner0)


def _features(order: Order, model: StudyModel, opened: Opened, work: Path) -> SlideFeatures | None:
    """Return the features of a slide's patches, those of the cache where they are the same; None without tissue."""
    root = project_above() or Path()
    encoder = Encoder(model.card.encoder, model.folder, model.folder, order.device, order.threads, root=root)
    mean = sum(opened.mpp) / 2 if opened.mpp else None
    slide = SlideToEmbed(order.name, opened.image, mean, opened.tissue)
    job = EmbedJob(slide, model.index, encoder, decode_threads=DECODE_THREADS)
    if model.cache is None:
        return slide_features(job)
    mark = fingerprint(order.path, order.path.stat().st_size)
    target = work / f"{order.name}.h5"
    with swept([model.cache]):
        made = embed_or_take_over(KeptJob(job, mark, embedding_code(), model.cache, target))
    return read_features(target) if made.num_patches else None


def _said(model: StudyModel, features: SlideFeatures | None) -> dict[str, Any]:
    """Return what the models say: predicted, probs, spread and attention, all null or empty without tissue."""
    kind = model.card.kind
    if features is None:
        return {"predicted": None, "value": None, "probs": {}, "spread": None, "num_patches": 0, "attention": []}
    answer, predicted, spread, attention = ask_study(model.runs, model.card, features.features)
    classed = kind in CLASSED
    return {
        "predicted": model.card.classes[int(predicted)] if classed else None,
        "value": None if classed else predicted,
        "probs": dict(zip(model.card.classes, answer.tolist(), strict=True)) if classed else {},
        "spread": spread,
        "num_patches": len(features.patches),
        "attention": attention.tolist(),
    }


def _patches(features: SlideFeatures | None, attention: Iterable[float]) -> list[dict[str, Any]]:
    """Return the patches with their attention, the highest first."""
    if features is None:
        return []
    patches = features.patches
    fixed = {"downsample": patches.downsample, "patch_px": patches.patch_px}
    places = zip(patches.x0.tolist(), patches.y0.tolist(), attention, strict=True)
    rows = [{"x0": x0, "y0": y0, **fixed, "attention": weight} for x0, y0, weight in places]
    return sorted(rows, key=lambda row: (-row["attention"], row["y0"], row["x0"]))


def _write_picture(order: Order, opened: Opened, patches: list[dict[str, Any]]) -> None:
    """Write the slide with the attention of its patches over it."""
    downsample = max(1.0, max(opened.width, opened.height) / PICTURE_PX)
    with open_slide(opened.image, order.name) as slide:
        thumbnail = _thumbnail(slide, downsample)
    squares = [layers.square(patch, downsample) for patch in patches]
    with Image.open(io.BytesIO(layers.attention_layer(thumbnail.shape[:2], squares))) as layer:
        picture = Image.alpha_composite(Image.fromarray(thumbnail).convert("RGBA"), layer)
    with atomic_path(order.folder / PICTURE) as part:
        picture.convert("RGB").save(part, compress_level=6)


def _thumbnail(slide: SlidePixels, downsample: float) -> np.ndarray:
    columns, rows = (int(np.ceil(edge / downsample)) for edge in (slide.width, slide.height))
    return slide.read(0, 0, columns, rows, at_downsample(slide.level_downsamples, downsample))


def _result(order: Order, model: StudyModel, opened: Opened, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the slide, plain values."""
    warnings = list(opened.warnings)
    if not said["num_patches"]:
        warnings.append("no tissue to take a patch from: nothing was looked at, nothing is predicted")
    density = None if opened.density is None else [round(float(value), 6) for value in opened.density]
    return {
        "slide": order.name,
        "version": version("acinus"),
        "note": "For research, not for diagnosis. Attention is not explanation.",
        "size_px": [opened.width, opened.height],
        "mpp": list(opened.mpp) if opened.mpp else None,
        "mpp_source": None if opened.mpp is None else "--mpp" if order.mpp is not None else "tag",
        "working_downsample": opened.at.downsample,
        "target": model.card.target,
        "kind": model.card.kind,
        "classes": list(model.card.classes),
        **said,
        "models": sum(len(run.models) for run in model.runs),
        "stain": {"density_of_mean_colour": density, "distance": opened.distance},
        "encoder": model.card.encoder.model_dump(mode="json"),
        "warnings": warnings,
    }


def in_words(result: Mapping[str, Any]) -> str:
    """Return a slide's result in a line."""
    if not result["num_patches"]:
        said = f"{result['target']} not predicted"
    elif result["predicted"] is not None:
        said = f"{result['target']} {result['predicted']} ({result['probs'][result['predicted']]:.2f})"
    else:
        word = "risk" if result["kind"] == "survival" else result["target"]
        said = f"{word} {result['value']:.4g}"
    return f"{said}, {result['num_patches']} patches" + "".join(f"; warning: {text}" for text in result["warnings"])


def write_table(path: Path, results: Iterable[tuple[str, Mapping[str, Any]]], classes: Iterable[str]) -> None:
    """Write a row per slide: (file, its result or error.json). What is unknown is empty."""
    names = [f"prob.{name}" for name in classes]
    columns = ["slide", "file", "target", "predicted", "value", *names, "spread", "num_patches", "warnings", "error"]
    written = io.StringIO()
    table = csv.DictWriter(written, columns, restval="", extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for file, result in results:
        probs = {f"prob.{name}": value for name, value in result.get("probs", {}).items()}
        row = {key: "" if value is None else value for key, value in {**result, **probs}.items()}
        row |= {"file": file, "warnings": "; ".join(result.get("warnings", ())), "error": result.get("reason", "")}
        table.writerow({key: _safe(value) for key, value in row.items()})
    write_text(path, written.getvalue())


def _safe(value: Any) -> Any:
    """Return a cell that no spreadsheet runs as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
