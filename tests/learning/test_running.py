"""How a network is run: what changes no bit, what changes the last ones, and what a machine refuses."""

import dataclasses
import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acinus.errors import AcinusError
from acinus.learning.card import Card
from acinus.learning.device import Running, compiled, mixed, network, reproducible
from acinus.learning.fit import FitResult, fit
from acinus.learning.inputs import to_device, to_input, to_tensor
from acinus.learning.models import build_model
from acinus.learning.predict import predict_probs, predictor
from acinus.learning.weights import ModelSpec
from acinus.params.faults import running_fault
from acinus.scoring.scaling import Scaling, scaled
from tests.learning import fit_case as case

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
with_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra openvino is not installed"
)
with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def card(px: int = 32, **changes: object) -> Card:
    values: dict[str, object] = {
        "version": "0", "task": "patch_classification", "architecture": "test_resnet", "weights": "none",
        "classes": ("normal", "tumor", "other"), "positive": ("tumor",), "patch_px": px, "input_px": px, "level": 0,
        "mpp": None, "mpp_mean": 0.5, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "index": {}, "epochs": 1,
        "recipe_hash": "", "data_hashes": {}, "best_epoch": 1, "seed": 0,
    }  # fmt: skip
    return Card.model_validate({**values, **changes})


CLASSIFIER = card()
SEGMENTER = card(
    40, task="segmentation", architecture="unet", encoder="test_resnet"
)  # 40 is no multiple of 32: padded and cropped


def built(own: Card) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(ModelSpec(task=own.task, name=own.architecture, encoder=own.encoder, classes=3))
    for module in model.modules():  # drawn statistics, as a trained network has: else they are 0 and 1
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def patches(own: Card, count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, own.patch_px, own.patch_px, 3), dtype=np.uint8)


@pytest.mark.parametrize("own", [CLASSIFIER, SEGMENTER], ids=["classifier", "segmenter"])
@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_by_default_every_bit_is_that_of_the_plain_network(own: Card, temperature: float) -> None:
    model, batch = built(own), patches(own)
    found = predictor(model, own, "cpu", Scaling(temperature))(batch)
    plain: Any = built(own).eval()
    plain.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        values = to_tensor(batch).float().div_(255.0)
        mean, std = (torch.tensor(of).view(1, 3, 1, 1) for of in (own.mean, own.std))
        logits = plain(values.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last))
        expected = torch.softmax(logits.float() / temperature, dim=1).contiguous().numpy()
    np.testing.assert_array_equal(found, expected)
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(predict_probs(model, batch, own, "cpu", Scaling(temperature)), expected)
    assert expected.std() > 1e-3


def test_one_function_answers_batch_after_batch_and_none() -> None:
    model = built(CLASSIFIER).train()
    predict, batch = predictor(model, CLASSIFIER, "cpu"), patches(CLASSIFIER)
    assert not model.training  # dropout and batch statistics would make the answers depend on each other
    np.testing.assert_array_equal(predict(batch), predict(batch))
    np.testing.assert_allclose(predict(batch[:2]), predict(batch)[:2], atol=1e-6)
    assert predict(batch[:0]).shape == (0, 3)
    assert predictor(built(SEGMENTER), SEGMENTER, "cpu")(patches(SEGMENTER, 0)).shape == (0, 3, 40, 40)


@pytest.mark.parametrize("own", [CLASSIFIER, SEGMENTER], ids=["classifier", "segmenter"])
def test_offsets_are_added_to_the_logits_and_must_be_one_per_class(own: Card) -> None:
    model, batch, scaling = built(own), patches(own), Scaling(1.4, (0.0, 0.7, -1.1))
    found = predictor(model, own, "cpu", scaling)(batch)
    plain = np.moveaxis(predictor(model, own, "cpu")(batch), 1, -1)
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), scaled(plain, scaling), atol=1e-6)
    with pytest.raises(AcinusError, match=r"2 offsets \(bias\) for a model of 3 classes; run the calibrate stage"):
        predictor(model, own, "cpu", Scaling(1.0, (0.0, 0.1)))(batch)


