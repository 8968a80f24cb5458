"""params.yaml and recipes: what is wrong is said in one line with file, key, value and what is allowed."""

from pathlib import Path
from typing import Any, get_args

import pydantic
import pytest
import yaml

from acinus import params, records
from acinus.errors import AcinusError, RecipeError

ROOT = Path(__file__).resolve().parents[1]
DEMO = (ROOT / "recipes" / "demo-camelyon.yaml").read_text()
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def load(root: Path, old: str, new: str) -> params.Recipe:
    """The demo recipe with one place of its text changed."""
    assert DEMO.count(old) >= 1, old
    (root / "recipes" / "mine.yaml").write_text(DEMO.replace(old, new, 1))
    return params.load_recipe(root, "mine")


def refusal(root: Path, old: str, new: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(root, old, new)
    text = str(caught.value)
    assert text.startswith(f"{root / 'recipes' / 'mine.yaml'}: ")
    assert "\n" not in text
    return text.removeprefix(f"{root / 'recipes' / 'mine.yaml'}: ")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_of_the_project_loads(name: str) -> None:
    recipe = params.load_recipe(ROOT, name)
    assert recipe.family in name


def test_the_project_loads_and_its_run_list_exists() -> None:
    project = params.load_project(ROOT)
    assert set(project.recipes) <= set(RECIPES)


def test_an_unknown_key_is_named_with_its_value_and_the_allowed_ones(root: Path) -> None:
    text = refusal(root, "  lr: 0.0003", "  lrr: 0.0003")
    assert text.startswith("train.lrr = 0.0003: unknown key; allowed here: ")
    allowed = text.partition("allowed here: ")[2].split(", ")
    assert allowed == sorted(yaml.safe_load(DEMO)["train"])  # the demo recipe is complete


def test_an_unknown_section_and_a_nested_key_name_what_is_allowed_there(root: Path) -> None:
    assert "validate" in refusal(root, "quantify:", "quantity:").partition("allowed here: ")[2].split(", ")
    text = refusal(root, "name: cross_entropy", "nme: cross_entropy")
    assert "train.loss.nme = 'cross_entropy': unknown key; allowed here: class_weights, focal_gamma, name" in text


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
        ("quantify:\n  threshold: 0.5", "quantify:", "quantify = None: Input should be a valid dictionary"),
        ("lr: 0.0003", "lr: 0", "train.lr = 0: Input should be greater than 0"),
        ("lr: 0.0003", "lr: .inf", "train.lr = inf: Input should be a finite number"),
        ("lr: 0.0003", "lr: .nan", "train.lr = nan: "),
        ("val_fraction: 0.25", "val_fraction: 1.0", "cohort.val_fraction = 1.0: Input should be less than 1"),
        ("jpeg_quality: 90", "jpeg_quality: 101", "extract.jpeg_quality = 101: "),
        ("backend: lmdb", "backend: zarr", "extract.backend = 'zarr': Input should be 'lmdb', 'hdf5' or 'files'"),
        ("none_group: refuse", "none_group: drop", "cohort.none_group = 'drop': Input should be 'refuse', 'tumor'"),
        ("balance: [train, val]", "balance: [train, dev]", "sample.balance.1 = 'dev': Input should be 'train'"),
        ("family: camelyon", "family: panda", "family = 'panda': Input should be 'camelyon'"),
        ("  level: 0\n", "  level: 0\n  mpp: 0.5\n", "index: give exactly one of level and mpp"),
        ("  level: 0\n", "", "index: give exactly one of level and mpp"),
        ("  level: 0\n", "  mpp: 0.04\n", "index.mpp = 0.04: Input should be greater than or equal to 0.05"),
        ("normal_max_fraction: 0.0", "normal_max_fraction: 0.5", "normal_max_fraction must be below tumor_min"),
        ("patch_px: 128\n  stride_px: 128", "patch_px: 64\n  stride_px: 64", "infer.stride_px must not exceed"),
        ("classes: [normal, tumor]", "classes: [tumor, normal]", "classes must be [normal, tumor]"),
        ("quantify:\n  threshold: 0.5\n", "", "quantify: missing"),
        ("root: data/demo/camelyon", "mpp: 0.5", "cohort.root: missing"),
    ],
)
def test_wrong_types_and_impossible_values_are_refused(root: Path, old: str, new: str, said: str) -> None:
    assert said in refusal(root, old, new)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lr: 0.0003", "lr: 0.1\n  lr: 0.2", "key 'lr' stands twice"),
        ("root: data/demo/camelyon", "root: &here data\n  exclude: {a: *here}", "aliases are not allowed"),
        ("quantify:\n  threshold: 0.5", "quantify:\n  <<: {threshold: 0.5}", "not valid YAML"),
        ("  threshold: 0.5", "  ? [a, b]\n  : 1", "a key must be one plain word"),
        ("  threshold: 0.5", "  {threshold", "not valid YAML"),
        ("  threshold: 0.5", "  threshold: !!python/object/apply:os.getcwd []", "not valid YAML"),
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
        ("  - demo-camelyon", "  - ../x", "recipes.0 = '../x'"),
        ("raw_cohorts: []", "raw_cohorts: [other]", "raw_cohorts names other, which recipes does not list"),
        ("scheduler: local", "scheduler: slurm", "compute.scheduler = 'slurm'"),
        ("scheduler: local", "scheduler: tcp://host", "compute.scheduler = 'tcp://host'"),  # no port
        ("device: cpu", "device: gpu", "compute.device = 'gpu'"),
        ("workers: 2", "workers: 0", "compute.workers = 0"),
        ("seed: 20261121", "seed: -1", "seed = -1"),
        ("    - camelyon\n", "    - panda\n", "demo.families.0 = 'panda'"),
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
    from acinus.learning.losses import LOSSES
    from acinus.patches.codec import CODECS
    from acinus.patches.store import BACKENDS
    from acinus.stages.ingest import FAMILIES

    assert choices(params.Loss, "name") == set(LOSSES)
    assert choices(params.Extract, "backend") == set(BACKENDS)
    assert choices(params.Extract, "codec") == set(CODECS)
    assert choices(params.Recipe, "family") == set(FAMILIES)
    reductions = {name.removeprefix("score_") for name in records.QUANTITIES.schema.names if name.startswith("score_")}
    assert choices(params.Report, "slide_score") == reductions


