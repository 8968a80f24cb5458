"""params.yaml and recipes: what is wrong is said in one line with file, key, value and what is allowed."""

import re
from pathlib import Path
from typing import Any, get_args

import pydantic
import pytest
import yaml

from acinus import params, records
from acinus.errors import AcinusError, RecipeError
from acinus.params import Section, faults, strict_yaml
from acinus.params.cohorts import SlidesCohort
from acinus.params.meanings import meanings, section_of
from acinus.params.training import Term

ROOT = Path(__file__).resolve().parents[1]
DEMO = (ROOT / "recipes" / "demo-camelyon.yaml").read_text()
QUANTIFY = "quantify:\n  threshold: null # the operating point's\n  froc: true"
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def load(root: Path, old: str, new: str, name: str = "demo-camelyon") -> params.Recipe:
    """A recipe of the project with one place of its text changed."""
    text = (ROOT / "recipes" / f"{name}.yaml").read_text()
    assert text.count(old) >= 1, old
    (root / "recipes" / "mine.yaml").write_text(text.replace(old, new, 1))
    return params.load_recipe(root, "mine")


def refusal(root: Path, old: str, new: str, name: str = "demo-camelyon") -> str:
    with pytest.raises(RecipeError) as caught:
        load(root, old, new, name)
    text = str(caught.value)
    assert text.startswith(f"{root / 'recipes' / 'mine.yaml'}: ")
    assert "\n" not in text
    assert "[key]" not in text
    return text.removeprefix(f"{root / 'recipes' / 'mine.yaml'}: ")


def test_five_recipes_are_published_and_each_has_one_of_laptop_size() -> None:
    published = {"biopsy", "camelyon", "camelyon-context", "panda", "pannuke"}
    others = {"camelyon-segmentation", "slides", "demo-slides"}  # settings of our own
    others |= {"slides-mil", "panda-mil", "demo-mil"}  # slide labels alone
    assert set(RECIPES) == published | {f"demo-{name}" for name in published} | others


@pytest.mark.parametrize("name", ["slides", "slides-mil"])
def test_every_key_of_the_recipe_for_own_slides_stands_there_with_its_meaning(name: str) -> None:
    """`init` starts from it, and so does a person: the comments are the texts of the models, and no key is left out."""
    text = (ROOT / "recipes" / f"{name}.yaml").read_text()
    said = " ".join(re.sub(r"(?m)^\s*#|#", " ", text).split())

    def check(model: type[Section], section: dict[str, Any]) -> None:
        fields = {field.alias or name: name for name, field in model.model_fields.items()}
        texts = meanings(model)
        for key, value in section.items():
            inner = section_of(model, fields[key])
            if inner is not None and isinstance(value, dict):
                check(inner, value)
            elif fields[key] in texts:
                plain = re.sub(r"\[([^]]+)]\([^)]+\)", r"\1", texts[fields[key]]).replace("`", "")
                assert plain in said, f"{key}: {plain}"

    document = yaml.safe_load(text)
    check(params.RECIPES["slides"], document)
    of_others = {"annotations", "mask_values", "mask_colours", "label"} if name == "slides-mil" else set()
    assert set(document["cohort"]) == set(SlidesCohort.model_fields) - of_others


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_of_the_project_loads(name: str) -> None:
    recipe = params.load_recipe(ROOT, name)
    assert type(recipe) is params.RECIPES[recipe.family]
    others = {("rgb_mask", "biopsy"), ("slides", "mil")}
    assert recipe.family in name or (recipe.family, name.removeprefix("demo-")) in others
    assert params.is_drawn(recipe.cohort) == name.startswith("demo-")
    classifies = name in ("slides", "demo-slides") or ("camelyon" in name and "segmentation" not in name)
    of_slides = "slide_labels" if name.endswith("-mil") else "segmentation"
    assert recipe.task == ("patch_classification" if classifies else of_slides)


@pytest.mark.parametrize("name", RECIPES)
def test_every_key_that_dvc_looks_for_stands_in_the_recipe(name: str) -> None:
    """DVC refuses a stage whose parameters are not in the file, whatever the models fill in."""
    document = yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values():
        for entry in stage.get("params", []):
            for file, keys in entry.items() if isinstance(entry, dict) else ():
                for key in keys if file.startswith("recipes/") else ():
                    section, _, inner = key.partition(".")
                    assert section in document, f"{name}: {key}"
                    assert not inner or inner in document[section], f"{name}: {key}"


def test_a_segmentation_of_outlines_has_the_two_classes_that_they_tell_apart() -> None:
    document = yaml.safe_load((ROOT / "recipes" / "camelyon-segmentation.yaml").read_text())
    assert params.check_recipe("x", document).task == "segmentation"
    three = document | {"classes": ["normal", "tumor", "stroma"], "positive": ["tumor"]}
    with pytest.raises(RecipeError, match=r"^x: classes = .*: must be \[normal, tumor\], which are what the outlines"):
        params.check_recipe("x", three)


