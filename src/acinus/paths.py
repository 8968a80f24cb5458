"""Where every stage's files lie. dvc.yaml names the same paths; a test holds the two together."""

from dataclasses import dataclass
from pathlib import Path


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
    def maps(self) -> Path:
        """Folder of probability maps, <slide_id>.tif."""
        return self.data / "maps"

    @property
    def masks(self) -> Path:
        """Folder of predicted masks in the colours of the cohort, <slide_id>.png; empty where it has none."""
        return self.data / "masks"

    @property
    def quantities(self) -> Path:
        """records.QUANTITIES."""
        return self.data / "quantities.parquet"

    @property
    def model(self) -> Path:
        """The trained model: weights, card, log, patch scores."""
        return self.root / "models" / self.recipe

    @property
    def model_run(self) -> Path:
        """Which MLflow run trained the model. Beside the model, since a run id differs from run to run."""
        return self.root / "models" / f"{self.recipe}.run.json"

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