def test_families_to_draw_have_a_section_and_are_families_of_recipes() -> None:
    (annotation,) = get_args(params.Demo.model_fields["families"].annotation)
    drawn = set(get_args(annotation))
    assert drawn == set(params.Demo.model_fields) - {"families"}
    assert drawn <= choices(params.Recipe, "family")


def test_weights_with_a_name_of_their_own_are_known_and_another_is_refused() -> None:
    from acinus.learning.models import build_model

    for weights in ("nothing", "imagenet21k"):
        with pytest.raises(AcinusError, match=r"none .*imagenet .*package .*\.safetensors"):
            build_model("resnet18", weights, 2)
    for name in RECIPES:
        weights = params.load_recipe(ROOT, name).train.weights
        assert weights in {"none", "imagenet", "package"} or weights.endswith(".safetensors")


def test_section_hash_depends_on_values_only() -> None:
    one, same = params.Train(lr=0.5), params.Train(**{"batch_size": 32, "lr": 0.5})  # the default said aloud
    assert params.section_hash(one, "a", 1) == params.section_hash(same, "a", 1)
    others = [params.section_hash(params.Train(lr=0.25), "a", 1), params.section_hash(one, "b", 1)]
    assert params.section_hash(one, "a", 1) not in others
    assert len(params.section_hash(None)) == 64


@pytest.mark.parametrize(
    ("folder", "drawn"),
    [("data/demo/camelyon", True), ("data/demonstration", False), ("/data/demo/x", False), ("~/CAMELYON16", False)],
)
def test_only_cohorts_below_data_demo_are_drawn(folder: str, drawn: bool) -> None:
    assert params.is_drawn(params.Cohort(root=folder)) is drawn


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
