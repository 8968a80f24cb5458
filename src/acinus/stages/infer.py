"""infer: model, operating point and slides -> maps/<slide_id>.tif."""

from acinus import records
from acinus.files import atomic_path, sha256
from acinus.labels.places import Places
from acinus.learning.card import WEIGHTS_FILE
from acinus.learning.device import best_alone
from acinus.maps.slide_map import MapJob, map_slide, running_as
from acinus.regions.operating_point import read_scaling
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Write the class probabilities of every usable slide of the splits asked for."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    wanted = manifest[(manifest["status"] == "ok") & manifest["split"].isin(stage.recipe.infer.splits)]
    compute = stage.project.compute
    places = Places(stage.cohort_root, stage.paths.rasters)
    scaling = read_scaling(stage.paths.temperature)
    weights = sha256(stage.paths.model / WEIGHTS_FILE)
    with atomic_path(stage.paths.maps) as folder:
        folder.mkdir()
        jobs = [
            MapJob(
                row=row,
                image=places.image(row),
                tissue=stage.paths.tissue / f"{row['slide_id']}.png",
                model=stage.paths.model,
                weights=weights,
                target=folder / f"{row['slide_id']}.tif",
                index=stage.recipe.index,
                infer=stage.recipe.infer,
                device=compute.device,
                threads=compute.threads,
                scaling=scaling,
                decode_threads=stage.decode_threads,
                memory_mib=stage.memory_mib,
                running=running_as(compute, stage.recipe.infer),
            )
            for row in records.rows(wanted)
        ]
        mapped = []
        for job, slide in zip(jobs, stage.map(map_slide, jobs, alone=best_alone(compute.device)), strict=True):
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