def test_the_project_loads_and_its_run_list_exists() -> None:
    project = params.load_project(ROOT)
    assert set(project.recipes) <= set(RECIPES)


def test_an_unknown_key_is_named_with_its_value_and_the_allowed_ones(root: Path) -> None:
    text = refusal(root, "  lr: 0.0003", "  lrr: 0.0003")
    assert text.startswith("train.lrr = 0.0003: unknown key; allowed here: ")
    allowed = text.partition("allowed here: ")[2].split(", ")
    assert allowed == sorted(params.Train.model_fields)
    assert set(yaml.safe_load(DEMO)["train"]) <= set(allowed)


def test_an_unknown_section_and_a_nested_key_name_what_is_allowed_there(root: Path) -> None:
    assert "validate" in refusal(root, "quantify:", "quantity:").partition("allowed here: ")[2].split(", ")
    text = refusal(root, "terms: {cross_entropy: 1.0}", "trms: {cross_entropy: 1.0}")
    assert "train.loss.trms = {'cross_entropy': 1.0}: unknown key; allowed here: class_weights, focal_gamma," in text


@pytest.mark.parametrize(
    ("name", "own", "foreign"),
    [
        ("demo-camelyon", "none_group, not_exhaustive", "colours: {}"),
        ("demo-panda", "doubtful, doubtful_policy, exclude, folds, mask_values, max_bad_fraction", "labels: mask"),
        ("demo-biopsy", "colours, exclude, folds, max_bad_fraction, max_near_fraction, max_pixels", "protocol: random"),
        ("demo-pannuke", "probe_tiles, protocol, root", "doubtful: []"),
    ],
)
def test_a_key_of_another_family_is_unknown_and_the_own_ones_are_named(root, name, own: str, foreign: str) -> None:
    text = refusal(root, "  root: ", f"  {foreign}\n  root: ", name)
    assert text.startswith(f"cohort.{foreign.partition(':')[0]} = ")
    assert "; " not in text.removeprefix(f"cohort.{foreign.partition(':')[0]} = ").partition("; allowed here: ")[2]
    assert own in text.partition(": unknown key; allowed here: ")[2]


