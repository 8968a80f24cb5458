"""What a recipe asks of the machine is refused before the first stage's work, and no later stage pays for it."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from acinus import execution, preflight
from acinus.cli import RECIPE_STAGES
from acinus.errors import AcinusError, RecipeError
from acinus.execution import join_recipe_stage, prepare, run_recipe_stage
from acinus.params import Project, Recipe, load_project, load_recipe

ROOT = Path(__file__).resolve().parents[1]
CLASSIFIER, SEGMENTER = "demo-camelyon", "demo-panda"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the current folder; MLflow is down there."""
    (tmp_path / "recipes").mkdir()
    settings = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"tracking": {"uri": "http://127.0.0.1:9"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings | {"recipes": ["mine"]}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return tmp_path


def write(project: Path, like: str, changes: dict[str, Any]) -> tuple[Project, Recipe]:
    """Write the recipe `mine`: that of the repository with other values below dotted keys (compute: of params.yaml)."""
    pages = {"params.yaml": project / "params.yaml", "mine": ROOT / "recipes" / f"{like}.yaml"}
    read = {name: yaml.safe_load(path.read_text()) for name, path in pages.items()}
    for key, value in changes.items():
        section, _, name = key.partition(".")
        read["params.yaml" if section == "compute" else "mine"][section][name] = value
    (project / "params.yaml").write_text(yaml.safe_dump(read["params.yaml"]))
    (project / "recipes" / "mine.yaml").write_text(yaml.safe_dump(read["mine"]))
    return load_project(project), load_recipe(project, "mine")


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [  # like, changes, said, the last stage that needs it
    (
        CLASSIFIER,
        {"train.model": "resnet51", "train.weights": "none"},
        "train.model = 'resnet51': timm has no",
        "train",
    ),
    (SEGMENTER, {"train.model": "unett"}, "train.model = 'unett': no such architecture; known are dee", "train"),
    (SEGMENTER, {"train.model": "Unet"}, "train.model = 'Unet': no such architecture; known are dee", "train"),
    (
        SEGMENTER,
        {"train.encoder": "resnet51", "train.weights": "none"},
        "train.encoder = 'resnet51': timm has no such model; close to it: ",
        "train",
    ),
    (
        SEGMENTER,
        {"embed.encoder": "resnet51", "embed.weights": "imagenet"},
        "embed.encoder = 'resnet51': timm has no such model",
        "grade",
    ),
    (
        SEGMENTER,
        {"embed.encoder": "UNI2-h", "embed.weights": "hub"},
        "embed.licence missing: UNI2-h may be used under CC-BY-NC-ND",
        "grade",
    ),
    (
        SEGMENTER,
        {"embed.encoder": "../no", "embed.weights": "hub"},
        "embed.encoder = '../no': no such file or folder",
        "grade",
    ),
    (
        CLASSIFIER,
        {"train.weights": "mine/w.safetensors"},
        "train.weights = 'mine/w.safetensors': no such file; put it there or name another",
        "train",
    ),
    (
        CLASSIFIER,
        {"train.weights": "~nobody-of-that-name/w.safetensors"},
        "train.weights = '~nobody-of-that-name/w.safetensors': no such user's home",
        "train",
    ),
    (CLASSIFIER, {"train.precision": "16-mixed"}, "train.precision = '16-mixed' trains on a GPU only, found", "train"),
    (CLASSIFIER, {"infer.precision": "bf16-mixed"}, "infer.precision = 'bf16-mixed' runs on a GPU only, f", "infer"),
    (
        CLASSIFIER,
        {"infer.engine": "openvino", "compute.device": "cuda"},
        "infer.engine = 'openvino' runs on a CPU only, found device cuda; set",
        "infer",
    ),
    (
        CLASSIFIER,
        {"infer.engine": "openvino", "compute.compile": True},
        "infer.engine = 'openvino' with compute.compile: true; ",
        "infer",
    ),
    (
        CLASSIFIER,
        {
            "tune.trials": 3,
            "tune.objective": "patch_auc",
            "tune.space": {"model": {"choices": ["resnet18", "resnet51"]}},
            "train.weights": "none",
        },
        "train.model = 'resnet51': timm has no such model",
        "train",
    ),
]


@pytest.mark.parametrize(("like", "changes", "said", "last"), REFUSED, ids=[str(one[1])[:50] for one in REFUSED])
def test_every_stage_that_comes_before_refuses_it_and_none_behind(
    project: Path, like: str, changes: dict[str, Any], said: str, last: str
) -> None:
    known = write(project, like, changes)
    needs_it = preflight.WAY[: preflight.WAY.index(last) + 1]
    for stage in (None, *needs_it):
        with pytest.raises(RecipeError) as refused:
            preflight.check(project, known[0], "mine", known[1], stage)
        assert str(refused.value).startswith(f"recipes/mine.yaml: {said}")
        assert "\n" not in str(refused.value)
    for stage in preflight.WAY[len(needs_it) :]:
        preflight.check(project, known[0], "mine", known[1], stage)


def test_the_first_stage_a_joining_worker_and_making_ready_begin_with_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, CLASSIFIER, {"train.weights": "mine/w.safetensors"})
    begun: list[str] = []
    monkeypatch.setattr(execution, "_stage_function", lambda *_: lambda stage: begun.append(stage.name))
    with pytest.raises(RecipeError, match="no such file; put it there"):
        run_recipe_stage("inventory", "mine")
    with pytest.raises(RecipeError, match="no such file; put it there"):
        join_recipe_stage("inventory", "mine", lambda _: pytest.fail("the work began"))
    with pytest.raises(RecipeError, match="no such file; put it there"):
        prepare(project)
    assert sorted(one.name for one in project.iterdir()) == ["params.yaml", "recipes"]
    (project / "mine").mkdir()
    (project / "mine" / "w.safetensors").touch()
    assert not begun
    run_recipe_stage("inventory", "mine")
    assert begun == ["inventory"]


