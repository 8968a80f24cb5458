"""Charts: same bytes from the same input, little data, what is drawn where."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from PIL import Image

from acinus.charts import curves as charts
from acinus.errors import AcinusError


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


def test_same_input_same_bytes() -> None:
    log = training_log(3)
    assert charts.training_chart(log) == charts.training_chart(log)
    scores, labels = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])
    png = charts.roc_chart({"patches": (scores, labels)})
    assert png == charts.roc_chart({"patches": (scores, labels)})
    assert b"Software" not in png


def training_log(epochs: int) -> pd.DataFrame:
    column = np.linspace(0.9, 0.2, epochs)
    names = ("train_loss", "train_acc", "val_loss", "val_acc")
    return pd.DataFrame({"epoch": range(epochs), **dict.fromkeys(names, column)})


def test_charts_of_little_data_are_drawn() -> None:
    for png in (
        charts.training_chart(training_log(1)),
        charts.training_chart(training_log(0)),
        charts.roc_chart({"slides": (np.array([0.3, 0.4]), np.array([1, 1])), "none": (np.zeros(0), np.zeros(0))}),
        charts.burden_chart(np.array([np.nan]), np.array([1.0])),
        charts.burden_chart(np.zeros(0), np.zeros(0)),
        charts.confusion_chart(np.zeros((3, 3), np.int64), ["a", "b", "c"]),
    ):
        assert pixels(png).std() > 0


def test_a_log_without_its_columns_is_refused() -> None:
    with pytest.raises(AcinusError, match="val_acc"):
        charts.training_chart(training_log(2).drop(columns="val_acc"))


def test_roc_curve_passes_through_the_known_points() -> None:
    """A perfect score fills the square's left and top edge: its line is drawn there and nowhere below."""
    perfect = pixels(charts.roc_chart({"p": (np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))}))
    inverted = pixels(charts.roc_chart({"p": (np.array([0.9, 0.8, 0.2, 0.1]), np.array([0, 0, 1, 1]))}))
    accent = np.array([int(charts.ACCENT[i : i + 2], 16) for i in (1, 3, 5)])

    def share_above(image: np.ndarray) -> float:
        rows = np.nonzero((np.abs(image - accent) <= 3).all(axis=2))[0]
        return float((rows < image.shape[0] / 2).mean() if rows.size else -1)

    assert share_above(perfect) > 0.6
    assert share_above(inverted) < 0.5


def test_a_users_matplotlibrc_changes_nothing() -> None:
    curve = {"patches": (np.array([0.1, 0.9, 0.4]), np.array([0, 1, 1]))}
    plain = charts.roc_chart(curve)
    with rc_context({"lines.linewidth": 5, "figure.facecolor": "red", "figure.dpi": 50}):
        assert charts.roc_chart(curve) == plain


def test_a_confusion_is_normalised_by_its_truth() -> None:
    """The rows are in percent: the counts may be of any size, and which row they stand in matters."""
    names = ["other", "cancer"]
    few, many = np.array([[3, 1], [0, 4]]), np.array([[300, 100], [0, 7]])
    assert charts.confusion_chart(few, names) == charts.confusion_chart(many, names)
    assert charts.confusion_chart(few, names) != charts.confusion_chart(few.T, names)
    missing = pixels(charts.confusion_chart(np.array([[4, 0], [0, 0]]), names))
    assert (missing != pixels(charts.confusion_chart(np.array([[4, 0], [0, 1]]), names))).any()


def test_one_curve_per_slide_of_both_classes_with_its_auc(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("matplotlib.axes.Axes.plot", lambda self, *data, label="", **how: drawn.append(label))
    monkeypatch.setattr("matplotlib.axes.Axes.legend", lambda self, **how: None)
    scores, labels = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])
    curves = {"b": (scores, labels), "a": (labels.astype(float), labels), "one": (scores, np.zeros(4, dtype=int))}
    charts.named_roc_chart(curves)
    assert drawn[1:] == ["a 1.000", "b 0.750"]  # the second is scikit-learn's documented example


def test_slides_without_both_classes_give_an_empty_chart() -> None:
    assert charts.named_roc_chart({"one": (np.array([0.5]), np.array([1]))}).startswith(b"\x89PNG")