def test_every_wrong_key_is_said_in_the_one_line(root: Path) -> None:
    text = refusal(root, "lr: 0.0003\n  weight_decay: 0.0", "lr: -1\n  weight_decay: heavy")
    assert "train.lr = -1" in text
    assert "train.weight_decay = 'heavy'" in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lr: 0.0003", "lr: '0.0003'", "train.lr = '0.0003': Input should be a valid number"),
        ("batch_size: 16", "batch_size: 16.5", "train.batch_size = 16.5: Input should be a valid integer"),
        ("batch_size: 16", "batch_size: true", "train.batch_size = True: Input should be a valid integer"),
        ("ohem: false", "ohem: 0", "train.loss.ohem = 0: Input should be a valid boolean"),
        (QUANTIFY, "quantify:", "quantify = None: Input should be a valid dictionary"),
        ("lr: 0.0003", "lr: 0", "train.lr = 0: Input should be greater than 0"),
        ("lr: 0.0003", "lr: .inf", "train.lr = inf: Input should be a finite number"),
        ("lr: 0.0003", "lr: .nan", "train.lr = nan: "),
        ("val_fraction: 0.36", "val_fraction: 1.0", "cohort.val_fraction = 1.0: Input should be less than 1"),
        ("jpeg_quality: 90", "jpeg_quality: 101", "extract.jpeg_quality = 101: "),
        ("backend: lmdb", "backend: zarr", "extract.backend = 'zarr': Input should be 'lmdb', 'hdf5' or 'files'"),
        ("none_group: refuse", "none_group: drop", "cohort.none_group = 'drop': Input should be 'refuse', 'tumor'"),
        ("balance: [train, val]", "balance: [train, dev]", "sample.balance.1 = 'dev': Input should be 'train'"),
        ("family: camelyon", "family: glas", "family = 'glas'; allowed are camelyon, panda, rgb_mask, pannuke"),
        ("family: camelyon", "family: [panda]", "family = ['panda']; allowed are camelyon"),
        ("family: camelyon", "", "family: missing; allowed are camelyon"),
        ("family: camelyon", "family: panda", "cohort.mask_values: missing"),
        (
            "task: patch_classification",
            "task: regression",
            "task = 'regression': Input should be 'patch_classification'",
        ),
        ("task: patch_classification", "task: segmentation", "train.encoder: missing; name a timm network for task"),
        ('title: "', 'titel: "', "title: missing; give it a value"),
        ("splits: [test]", "splits: []", "infer.splits = []: "),
        ("picture_px: 900", "picture_px: 900\n  views: -1", 'found duplicate key "views"'),
        ("views: 3", "views: -1", "report.views = -1: Input should be greater than or equal to 0"),
        ("  level: 0\n", "  level: 0\n  mpp: 0.5\n", "index: give exactly one of level and mpp"),
        ("  level: 0\n", "", "index: give exactly one of level and mpp"),
        ("  level: 0\n", "  mpp: 0.04\n", "index.mpp = 0.04: Input should be greater than or equal to 0.05"),
        (
            "normal_max_fraction: 0.0",
            "normal_max_fraction: 0.5",
            "normal_max_fraction = 0.5 must be below tumor_min_fraction = 0.5",
        ),
        (
            "patch_px: 128\n  stride_px: 128",
            "patch_px: 64\n  stride_px: 64",
            "infer.stride_px = 96: must not exceed index.patch_px = 64",
        ),
        ("stride_px: 128", "stride_px: 128\n  cell_px: 129", "cell_px = 129 must not exceed patch_px = 128"),
        ("stride_px: 128", "stride_px: 128\n  cell_px: 95", "infer.stride_px = 96: must not exceed index.cell_px = 95"),
        (
            "classes: [normal, tumor]\npositive: [tumor]",
            "classes: [tumor, normal]",
            "classes = ['tumor', 'normal']: must be [normal, tumor]",
        ),
        ("classes: [normal, tumor]", "classes: [normal]", "classes = ['normal']: List should have at least 2 items"),
        ("classes: [normal, tumor]", "classes: [normal, ../x]", "classes.1 = '../x': String should match pattern"),
        ("classes: [normal, tumor]", "classes: normal", "classes = 'normal': Input should be a valid list"),
        (
            "  val_fraction",
            "  mask_values: {256: tumor}\n  val_fraction",
            "cohort.mask_values: key 256: Input should be",
        ),
        (
            "  val_fraction",
            "  mask_values: {1: stroma}\n  val_fraction",
            "cohort.mask_values.1 = 'stroma': Input should",
        ),
        (f"{QUANTIFY}\n", "", "quantify: missing"),
        ("root: data/demo/camelyon", "mpp: 0.5", "cohort.root: missing"),
    ],
)
def test_wrong_types_and_impossible_values_are_refused(root: Path, old: str, new: str, said: str) -> None:
    assert said in refusal(root, old, new)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lr: 0.0003", "lr: 0.1\n  lr: 0.2", 'found duplicate key "lr"'),
        ("root: data/demo/camelyon", "root: &here data\n  exclude: {a: *here}", "aliases are not allowed"),
        ("root: data/demo/camelyon", "root: &unused data/demo/camelyon", "anchors and aliases are not allowed"),
        (QUANTIFY, "quantify:\n  <<: {threshold: 0.5}", "a key must be one plain word"),
        ("  froc: true", "  ? [a, b]\n  : 1", "a key must be one plain word"),
        ("  froc: true", "  {threshold", "not valid YAML"),
        ("  froc: true", "  froc: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_yaml_that_says_two_things_or_hides_one_is_refused(root: Path, old: str, new: str, said: str) -> None:
    assert said in refusal(root, old, new)


def test_a_duplicate_key_is_named_with_its_line(root: Path) -> None:
    line = DEMO[: DEMO.index("  lr: 0.0003")].count("\n") + 2
    assert f"line {line}," in refusal(root, "  lr: 0.0003", "  lr: 0.1\n  lr: 0.2")


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("3E-5", 3e-5), ("1.e-3", 1e-3), ("+2e-2", 0.02), ("2", 2.0)]
)
def test_numbers_are_read_as_people_mean_them(root: Path, text: str, value: float) -> None:
    assert yaml.safe_load("1e-4") == "1e-4"  # what YAML 1.1 makes of it
    assert load(root, "lr: 0.0003", f"lr: {text}").train.lr == value


@pytest.mark.parametrize("name", [f"recipes/{name}" for name in RECIPES] + ["params"])
def test_a_file_is_read_as_dvc_reads_it_and_rewritten_without_a_change_is_the_same_text(name: str) -> None:
    """What DVC tracks is then what a stage gets, and a sweep changes the lines of its keys only."""
    from dvc.utils.serialize import load_yaml

    path = ROOT / f"{name}.yaml"
    assert strict_yaml.read_mapping(path) == load_yaml(str(path))
    assert strict_yaml.rewritten(path, lambda _: None) == path.read_text()


