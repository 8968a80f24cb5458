"""The registry of metrics: one entry brings a metric everywhere, and every number is explained."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from acinus.errors import AcinusError
from acinus.metrics import registry
from acinus.metrics.compare import Run, differences, paired
from acinus.metrics.metric import Metric, mean, usable_slides
from acinus.pages import pages, summary
from tools.glossary import glossary

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def made_up() -> Iterator[str]:
    """A metric that nothing else names: the mean of the squared burden errors."""
    metric = Metric(
        "burden_mse",
        "Squared burden error",
        "mean squared error of tumour burden",
        lambda case: mean(case.floats("burden_error") ** 2, case.scored),
        short="burden MSE",
        unit="points",
        better="lower",
        counts="n_burden",
        columns=("burden_error",),
        shown=("card", "summary"),
        tolerance=5.0,
    )
    registry.register(metric)
    yield metric.name
    del registry.METRICS[metric.name]


def test_one_registration_brings_a_metric_everywhere(made_up: str, build) -> None:
    cohort = build(bootstrap=300)
    errors = np.array([0.0, -7.0, 5.0, 0.0])  # of the four slides of known burden
    assert cohort.metrics[made_up] == pytest.approx(np.mean(errors**2))
    assert cohort.metrics[f"{made_up}_ci_low"] < cohort.metrics[made_up] < cohort.metrics[f"{made_up}_ci_high"]
    run = Run(usable_slides(cohort.per_slide))
    compared = differences(paired(run, run), made_up, 20, seed=1).iloc[0]
    assert (compared["a"], compared["difference"], compared["n"]) == (pytest.approx(74 / 4), 0, 4)
    assert f"### `{made_up}`" in glossary()
    assert "mean squared error of tumour burden" in glossary()
    assert registry.tolerances()[made_up] == 5.0
    assert made_up in registry.shown_in("card", cohort.metrics, "patch_classification")
    row = summary.SummaryRow("r", "camelyon", "patch_classification", "A title", cohort.metrics, "r/index.html")
    assert f'<data value="{cohort.metrics[made_up]}">' in pages.summary_page([row])
    assert "Squared burden error, pp" in pages.summary_page([row])


def test_a_name_is_given_once() -> None:
    with pytest.raises(AcinusError, match="metric miou: registered twice"):
        registry.register(registry.METRICS["miou"])


def test_the_glossary_explains_every_number_of_the_committed_metrics() -> None:
    committed = json.loads((ROOT / "reports" / "metrics.json").read_text(encoding="utf-8"))
    names = {name for metrics in committed.values() for name in metrics}
    assert len(names) > 200
    explained = re.findall(r"^(?:### |- )?`([^`]+)`", glossary(), flags=re.MULTILINE)
    explained += re.findall(r", over `([^`]+\.<group>)`", glossary())
    patterns = [re.sub(r"<\w+>", "[^<>]+", re.escape(name)) for name in explained]
    whole = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    assert {name for name in names if not whole.fullmatch(name)} == set()
    assert not whole.fullmatch("nothing_of_the_kind")


def test_the_glossary_of_the_documentation_is_the_registry_s() -> None:
    """Write it anew with `python -m tools.glossary`."""
    assert (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8") == glossary()
