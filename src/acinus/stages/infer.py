"""infer: model, operating point and slides -> maps/<slide_id>.tif."""

from pathlib import Path
from typing import Any

from acinus import records
from acinus.files import atomic_path, sha256
from acinus.labels.places import Places
from acinus.learning.card import WEIGHTS_FILE
from acinus.learning.device import best_alone
from acinus.maps.slide_map import MapJob, map_slide
from acinus.regions.operating_point import read_scaling
from acinus.scoring.scaling import Scaling
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Write the class probabilities of every usable slide of the splits asked for."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    wanted = manifest[(manifest["status"] == "ok") & manifest["split"].isin(stage.recipe.infer.splits)]
    scaling = read_scaling(stage.paths.temperature)
    with atomic_path(stage.paths.maps) as folder:
        folder.mkdir()
        jobs = map_jobs(stage, records.rows(wanted), stage.paths.model, scaling, folder)
        mapped, alone = [], best_alone(stage.project.compute.device)
        for job, slide in zip(jobs, stage.map(map_slide, jobs, alone=alone), strict=True):
            mapped.append(slide)
            stage.say(f"{job.row['slide_id']}: {slide.windows} windows, {slide.windows / slide.seconds:.0f} per second")
    stage.log.log_metrics(
        {
            "n_slides": len(wanted),
            "n_windows": sum(slide.windows for slide in mapped),
            "n_tiles": sum(slide.pixels.tiles for slide in mapped),
            "n_tiles_decoded": sum(slide.pixels.decoded for slide in mapped),
            "n_squares_through_openslide": sum(slide.pixels.through_openslide for slide in mapped),
        }
    )


def map_jobs(stage: Stage, rows: list[dict[str, Any]], model: Path, scaling: Scaling, folder: Path) -> list[MapJob]:
    """Return the jobs that map slides (rows of records.MANIFEST) by the network in folder `model` into `folder`."""
    places, weights = Places(stage.cohort_root, stage.paths.rasters), sha256(model / WEIGHTS_FILE)
    return [
        MapJob(
            row=row,
            image=places.image(row),
            tissue=stage.paths.tissue / f"{row['slide_id']}.png",
            model=model,
            weights=weights,
            target=folder / f"{row['slide_id']}.tif",
            index=stage.recipe.index,
            infer=stage.recipe.infer,
            compute=stage.project.compute,
            scaling=scaling,
        )
        for row in rows
    ]