SEGMENTATION = [
    ("demo-panda", "positive: [cancer]", "positive: [tumor]", "positive = ['tumor']: must name some of cancer"),
    ("demo-panda", "positive: [cancer]", "positive: [other]", "positive = ['other']: must name some of cancer"),
    ("demo-panda", "positive: [cancer]", "positive: []", "positive = []: must name some of cancer"),
    ("demo-panda", "positive: [cancer]", "positive: [cancer, cancer]", "each once"),
    ("demo-panda", "[other, cancer]", "[cancer, cancer]", "classes = ['cancer', 'cancer']: must be different names"),
    (
        "demo-panda",
        "[other, cancer]",
        "[other, ignore]",
        "classes = ['other', 'ignore']: must be different names, none",
    ),
    (
        "demo-panda",
        "5: cancer",
        "5: gleason5",
        "cohort.mask_values.radboud names gleason5; allowed are other, cancer, ig",
    ),
    (
        "demo-panda",
        "    karolinska:",
        "    leipzig:",
        "cohort.mask_values: key 'leipzig': Input should be 'karolinska'",
    ),
    (
        "demo-panda",
        "{0: other, 1",
        "{zero: other, 1",
        "cohort.mask_values.karolinska: key 'zero': Input should be a val",
    ),
    ("demo-panda", "{0: other, 1", "{0: 7, 1", "cohort.mask_values.karolinska.0 = 7: Input should be a valid string"),
    (
        "demo-biopsy",
        "[255, 255, 0]",
        "[255, 256, 0]",
        "cohort.colours.yellow.1 = 256: Input should be less than or equal",
    ),
    ("demo-biopsy", "[255, 255, 0]", "[255, 255]", "cohort.colours.yellow = [255, 255]: List should have at least 3"),
    ("demo-biopsy", "[255, 255, 0]", "yellow", "cohort.colours.yellow = 'yellow': Input should be a valid list"),
    ("demo-biopsy", "[255, 255, 0]", "[0, 255, 0]", "cohort: colours gives two classes one colour"),
    (
        "demo-biopsy",
        "    yellow: ",
        "    amber: ",
        "cohort.colours names background, amber, grey, green, blue, red; must",
    ),
    (
        "demo-biopsy",
        "    yellow: [255, 255, 0]\n",
        "",
        "must give a colour to background, yellow, grey, green, blue, red,",
    ),
    (
        "demo-biopsy",
        "tolerance: 16",
        "tolerance: 128",
        "cohort.tolerance = 128: Input should be less than or equal to 127",
    ),
    (
        "demo-biopsy",
        "[0.5, 0.7, 0.7, 0.9, 0.9, 0.9]",
        "[1, 2]",
        "train.loss.class_weights = [1.0, 2.0]: 2 numbers for 6",
    ),
    ("demo-biopsy", "[0.5, 0.7,", "[0.5, 0.0,", "train.loss.class_weights.1 = 0.0: Input should be greater than 0"),
    ("demo-biopsy", "[0.5, 0.7,", "[0.5, x,", "train.loss.class_weights.1 = 'x': Input should be a valid number"),
    (
        "demo-biopsy",
        "[0.5, 0.7, 0.7, 0.9, 0.9, 0.9]",
        "heavy",
        "train.loss.class_weights = 'heavy': must be balanced, equa",
    ),
    (
        "demo-biopsy",
        "[0.5, 0.7, 0.7, 0.9, 0.9, 0.9]",
        "null",
        "train.loss.class_weights = None: must be balanced, equal ",
    ),
    ("demo-biopsy", "{cross_entropy: 1.0}", "{}", "train.loss.terms: Dictionary should have at least 1 item"),
    (
        "demo-biopsy",
        "{cross_entropy: 1.0}",
        "{dicee: 1.0}",
        "train.loss.terms: key 'dicee': no such loss; allowed are cross_entropy, ",
    ),
    ("demo-biopsy", "{cross_entropy: 1.0}", "{dice: 0}", "train.loss.terms.dice = 0: Input should be greater than 0"),
    ("demo-biopsy", "  encoder: tf_efficientnet_lite0\n", "", "train.encoder: missing; name a timm network"),
    (
        "demo-biopsy",
        "positive_augmentation: false",
        "positive_augmentation: true",
        "train.positive_augmentation = True: ",
    ),
    (
        "demo-biopsy",
        "  level: 1",
        "  level: 1\n  cell_px: 64",
        "index.cell_px = 64: is for task patch_classification; w",
    ),
    (
        "demo-pannuke",
        "neoplastic, inflammatory",
        "inflammatory, neoplastic",
        "must be [background, neoplastic, inflamm",
    ),
    ("demo-pannuke", "official-1", "official-4", "cohort.protocol = 'official-4': Input should be 'official-1', 'off"),
    (
        "demo-camelyon",
        "{cross_entropy: 1.0}",
        "{dice: 1.0}",
        "train.loss.terms: dice need task segmentation; allowed here",
    ),
    (
        "demo-camelyon",
        "  weights: package",
        "  encoder: resnet18\n  weights: none",
        "train.encoder = 'resnet18': is for",
    ),
    (
        "demo-camelyon",
        "  loss:",
        "  hard_negatives: {epochs: 1}\n  loss:",
        "train.hard_negatives.epochs = 1: is for task seg",
    ),
    (
        "demo-camelyon",
        "  warmup_share: 0.25",
        "  crop_px: 32",
        "train.crop_px = 32: is for task segmentation, since a label is of the whole patch; write null",
    ),
    ("demo-panda", "crop_px: null", "crop_px: 129", "train.crop_px = 129: must not exceed index.patch_px = 128"),
    (
        "demo-panda",
        "input_px: null\n  crop_px: null",
        "input_px: 64\n  crop_px: 64",
        "train.input_px = 64: must be null where",
    ),
    ("demo-panda", "final: train ", "final: train+val ", "train.final = train+val: grade.target = isup chooses its"),
    (
        "demo-biopsy",
        "final: train ",
        "final: train+val\n  hard_negatives: {epochs: 1}\n  # ",
        "train.final = train+val: a last fit makes no second pass",
    ),
    ("demo-camelyon", "  bias: false", "  bias: true", "calibrate.bias = True: is for task segmentation"),
    ("demo-camelyon", "class_weights: balanced", "class_weights: [1, 2, 3]", "3 numbers for 2 classes (normal, tumor)"),
]