class Layouts(nn.Module):
    """Notes how its input lies in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3)
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        last = torch.channels_last
        self.seen.append((x.is_contiguous(memory_format=last), self.layer.weight.is_contiguous(memory_format=last)))
        return self.layer(x).mean(dim=(2, 3))


def test_channels_come_last_or_first_for_pixels_and_weights_alike() -> None:
    batch, answers, layouts = patches(CLASSIFIER), [], []
    model = Layouts()
    for last in (True, False, True):  # and back
        answers.append(predictor(model, CLASSIFIER, "cpu", how=Running(channels_last=last))(batch))
        layouts.append(model.seen[-1])
    assert layouts == [(True, True), (False, False), (True, True)]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    np.testing.assert_array_equal(answers[0], answers[2])


def test_pixels_on_their_way_to_a_device_stay_as_they_are() -> None:
    batch = patches(CLASSIFIER)
    assert torch.equal(to_device(batch, CPU), to_tensor(batch))
    spec = CLASSIFIER.inputs()
    first, last = (to_input(to_tensor(batch), spec, channels_last=one) for one in (False, True))
    assert first.is_contiguous()
    assert torch.equal(first, last)


@pytest.mark.parametrize(
    ("how", "device", "said"),
    [
        (Running("bf16-mixed"), CPU, r"infer.precision = 'bf16-mixed' runs on a GPU only, found device cpu .*32-true"),
        (Running("16-mixed"), CPU, r"infer.precision = '16-mixed' runs on a GPU only"),
        (Running(engine="openvino"), GPU, r"'openvino' runs on a CPU only, found device cuda:0; set infer.engine: to"),
        (Running(engine="openvino", compile=True), CPU, r"compute.compile: true; OpenVINO compiles by itself"),
        (Running("bf16-mixed", "openvino"), CPU, r"infer.precision = 'bf16-mixed' runs on a GPU only"),
    ],
)
def test_what_a_device_cannot_run_is_refused_in_one_line(how: Running, device: torch.device, said: str) -> None:
    with pytest.raises(AcinusError, match=said) as refused:
        network(nn.Identity(), device, 32, how)
    assert "\n" not in str(refused.value)


def test_what_every_device_can_run_is_not_refused() -> None:
    assert running_fault("bf16-mixed", "torch", False, "cuda:0") is None
    assert running_fault("16-mixed", "torch", True, "cuda:0") is None
    assert running_fault("32-true", "openvino", False, "cpu") is None


def test_a_network_under_autocast_computes_in_the_shorter_number_and_keeps_its_weights() -> None:
    model, x = nn.Linear(64, 2), torch.randn(8, 64)
    short = mixed(model, CPU, torch.bfloat16)(x)
    assert short.dtype == torch.bfloat16
    assert model.weight.dtype == torch.float32
    difference = (short.float() - model(x)).abs()
    assert 0 < difference.max() < 0.05
    assert model(x).dtype == torch.float32  # outside of it nothing has changed


def test_without_the_package_openvino_is_an_error_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(AcinusError, match=r"infer.engine = 'openvino': .* install the extra openvino: .*; or set"):
        network(built(CLASSIFIER), CPU, 32, Running(engine="openvino"))
    assert "openvino_telemetry" not in sys.modules


@with_openvino
@pytest.mark.parametrize("own", [CLASSIFIER, SEGMENTER], ids=["classifier", "segmenter"])
def test_openvino_gives_torchs_probabilities_and_the_same_bits_again(own: Card) -> None:
    model, batch = built(own), patches(own)
    expected = predictor(model, own, "cpu", Scaling(1.3))(batch)
    with reproducible(CPU, 1):
        predict = predictor(model, own, "cpu", Scaling(1.3), Running(engine="openvino"))
        found = predict(batch)
        for count in (5, 2, 1):  # the last batch of a slide is smaller
            np.testing.assert_allclose(predict(batch[:count]), expected[:count], atol=1e-4)
        np.testing.assert_array_equal(predict(batch), found)
        again = predictor(built(own), own, "cpu", Scaling(1.3), Running(engine="openvino"))(batch)
    np.testing.assert_array_equal(again, found)
    np.testing.assert_array_equal(predictor(model, own, "cpu", Scaling(1.3))(batch), expected)  # torch's goes on
    assert found.dtype == np.float32
    assert "openvino_telemetry" not in sys.modules


def test_without_a_compiler_compile_is_an_error_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(AcinusError, match=r"compute.compile: no C\+\+ compiler 'no-such-compiler' found; install g"):
        compiled(built(CLASSIFIER), CPU)


def traced_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch.compile trace, but run what it has traced by torch's own operations: no minute of C++."""
    monkeypatch.setenv("CXX", sys.executable)  # any program that exists: it is not called
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