@pytest.mark.parametrize("installed", [True, False])
def test_openvino_is_refused_where_it_is_not_installed(
    project: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    known, asked = write(project, CLASSIFIER, {"infer.engine": "openvino"}), importlib.util.find_spec
    there = asked("json") if installed else None
    monkeypatch.setattr(preflight, "find_spec", lambda name: there if name == "openvino" else asked(name))
    if installed:
        preflight.check(project, *known[:1], "mine", known[1], "ingest")
        return
    with pytest.raises(
        RecipeError,
        match=r"^recipes/mine.yaml: infer.engine = 'openvino': .* install the extra openvino: make install, or pip ",
    ):
        preflight.check(project, known[0], "mine", known[1], "ingest")


@pytest.mark.parametrize(
    ("like", "changes", "said"),
    [
        (CLASSIFIER, {"train.model": "tf_efficientnet_lite0", "train.weights": "package"}, "train"),
        (SEGMENTER, {"embed.encoder": "tf_efficientnet_lite0", "embed.weights": "package"}, "embed"),
    ],
)
def test_the_package_of_weights_is_refused_where_it_is_not_installed(
    project: Path, monkeypatch: pytest.MonkeyPatch, like: str, changes: dict[str, Any], said: str
) -> None:
    changes = {"train.weights": "none"} | changes
    known, asked = write(project, like, changes), importlib.util.find_spec
    preflight.check(project, known[0], "mine", known[1], "ingest")
    monkeypatch.setattr(preflight, "find_spec", lambda name: None if name == preflight.PACKAGE else asked(name))
    with pytest.raises(
        RecipeError, match=rf"^recipes/mine.yaml: {said}.weights = 'package': .* install the extra weights: make"
    ):
        preflight.check(project, known[0], "mine", known[1], "ingest")


@pytest.mark.parametrize(
    "place", ["data/mine", "data/mine/slides", "data", ".", "models", "reports/x", "data/demo/../mine"]
)
@pytest.mark.parametrize("stage", [None, "watch", "quantify"])
def test_a_cohort_where_the_pipeline_writes_is_refused(project: Path, place: str, stage: str | None) -> None:
    known = write(project, SEGMENTER, {"cohort.root": place})
    with pytest.raises(RecipeError, match=r"cohort\.root = .*the pipeline writes .* move the cohort"):
        preflight.check(project, known[0], "mine", known[1], stage)


@pytest.mark.parametrize("place", ["data/demo/panda", "data/raw/mine", "data/mine-slides", "slides", "/elsewhere/mine"])
def test_a_cohort_in_a_folder_of_its_own_is_taken(project: Path, place: str) -> None:
    known = write(project, SEGMENTER, {"cohort.root": place})
    preflight.check(project, known[0], "mine", known[1], "quantify")


@pytest.mark.parametrize(
    "changes",
    [
        {"infer.precision": "bf16-mixed", "compute.device": "auto"},  # which may be a GPU: the stage looks
        {"infer.precision": "16-mixed", "train.precision": "16-mixed", "compute.device": "cuda:1"},
        {"train.precision": "bf16-mixed"},  # slow on a CPU, and done
        {"train.model": "resnet50.a1_in1k", "train.weights": "none"},
        {"train.model": "gluon_resnet50_v1b", "train.weights": "none"},  # an old name that timm still takes
        {"embed.encoder": "resnet51", "embed.weights": "imagenet"},  # not used: grade.target is none
    ],
)
def test_what_may_be_possible_is_not_refused(project: Path, changes: dict[str, Any]) -> None:
    known = write(project, CLASSIFIER, changes)
    preflight.check(project, known[0], "mine", known[1])


NETWORKS = ["resnet18", "resnet50.a1_in1k", "gluon_resnet50_v1b", "tf_efficientnet_lite0", "vit_tiny_patch16_224"]
ARCHITECTURES = ["unet", "unetplusplus", "deeplabv3plus", "dpt", "segformer"]
WORDS = ["url", "mean", "num_classes", "input_size", "classifier", "features", "create_model", ""]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "acinus"


@pytest.mark.usefixtures("cache")
def test_words_of_the_libraries_sources_are_no_networks() -> None:
    for word in WORDS:
        with pytest.raises(AcinusError, match="timm has no such model"):
            preflight.check_network(word, "train.model")
        with pytest.raises(AcinusError, match="no such architecture; known are"):
            preflight.check_architecture(word)


def test_a_known_name_is_asked_for_once_per_version_and_a_refused_one_always(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acinus.learning import segmenters, weights

    def look() -> None:
        for name in NETWORKS:
            preflight.check_network(name, "train.model")
        for name in ARCHITECTURES:
            preflight.check_architecture(name)
        with pytest.raises(AcinusError, match="timm has no such model"):
            preflight.check_network("resnet51", "train.model")

    look()
    asked = weights.check_name
    monkeypatch.setattr(weights, "check_name", lambda name, key: asked({"resnet51": name}[name], key))
    monkeypatch.setattr(segmenters, "check_architecture", lambda name: pytest.fail(f"{name} was asked for again"))
    look()
    kept = sorted(cache.iterdir())
    assert [path.name.partition("-")[0] for path in kept] == ["segmentation", "timm"]
    kept[1].rename(cache / "timm-0.0.1.json")  # another version remembers nothing
    with pytest.raises(KeyError, match="resnet18"):
        preflight.check_network("resnet18", "train.model")


@pytest.mark.parametrize("content", ["", "{}", "[1, null]", "\0"])
def test_a_damaged_memory_is_made_anew(cache: Path, content: str) -> None:
    preflight.check_network("resnet18", "train.model")
    (place,) = cache.iterdir()
    place.write_text(content)
    preflight.check_network("resnet34", "train.model")
    assert json.loads(place.read_text()) == ["resnet34"]
    place.unlink()
    cache.rmdir()
    cache.write_text("in the way")  # then it is asked each time
    preflight.check_network("resnet34", "train.model")


def test_recipes_that_can_be_done_are_looked_at_without_torch(cache: Path) -> None:
    project = load_project(ROOT)
    recipes = {path.stem: load_recipe(ROOT, path.stem) for path in (ROOT / "recipes").glob("*.yaml")}
    for name, recipe in recipes.items():
        preflight.check(ROOT, project, name, recipe)
    code = (
        "import sys\nfrom pathlib import Path\nfrom acinus import execution, preflight\nfrom acinus.params import *\n"
        f"root = Path({str(ROOT)!r})\nproject = load_project(root)\n"
        "for path in sorted((root / 'recipes').glob('*.yaml')):\n"
        "    preflight.check(root, project, path.stem, load_recipe(root, path.stem))\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "acinus" in loaded
    assert not loaded & {"torch", "timm", "segmentation_models_pytorch", "openvino", "numpy"}


def test_the_way_of_the_data_is_that_of_the_commands() -> None:
    assert list(preflight.WAY) == list(RECIPE_STAGES)


def test_setup_alone_asks_the_hub_for_a_gated_encoder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(preflight.hub, "check_access", asked.append)
    hub = {"embed.weights": "hub", "embed.licence": "CC-BY-NC-ND-4.0", "embed.mpp": 4.0, "index.mpp": 4.0}
    changes = {"embed.encoder": "UNI2-h", **hub, "index.level": None, "index.patch_px": 224, "index.stride_px": 224}
    settings, recipe = write(project, SEGMENTER, changes)
    preflight.check(project, settings, "mine", recipe)
    assert not asked
    preflight.check_access(project, "mine", recipe)
    assert asked == ["MahmoodLab/UNI2-h"]
    preflight.check_access(project, "mine", write(project, SEGMENTER, {})[1])
    assert len(asked) == 1