@pytest.mark.parametrize(
    ("name", "old", "new", "said"), SEGMENTATION, ids=[f"{c[0]}-{c[2][:24]}" for c in SEGMENTATION]
)
def test_what_does_not_fit_together_is_said_once_with_key_value_and_remedy(root, name, old, new, said) -> None:
    text = refusal(root, old, new, name)
    assert said in text
    assert text.count("Input should") + text.count("must be") <= 1, text  # not once per branch of a union


LATE = [  # what a stage would refuse too, after all that comes before it
    (
        "demo-camelyon",
        "backend: lmdb\n  codec: jpeg",
        "backend: files\n  codec: raw",
        "extract.codec = 'raw' makes no image files, which extract.backend = 'files' keeps; choose a codec of jpeg, ",
    ),
    ("demo-camelyon", "weights: package", "weights: imagnet", "train.weights = 'imagnet': unknown; use none (from scr"),
    (
        "demo-camelyon",
        "model: tf_efficientnet_lite0",
        "model: resnet18",
        "train.weights = 'package' holds tf_efficientnet_lite0 only, found train.model = 'resnet18'; set train.model: ",
    ),
    (
        "demo-panda",
        "encoder: tf_efficientnet_lite0",
        "encoder: resnet18",
        "train.weights = 'package' holds tf_efficientnet_lite0 only, found train.encoder = 'resnet18'; set train.enco",
    ),
    (
        "demo-panda",
        "encoder: model\n  weights: none",
        "encoder: resnet18\n  weights: package",
        "embed.weights = 'package' holds tf_efficientnet_lite0 only, found embed.encoder = 'resnet18'; set embed.enco",
    ),
    (
        "demo-camelyon",
        "map_downsample: 32.0",
        "map_downsample: 129.0",
        "map downsample 129 is larger than a window of 128 level-0 px; lower infer.map_downsample to at most 128",
    ),
    (
        "demo-camelyon-context",
        "map_downsample: 128.0",
        "map_downsample: 64.0",
        "infer.map_downsample = 64, but a cell of 128 px is 128 level-0 px; write that, so that the map has one value",
    ),
]


@pytest.mark.parametrize(("name", "old", "new", "said"), LATE, ids=[f"{c[0]}-{c[2][:24]}" for c in LATE])
def test_what_a_stage_would_refuse_hours_later_is_refused_when_the_recipe_is_read(root, name, old, new, said) -> None:
    assert refusal(root, old, new, name).startswith(said)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("demo-camelyon", "backend: lmdb\n  codec: jpeg", "backend: files\n  codec: source"),
        ("demo-camelyon", "backend: lmdb\n  codec: jpeg", "backend: hdf5\n  codec: raw"),
        ("demo-camelyon", "weights: package", "weights: mine/w.safetensors"),
        ("demo-camelyon", "encoder: model\n  weights: none", "encoder: resnet18\n  weights: package"),  # target: none
        ("demo-camelyon", "map_downsample: 32.0", "map_downsample: 128.0"),
        ("demo-biopsy", "map_downsample: 2.0", "map_downsample: 400.0"),  # level 1: what a px of it is, the slide says
        ("demo-camelyon-context", "map_downsample: 128.0", "map_downsample: 128.02"),  # pyramids round their sizes
    ],
)
def test_what_may_be_possible_is_not_refused(root: Path, name: str, old: str, new: str) -> None:
    load(root, old, new, name)