def test_a_compiled_network_answers_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    traced_only(monkeypatch)
    batch = patches(CLASSIFIER)
    expected = predictor(built(CLASSIFIER), CLASSIFIER, "cpu")(batch)
    predict = predictor(built(CLASSIFIER), CLASSIFIER, "cpu", how=Running(compile=True))
    for count in (5, 2):
        np.testing.assert_allclose(predict(batch[:count]), expected[:count], atol=1e-6)


class Fussy(nn.Module):
    """Cannot be traced: asks torch for what its compiler refuses."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.compiler.allow_in_graph(_broken)(x)


def _broken(x: Tensor) -> Tensor:
    raise RuntimeError("this operation\nhas no shape")


def test_what_cannot_be_compiled_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    traced_only(monkeypatch)
    with pytest.raises(AcinusError, match=r"compute.compile: torch cannot compile the network \(.*\); set") as told:
        compiled(Fussy(), CPU)(torch.zeros(2, 3))
    assert "\n" not in str(told.value)


@with_gpu
@pytest.mark.parametrize(("precision", "close"), [("32-true", 1e-3), ("bf16-mixed", 0.05), ("16-mixed", 0.01)])
@pytest.mark.parametrize("last", [True, False])
def test_a_gpu_answers_as_the_cpu_does(precision: Any, close: float, last: bool) -> None:
    batch = patches(SEGMENTER)
    expected = predictor(built(SEGMENTER), SEGMENTER, "cpu")(batch)
    with reproducible(GPU, 1):
        predict = predictor(built(SEGMENTER), SEGMENTER, "cuda", how=Running(precision, channels_last=last))
        found = predict(batch)
        np.testing.assert_array_equal(predict(batch), found)
    np.testing.assert_allclose(found, expected, atol=close)
    page_locked = torch.from_numpy(batch).pin_memory().numpy()
    np.testing.assert_array_equal(predict(page_locked), found)


def trained(folder: Path, lr: float | None = None, **changes: object) -> tuple[dict[str, Tensor], FitResult]:
    """Weights and figures of the fit tests' training on a machine with these changes."""
    folder.mkdir(exist_ok=True)
    job = case.job(folder, max_epochs=2, **({} if lr is None else {"lr": lr}))
    job = dataclasses.replace(job, machine=dataclasses.replace(job.machine, **changes))
    result = fit(job)
    return job.model.state_dict(), result


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], FitResult]:
    return trained(tmp_path_factory.mktemp("usual"))


def test_training_with_channels_first_lays_kernels_out_so_and_makes_the_same_steps(
    usual: tuple[dict[str, Tensor], FitResult], tmp_path: Path
) -> None:
    """Steps multiply differences of the last bits, by how much depends on the processor; at a rate of nearly 0 none."""
    weights, _ = trained(tmp_path / "as_it_is", channels_last=False)
    kernels = [value for value in weights.values() if value.ndim == 4]
    assert all(value.is_contiguous() for value in kernels)
    assert any(not value.is_contiguous() for value in usual[0].values())
    first, last = (trained(tmp_path / str(last), lr=1e-9, channels_last=last) for last in (False, True))
    for one, other in zip(first[1].history, last[1].history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-4)


def test_a_compiled_training_trains_the_very_weights_that_it_leaves(
    usual: tuple[dict[str, Tensor], FitResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced_only(monkeypatch)
    weights, result = trained(tmp_path, compile=True)
    assert list(weights) == list(usual[0])
    for one, other in zip(result.history, usual[1].history, strict=True):
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-3)
    for name, value in weights.items():
        torch.testing.assert_close(value, usual[0][name], rtol=1e-2, atol=1e-3)
