"""What a decorator marks is what is used, with all that it was given; what it was given wrongly is one line."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from acinus import params
from acinus.errors import AcinusError
from acinus.learning.augmentation import Augmentation
from acinus.learning.dataset import PatchDataset
from acinus.learning.losses import PatchObjective, SegmentationObjective
from acinus.metrics.metric import Case
from acinus.metrics.registry import measures, use_plugins
from acinus.metrics.setup import MetricSetup
from acinus.plugins import finding, loading
from acinus.stages import code
from tests.plugins.pages import project
from tests.plugins.test_examples import Rows
from tests.plugins.test_finding import head


def made(name: str) -> Any:
    plugin = loading.named("encoder", name)
    assert plugin is not None
    return plugin.function()


ENCODER = "@plugins.encoder('{}')\ndef f():\n    return {}\n"


@pytest.mark.parametrize("after", ["", "del f\n", "f = None\n", "def f():\n    return 3\n"])
def test_plugins_whose_functions_share_a_name_or_lose_it_stay_apart(tmp_path: Path, after: str) -> None:
    project(tmp_path, own=head(ENCODER.format("a", 1) + ENCODER.format("b", 2) + after))
    assert [made("a"), made("b")] == [1, 2]


def test_projects_with_a_file_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    text = head("@plugins.augmentation('a', moves={})\ndef f(pixels, rng):\n    return pixels\n")
    one, two = (project(tmp_path / str(moves), own=text.format(moves)) for moves in (True, False))
    for root in (one, two, one):
        finding.use(root)
        plugin = loading.named("augmentation", "a")
        assert plugin is not None
        assert plugin.options == {"moves": root is one}


ROLLED = "def rolled(by, pixels, rng):\n    return np.roll(pixels, by, axis=0)\n\n\n"
WRAPPED = "def wrapper(function):\n    return partial(function, 3)\n\n\n"


def test_options_hold_whatever_is_decorated(tmp_path: Path) -> None:
    """The mask moves with the patch, of an object whose __module__ is functools."""
    text = "from functools import partial\nimport numpy as np\nfrom acinus import plugins\n\n\n"
    text += WRAPPED + "@plugins.augmentation('rolled', moves=True)\n@wrapper\n" + ROLLED
    project(tmp_path, own=text.replace("def rolled(by, pixels, rng)", "def rolled(by, pixels, rng=None)"))
    data = PatchDataset(Rows(3), ["a"], [0], 16, masks=Rows(0), augmentation=Augmentation(plugged=("rolled",)))  # type: ignore[arg-type]
    pixels, mask = data[(0, 0)]
    assert isinstance(mask, torch.Tensor)
    assert (pixels[0] == mask).all()
    assert mask[:, 0].tolist() == [*range(13, 16), *range(13)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("augmentaton('a')\ndef f(pixels, rng)", "5: augmentaton is no kind of plug-in; there are loss, network"),
        ("metric('a', unit='foo')\ndef f(case)", "5: unit = 'foo'; expected one of 'share', 'percent', 'points', "),
        ("metric('a', better='up')\ndef f(case)", "5: better = 'up'; expected one of 'higher', 'lower', "),
        ("metric('a', better=UP)\ndef f(case)", "5: better = UP: write its value out"),
        ("metric('a', columns=('burden'))\ndef f(case)", "5: columns = 'burden'; expected a tuple of texts, as"),
        ("metric('a', tasks=('grading',))\ndef f(case)", "5: tasks = ('grading',); there are patch_classification, s"),
        ("network('a', task='patches')\ndef f(classes)", "5: task = 'patches'; expected one of 'patch_classifica"),
        ("augmentation('a', moves='no')\ndef f(pixels, rng)", "5: moves = 'no'; expected one of False, True"),
        ("annotation_reader('a')\ndef f(path, frame)", "5: suffixes = None; expected those of the files that it rea"),
        ("annotation_reader('a', suffixes=('.csv'))\ndef f(path, frame)", "5: suffixes = '.csv'; expected a tuple of"),
        ("annotation_reader('a', suffixes=('.CSV',))\ndef f(path, frame)", "5: suffixes = ('.CSV',); expected those"),
        ("annotation_reader('a', suffixes=('csv',))\ndef f(path, frame)", "5: suffixes = ('csv',); expected those of"),
        ("annotation_reader('a', suffixes=())\ndef f(path, frame)", "5: suffixes = (); expected those of the files"),
    ],
)
def test_the_stage_code_refuses_what_a_decorator_cannot_be_given(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.yaml").touch()
    good = "@plugins.encoder('good')\ndef g():\n    pass\n"
    project(tmp_path, own=head(f"@plugins.{text}:\n    pass\n{good}"))
    with pytest.raises(AcinusError) as caught:
        code.run(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"plugins/own.py:{said}")


def test_a_decorator_above_a_plugins_own_would_be_lost(tmp_path: Path) -> None:
    project(tmp_path, own=head("@torch.no_grad()\n@plugins.encoder('a')\ndef f():\n    pass\n"))
    said = (
        r"^plugins/own.py:6: @torch.no_grad\(\) stands above @plugins.encoder\('a'\) and would not count; put it below$"
    )
    with pytest.raises(AcinusError, match=said):
        finding.everything()
    project(tmp_path, own=head("@plugins.encoder('b')\n" + ENCODER.format("a", 4)))
    assert [made("a"), made("b")] == [4, 4]


def test_a_name_that_is_no_decorator_when_the_file_runs_is_one_line(tmp_path: Path) -> None:
    other = "class plugins:\n    @staticmethod\n    def encoder(name):\n        return id\n\n\n"
    project(tmp_path, own=head(other + ENCODER.format("a", 1)))
    with pytest.raises(AcinusError, match=r"^plugins/own.py:11: the file ran, but not its @plugins.encoder\('a'\)"):
        made("a")


def test_a_file_that_ends_python_is_one_line(tmp_path: Path) -> None:
    project(tmp_path, own="import sys\n" + head(ENCODER.format("a", 1) + "sys.exit(3)\n"))
    with pytest.raises(AcinusError, match=r"^plugins/own.py:8: cannot be run \(SystemExit: 3\); mend the file$"):
        made("a")


LOSS = "@plugins.loss('a')\ndef f(logits, labels, weights, settings):\n    return {}\n"
PIXEL_LOSS = """@plugins.loss('a')
class A:
    @staticmethod
    def sums(batch):
        return {}

    @staticmethod
    def value(sums, settings):
        return {}
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LOSS.format("1.0"), "gave float for 2 samples; expected a tensor (2,)"),
        (LOSS.format("logits.mean()"), "gave () for 2 samples; expected a tensor (2,)"),
        (PIXEL_LOSS.format("[1.0]", "sums.sum()"), "gave list for the sums of a batch; expected a tensor (k,)"),
        (PIXEL_LOSS.format("batch.log_p.mean()", "sums"), "gave () for the sums of a batch; expected a tensor (k,)"),
        (
            PIXEL_LOSS.format("batch.log_p[0, :1]", "1.0"),
            "gave float for the value of sums; expected a tensor ()",
        ),
    ],
)
def test_a_loss_that_gives_something_else_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    project(tmp_path, own=head(text))
    settings = params.Loss(terms={"a": 1.0})
    pixels, patches = (torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])), (torch.zeros(2, 2), torch.tensor([0, 1]))
    if "class" in text:
        batch = partial(SegmentationObjective(settings, [1.0, 1.0]).batch, *pixels)
    else:
        batch = partial(PatchObjective(settings, [1.0, 1.0], mined=False).batch, *patches)
    with pytest.raises(AcinusError) as caught:
        batch()
    assert str(caught.value) == f"plugins/own.py:5: loss 'a' {said}"


def test_a_metric_that_gives_a_number_is_one_line(tmp_path: Path) -> None:
    project(tmp_path, own=head("@plugins.metric('a')\ndef f(case):\n    return 0.5\n"))
    use_plugins()
    case = Case(pd.DataFrame({"slide_id": ["a"]}), MetricSetup("segmentation", ("normal", "tumor"), ("tumor",), 5.0))
    with pytest.raises(AcinusError, match=r"^plugins/own.py:5: metric 'a' gave float; expected a Measure, or None"):
        list(measures(case))