def test_what_the_recipe_knows_of_codecs_and_cells_is_what_the_stages_hold() -> None:
    from acinus.patches.codec import CODECS
    from acinus.slides.geometry import MPP_TOLERANCE

    assert [name for name, codec in CODECS.items() if codec.suffix] == list(faults.IMAGE_CODECS)
    assert faults.CELL_TOLERANCE == MPP_TOLERANCE


@pytest.mark.parametrize("key", ["ohem: true", "ohem_ratio: 2.0"])
def test_mining_of_a_classifier_is_refused_to_a_segmentation_only_when_used(root: Path, key: str) -> None:
    old, new = "class_weights: [0.5, 1.0, 1.0, 2.0, 10.0, 1.0]", f"class_weights: equal\n    {key}"
    if key == "ohem: true":
        assert refusal(root, old, new, "demo-pannuke").startswith("train.loss.ohem = True: is for task patch_classif")
    else:
        assert load(root, old, new, "demo-pannuke").train.loss.ohem_ratio == 2.0


def test_positive_is_every_class_but_the_first_unless_said(root: Path) -> None:
    assert load(root, "positive: [tumor]\n", "").positive == ["tumor"]
    assert load(root, "classes: [normal, tumor]\npositive: [tumor]\n", "").positive == ["tumor"]
    six = ["neoplastic", "inflammatory", "connective", "dead", "epithelial"]
    text = (ROOT / "recipes" / "demo-pannuke.yaml").read_text()
    start, end = text.index("classes: "), text.index("cohort:")
    assert load(root, text[start:end], "", "demo-pannuke").positive == six  # the family's own classes
    assert load(root, "positive: [neoplastic, ", "positive: [", "demo-pannuke").positive == six[1:]


def test_class_weights_are_a_rule_or_numbers(root: Path) -> None:
    assert load(root, "max_epochs: 3", "max_epochs: 3", "demo-biopsy").train.loss.class_weights == [
        *(0.5, 0.7, 0.7, 0.9, 0.9, 0.9)
    ]
    for rule in ("balanced", "equal"):
        known = load(root, "class_weights: [0.5, 1.0, 1.0, 2.0, 10.0, 1.0]", f"class_weights: {rule}", "demo-pannuke")
        assert known.train.loss.class_weights == rule


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "x.yaml", "x\n", "-x"])
def test_a_recipe_name_that_could_be_a_path_is_refused(root: Path, name: str) -> None:
    with pytest.raises(RecipeError, match="letters, digits, _ and - only") as caught:
        params.load_recipe(root, name)
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_lists_the_known_ones(root: Path) -> None:
    for name in ("b", "a"):
        (root / "recipes" / f"{name}.yaml").write_text(DEMO)
    with pytest.raises(RecipeError, match=r"recipes/nope\.yaml: no such file; files there: a, b$"):
        params.load_recipe(root, "nope")


@pytest.mark.parametrize("content", [b"", b"- a", b"just text", b"\xff\xfe\x00"])
def test_a_file_that_holds_no_sections_is_refused(root: Path, content: bytes) -> None:
    (root / "recipes" / "mine.yaml").write_bytes(content)
    with pytest.raises(RecipeError, match=r"mine\.yaml: "):
        params.load_recipe(root, "mine")


def test_a_folder_in_place_of_a_recipe_is_one_line(root: Path) -> None:
    (root / "recipes" / "mine.yaml").mkdir()
    with pytest.raises(AcinusError, match=r"mine\.yaml: cannot be read"):
        params.load_recipe(root, "mine")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  - demo-camelyon", "  - demo-camelyon\n  - demo-camelyon", "recipes names a recipe twice"),
        ("  - demo-slides", "  - ../x", "recipes.0 = '../x'"),
        ("raw_cohorts: []", "raw_cohorts: [other]", "raw_cohorts names other, which recipes does not list"),
        ("scheduler: local", "scheduler: slurm", "compute.scheduler = 'slurm'"),
        ("scheduler: local", "scheduler: tcp://host", "compute.scheduler = 'tcp://host'"),  # no port
        ("device: cpu", "device: gpu", "compute.device = 'gpu'"),
        ("workers: 2", "workers: 0", "compute.workers = 0"),
        ("seed: 20261121", "seed: -1", "seed = -1"),
        (
            "    - slides\n",
            "    - glas\n",
            "demo.families.0 = 'glas': Input should be 'slides', 'camelyon', 'panda', 'rgb_mask'",
        ),
        ("seed: 20261121", "sead: 1", "sead = 1: unknown key; allowed here: compute, demo, raw_cohorts, recipes, seed"),
    ],
)
def test_params_yaml_is_held_as_strictly(root: Path, old: str, new: str, said: str) -> None:
    path = root / "params.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        params.load_project(root)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_sections_cannot_be_changed_later() -> None:
    recipe = params.load_recipe(ROOT, "demo-camelyon")
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        recipe.train.lr = 1.0


