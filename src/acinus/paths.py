"""Where every stage's files lie. dvc.yaml names the same paths; a test holds the two together."""

from pathlib import Path

SLIDE_LABELS = "labels.json"


def home(root: Path) -> Path:
    """Return the project itself for a copy that `dvc exp run --temp` or `--queue` works in and deletes."""
    return next((above.parent for above in root.parents if above.name == ".dvc"), root)


class Paths:
    """The files of one recipe in the project at `root`."""

    def __init__(self, root: Path, recipe: str) -> None:
        self.root, self.recipe = root, recipe
        models, local = root / "models", root / ".acinus"

        self.data = data = root / "data" / recipe
        """Folder of the recipe's tables, masks, store and maps."""
        self.raw = root / "data" / "raw" / f"{recipe}.json"
        """The inventory that `watch` writes for a cohort outside DVC."""
        self.inventory = data / "inventory.json"
        """Path, size and fingerprint of every file of the cohort."""
        self.manifest = data / "manifest.parquet"
        """records.MANIFEST."""
        self.rasters = data / "rasters"
        """Folder of what ingest made of giant rasters: <slide_id>.tif, <slide_id>_mask.tif, <slide_id>.json."""
        self.slide_labels = self.rasters / SLIDE_LABELS
        """What the columns of slides.csv say of whole slides, for people; in family slides alone."""
        self.index = data / "index.parquet"
        """records.INDEX."""
        self.tissue = data / "tissue"
        """Folder of tissue masks, <slide_id>.png."""
        self.sample = data / "sample.parquet"
        """records.SAMPLE."""
        self.statistics = data / "statistics.csv"
        """Candidates and drawn patches per slide."""
        self.patches = data / "patches"
        """The patch store."""
        self.extraction = data / "extraction.json"
        """Which way the patches took into their store, and what encoding cost them."""
        self.tune = data / "tune"
        """Folder of the search: best.yaml, trials.parquet, comparison.json, pictures."""
        self.study = data / "study.log"
        """Optuna's journal of the search."""
        self.calibration = data / "calibration.json"
        """Curves of the calibration: reliability before and after, metrics against the threshold."""
        self.maps = data / "maps"
        """Folder of probability maps, <slide_id>.tif."""
        self.quantities = data / "quantities.parquet"
        """records.QUANTITIES."""
        self.masks = data / "masks"
        """Folder of cleaned masks, <slide_id>.png: the cohort's colours at the slide's size, else classes of map px."""
        self.regions = data / "regions"
        """Folder of predicted regions: <slide_id>.geojson and <slide_id>.xml (ASAP)."""
        self.region_table = data / "regions.parquet"
        """records.REGIONS."""
        self.features = data / "features"
        """Folder of the patches' features, <slide_id>.h5, and what the encoder is, encoder.json."""
        self.predictions = data / "predictions.parquet"
        """records.PREDICTIONS; empty but for task slide_labels."""
        self.grades = data / "grades.parquet"
        """records.GRADES."""
        self.attention = data / "attention.parquet"
        """records.ATTENTION."""

        self.model = models / recipe
        """The trained model: weights, card, log, patch scores, scores_val.parquet, scores_test.parquet, stain.json, and
        of a classifier of more than two classes colour_test.parquet."""
        self.model_run = models / f"{recipe}.run.json"
        """Which MLflow run trained the model. Beside the model, since a run id differs from run to run."""
        self.operating_point = models / f"{recipe}.operating_point.yaml"
        """Temperature, offsets, threshold and clean-up, and where they came from. Beside the model."""
        self.temperature = models / f"{recipe}.temperature.json"
        """The operating point's temperature and offsets alone, which is all of it that a map depends on."""
        self.mil = models / f"{recipe}.mil"
        """Folder of the slide graders, one file of weights per seed, and their card."""

        self.reports = root / "reports" / recipe
        """The recipe's report folder."""
        self.summary_row = root / "reports" / "summary" / f"{recipe}.json"
        """The recipe's row of the summary page."""

        self.inventory_memory = local / "inventory" / f"{recipe}.json"
        """What is remembered of the files of a cohort outside DVC; no output of the pipeline."""
        self.checkpoints = local / "checkpoints" / recipe
        """What a killed training resumes from; no output of the pipeline."""
