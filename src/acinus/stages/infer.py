"""infer: model, operating point and slides -> maps/<slide_id>.tif."""

from acinus import records
from acinus.errors import AcinusError
from acinus.files import atomic_path, read_json, sha256
from acinus.learning.card import WEIGHTS_FILE
from acinus.learning.device import pick
from acinus.slides.places import Places
from acinus.stage import Stage
from acinus.whole_slide import MapJob, map_slide


def run(stage: Stage) -> None:
    """Write the class probabilities of every usable slide of the splits asked for."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    wanted = manifest[(manifest["status"] == "ok") & manifest["split"].isin(stage.recipe.infer.splits)]
    compute, windows = stage.project.compute, 0
    places = Places(stage.cohort_root, stage.paths.rasters)
    if not stage.paths.temperature.is_file():
        raise AcinusError(f"{stage.paths.temperature}: not found; run the calibrate stage (dvc repro)")
    temperature = float(read_json(stage.paths.temperature)["temperature"])
    weights = sha256(stage.paths.model / WEIGHTS_FILE)
    on_cpu = pick(compute.device).type == "cpu"  # a GPU serves one process best
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
                temperature=temperature,
            )
            for row in records.rows(wanted)
        ]
        counts = stage.map(map_slide, jobs) if on_cpu else map(map_slide, jobs)
        for job, number in zip(jobs, counts, strict=True):
            windows += number
            stage.say(f"{job.row['slide_id']}: {number} windows")
    stage.log.log_metrics({"n_slides": len(wanted), "n_windows": windows})