def choices(model: type[pydantic.BaseModel], field: str) -> set[Any]:
    return set(get_args(model.model_fields[field].annotation))


def test_choices_are_the_registries_they_name() -> None:
    from acinus.learning.losses import LOSSES, TERMS
    from acinus.learning.predict import PASSES
    from acinus.patches.codec import CODECS
    from acinus.patches.store import BACKENDS
    from acinus.stages.demo import FAMILIES as DRAWN
    from acinus.stages.ingest import FAMILIES

    assert choices(params.Infer, "tta") == set(PASSES)
    assert choices(params.Extract, "backend") == set(BACKENDS)
    assert choices(params.Extract, "codec") == set(CODECS)
    assert set(params.RECIPES) == set(FAMILIES) >= set(DRAWN) - {"mil"}  # which is read by family slides
    for family, recipe in params.RECIPES.items():
        assert choices(recipe, "family") == {family}
    assert set(TERMS) == set(get_args(Term))
    assert set(LOSSES) == {"cross_entropy", "focal"}  # what a classifier's recipe may name
    reductions = {name.removeprefix("score_") for name in records.QUANTITIES.schema.names if name.startswith("score_")}
    assert choices(params.Report, "slide_score") == reductions


def test_families_to_draw_have_a_section_and_are_families_of_recipes() -> None:
    from acinus.stages.demo import FAMILIES

    (annotation,) = get_args(params.Demo.model_fields["families"].annotation)
    drawn = set(get_args(annotation))
    assert drawn == set(params.Demo.model_fields) - {"families"} == set(FAMILIES) <= {*params.RECIPES, "mil"}


def test_weights_with_a_name_of_their_own_are_known_and_another_is_refused() -> None:
    from acinus.learning.models import build_model
    from acinus.learning.weights import ModelSpec

    for weights in ("nothing", "imagenet21k"):
        with pytest.raises(AcinusError, match=r"none .*imagenet .*package .*\.safetensors"):
            build_model(ModelSpec(task="patch_classification", name="resnet18", weights=weights, classes=2))
    for name in RECIPES:
        weights = params.load_recipe(ROOT, name).train.weights
        assert weights in {"none", "imagenet", "package"} or weights.endswith(".safetensors")


def test_section_hash_depends_on_values_only() -> None:
    one, same = params.Train(lr=0.5), params.Train(**{"batch_size": 32, "lr": 0.5})  # the default said aloud
    assert params.section_hash(one, "a", 1) == params.section_hash(same, "a", 1)
    others = [params.section_hash(params.Train(lr=0.25), "a", 1), params.section_hash(one, "b", 1)]
    assert params.section_hash(one, "a", 1) not in others
    named = params.Train(lr=0.5, loss=params.Loss(class_weights=[1.0, 2.0]))
    assert params.section_hash(named) != params.section_hash(one)
    assert len(params.section_hash(None)) == 64


@pytest.mark.parametrize(
    ("folder", "drawn"),
    [("data/demo/camelyon", True), ("data/demonstration", False), ("/data/demo/x", False), ("~/CAMELYON16", False)],
)
def test_only_cohorts_below_data_demo_are_drawn(folder: str, drawn: bool) -> None:
    assert params.is_drawn(params.Cohort(root=folder)) is drawn


