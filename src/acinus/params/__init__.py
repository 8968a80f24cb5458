"""params.yaml and recipes/<name>.yaml as frozen, strict models: one class per section."""

from acinus.params.base import Fraction, Mpp, Section, Split
from acinus.params.cohorts import (
    RECIPES,
    Annotations,
    CamelyonCohort,
    PandaCohort,
    PannukeCohort,
    RgbMaskCohort,
    SlideLabel,
    SlidesCohort,
)
from acinus.params.embedding import SLIDE_LABELS, Embed, Folds, Grade
from acinus.params.plugged import check_plugins, recipe_of
from acinus.params.project import (
    RESERVED,
    CamelyonDemo,
    Compute,
    Demo,
    MilDemo,
    PandaDemo,
    PannukeDemo,
    Project,
    RgbMaskDemo,
    SlidesDemo,
    Tracking,
)
from acinus.params.reading import (
    check_recipe,
    cohort_root,
    is_drawn,
    load_project,
    load_recipe,
    load_yaml,
    section_hash,
)
from acinus.params.recipe import Cohort, Recipe
from acinus.params.results import Calibrate, Choices, Quantify, Range, Tune
from acinus.params.sections import Extract, Index, Infer, Report, Sample, Tissue, Validate
from acinus.params.training import Geometric, HardNegatives, Loss, Photometric, Train
from acinus.params.tuning import check_space, value_of, with_values
