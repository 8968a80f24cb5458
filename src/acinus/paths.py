"""Where every stage's files lie. dvc.yaml names the same paths; a test holds the two together."""

from dataclasses import dataclass
from pathlib import Path


def home(root: Path) -> Path:
    """Return the project itself for a copy that `dvc exp run --temp` or `--queue` works in and deletes."""
    return next((above.parent for above in root.parents if above.name == ".dvc"), root)


@dataclass(frozen=True)
class Paths:
    """The files of one recipe in the project at `root`."""

    root: Path
    recipe: str

    @property
    def data(self) -> Path:
        """The folder of the recipe's tables, masks, store and maps."""
        return self.root / "data" / self.recipe

    @property
    def raw(self) -> Path:
        """The inventory that `watch` writes for a cohort outside DVC."""
        return self.root / "data" / "raw" / f"{self.recipe}.json"

    @property
    def inventory_memory(self) -> Path:
        """What is remembered of the files of a cohort outside DVC; no output of the pipeline."""
        return self.root / ".acinus" / "inventory" / f"{self.recipe}.json"

    @property
    def inventory(self) -> Path:
        """Path, size and fingerprint of every file of the cohort."""
        return self.data / "inventory.json"

    @property
    def manifest(self) -> Path:
        """records.MANIFEST."""
        return self.data / "manifest.parquet"

    @property
    def rasters(self) -> Path:
        """Folder of what ingest made of giant rasters: <slide_id>.tif, <slide_id>_mask.tif, <slide_id>.json."""
        return self.data / "rasters"

    @property
    def index(self) -> Path:
        """records.INDEX."""
        return self.data / "index.parquet"

    @property
    def tissue(self) -> Path:
        """Folder of tissue masks, <slide_id>.png."""
        return self.data / "tissue"

    @property
    def sample(self) -> Path:
        """records.SAMPLE."""
        return self.data / "sample.parquet"

    @property
    def statistics(self) -> Path:
        """Candidates and drawn patches per slide, CSV."""
        return self.data / "statistics.csv"

    @property
    def patches(self) -> Path:
        """The patch store."""
        return self.data / "patches"

    @property
    def extraction(self) -> Path:
        """Which way the patches took into their store, and what encoding cost them. JSON."""
        return self.data / "extraction.json"

    @property
    def maps(self) -> Path:
        """Folder of probability maps, <slide_id>.tif."""
        return self.data / "maps"

    @property
    def masks(self) -> Path:
        """Folder of cleaned masks, <slide_id>.png: the cohort's colours at the slide's size, else classes of map px."""
        return self.data / "masks"

    @property
    def quantities(self) -> Path:
        """records.QUANTITIES."""
        return self.data / "quantities.parquet"

    @property
    def tune(self) -> Path:
        """Folder of the search: best.yaml, trials.parquet, comparison.json, pictures."""
        return self.data / "tune"

    @property
    def study(self) -> Path:
        """Optuna's journal of the search."""
        return self.data / "study.log"

    @property
    def calibration(self) -> Path:
        """Curves of the calibration: reliability before and after, figures against the threshold. JSON."""
        return self.data / "calibration.json"

    @property
    def regions(self) -> Path:
        """Folder of predicted regions: <slide_id>.geojson and <slide_id>.xml (ASAP)."""
        return self.data / "regions"

    @property
    def region_table(self) -> Path:
        """records.REGIONS."""
        return self.data / "regions.parquet"

    @property
    def grades(self) -> Path:
        """records.GRADES."""
        return self.data / "grades.parquet"

    @property
    def attention(self) -> Path:
        """records.ATTENTION."""
        return self.data / "attention.parquet"

    @property
    def model(self) -> Path:
        """The trained model: weights, card, log, patch scores, scores_val.parquet, scores_test.parquet, stain.json."""
        return self.root / "models" / self.recipe

    @property
    def model_run(self) -> Path:
        """Which MLflow run trained the model. Beside the model, since a run id differs from run to run."""
        return self.root / "models" / f"{self.recipe}.run.json"

    @property
    def operating_point(self) -> Path:
        """Temperature, offsets, threshold and clean-up, and where they came from. YAML, beside the model."""
        return self.root / "models" / f"{self.recipe}.operating_point.yaml"

    @property
    def temperature(self) -> Path:
        """The operating point's temperature and offsets alone, which is all of it that a map depends on. JSON."""
        return self.root / "models" / f"{self.recipe}.temperature.json"

    @property
    def mil(self) -> Path:
        """Folder of the slide graders, one file of weights per seed, and their card."""
        return self.root / "models" / f"{self.recipe}.mil"

    @property
    def checkpoints(self) -> Path:
        """What a killed training resumes from; no output of the pipeline."""
        return self.root / ".acinus" / "checkpoints" / self.recipe

    @property
    def reports(self) -> Path:
        """The recipe's report folder."""
        return self.root / "reports" / self.recipe

    @property
    def summary_row(self) -> Path:
        """The recipe's row of the summary page."""
        return self.root / "reports" / "summary" / f"{self.recipe}.json"