def test_a_cohort_lies_where_its_root_says_from_the_project_or_from_home(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for said, place in {"data/x": "project/data/x", "~/x": "home/x", str(tmp_path / "raw"): "raw"}.items():
        assert params.cohort_root(tmp_path / "project", "mine", params.Cohort(root=said)) == tmp_path / place
    with pytest.raises(RecipeError, match=r"recipes/mine\.yaml: cohort\.root = '~nobody-here/x': no such user's home"):
        params.cohort_root(tmp_path, "mine", params.Cohort(root="~nobody-here/x"))


def test_a_relative_cohort_is_the_projects_own_in_a_copy_that_dvc_works_in(tmp_path: Path) -> None:
    """`dvc exp run --temp` copies what git and DVC know, and a cohort outside both is not among it."""
    project = tmp_path / "project"
    copy = project / ".dvc" / "tmp" / "exps" / "tmp1"
    copy.mkdir(parents=True)
    slides, drawn = params.Cohort(root="slides"), params.Cohort(root="data/demo/camelyon")
    assert params.cohort_root(copy, "mine", slides) == project / "slides"
    assert params.cohort_root(copy, "mine", drawn) == copy / "data" / "demo" / "camelyon"
    (copy / "slides").mkdir()  # a small cohort that git knows
    assert params.cohort_root(copy, "mine", slides) == copy / "slides"


@pytest.mark.parametrize("name", params.RESERVED)
def test_a_recipe_may_not_take_the_name_of_a_folder_of_the_project(root: Path, name: str) -> None:
    with pytest.raises(RecipeError, match="are folders of the project"):
        params.load_recipe(root, name)


@pytest.mark.parametrize("text", ["a: 2020-13-45", "a: " + "9" * 5000, "[" * 3000], ids=["date", "number", "nesting"])
def test_what_yaml_itself_stumbles_over_is_one_line(root: Path, text: str) -> None:
    (root / "recipes" / "odd.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"odd.yaml: not valid YAML"):
        params.load_recipe(root, "odd")


def test_no_slides_to_infer_is_refused(root: Path) -> None:
    assert "infer.splits" in refusal(root, "splits: [test]", "splits: []")


MANY = [
    ("task: segmentation", "task: patch_classification"),
    ("  encoder: tf_efficientnet_lite0\n", ""),
    ("  model: unet", "  model: tf_efficientnet_lite0"),
    ("  trials: 4\n  objective: miou", "  trials: 4\n  objective: auc_macro"),
    ("  tumor_min_fraction: 0.1\n", "  min_class_fraction: 0.7\n"),
    ("  normal_per_tumor: 0.0 #", "  max_class_ratio: 2.0 #"),
]
"""What makes the segmentation of rasters a classification of their patches by six classes."""


def many(root: Path, *changes: tuple[str, str]) -> params.Recipe:
    text = (ROOT / "recipes" / "demo-biopsy.yaml").read_text()
    for old, new in (*MANY, *changes):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (root / "recipes" / "many.yaml").write_text(text)
    return params.load_recipe(root, "many")


def test_patches_may_be_of_more_than_two_classes(root: Path) -> None:
    recipe = many(root)
    assert recipe.many_labels
    assert (recipe.index.min_class_fraction, recipe.sample.max_class_ratio) == (0.7, 2.0)
    assert params.with_values(recipe, {"lr": 0.01}).index.min_class_fraction == 0.7
    plain = many(root, ("  min_class_fraction: 0.7\n", ""))
    assert plain.index.min_class_fraction == 0.5
    assert params.with_values(plain, {"lr": 0.01}).index == plain.index


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  min_class_fraction: 0.7\n", "  tumor_min_fraction: 0.1\n", "tumor_min_fraction = 0.1: is for two classes"),
        ("  min_class_fraction: 0.7\n", "  normal_max_fraction: 0.1\n", "set index.min_class_fraction"),
        ("  min_class_fraction: 0.7\n", "  min_class_fraction: 0.0\n", "min_class_fraction = 0.0: Input should be"),
        ("max_class_ratio: 2.0", "normal_per_tumor: 2.0", "leave it out and set sample.max_class_ratio"),
        ("max_class_ratio: 2.0", "max_class_ratio: 0.5", "sample.max_class_ratio = 0.5: Input should be greater"),
        ("  scheme: balanced", "  scheme: cells", "sample.scheme = cells: "),
        ("objective: auc_macro", "objective: patch_auc", "allowed for task patch_classification: accuracy, auc_macro"),
    ],
)  # fmt: skip
def test_keys_of_two_classes_are_refused_where_there_are_more(root: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)):
        many(root, (old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  tumor_min_fraction: 0.5\n", "  min_class_fraction: 0.7\n", "min_class_fraction = 0.7: is for task p"),
        ("  normal_per_tumor: 1.0\n", "  max_class_ratio: 2.0\n", "set sample.normal_per_tumor"),
    ],
)  # fmt: skip
def test_keys_of_more_classes_are_refused_where_there_are_two(root: Path, old: str, new: str, said: str) -> None:
    assert said in refusal(root, old, new)


def test_two_classes_of_any_name_may_be_told_apart_patch_by_patch(root: Path) -> None:
    text = (ROOT / "recipes" / "demo-biopsy.yaml").read_text()
    for old, new in (*MANY[:3], ("  trials: 4\n  objective: miou", "  trials: 4\n  objective: patch_auc")):
        text = text.replace(old, new)
    text = text.replace("classes: [background, yellow, grey, green, blue, red]", "classes: [background, yellow]")
    text = text.replace("positive: [yellow, grey, green, blue, red]", "positive: [yellow]")
    text = re.sub(r"    (grey|green|blue|red): \[.*\n", "", text).replace(
        "[0.5, 0.7, 0.7, 0.9, 0.9, 0.9]", "[0.5, 0.7]"
    )
    (root / "recipes" / "two.yaml").write_text(text)
    assert not params.load_recipe(root, "two").many_labels


def test_what_is_written_down_of_two_classes_has_no_key_of_more() -> None:
    """A model's card and its hash are those of before there were any."""
    recipe = params.load_recipe(ROOT, "demo-camelyon")
    assert "min_class_fraction" not in recipe.index.model_dump(mode="json")
    assert "max_class_ratio" not in recipe.sample.model_dump(mode="json")
    again = params.Index.model_validate(recipe.index.model_dump(mode="json"))
    assert again == recipe.index
