"""How much of a network's own speed is left on the way through acinus, on a GPU (or, to try it, on a CPU).

Run: python -m benchmarks.gpu [--model resnet50] [--px 256] [--batch 64] [--precision bf16-mixed] [--compile] ...
Draws its patches and its slide; needs no data. The bare network is given batches that lie on the device already, under
torch's defaults (any algorithm, the fastest that cuDNN finds); ours reads a JPEG store through the training loop, and
a JPEG-tiled slide through to its probability map, with deterministic algorithms as always.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from acinus import params
from acinus.errors import AcinusError
from acinus.files import sha256
from acinus.learning.augmentation import Augmentation
from acinus.learning.card import WEIGHTS_FILE, save_model
from acinus.learning.dataset import PatchDataset
from acinus.learning.device import FORMATS, Machine, Network, Running, compiled, mixed, network, pick, place
from acinus.learning.fit import FitJob, fit
from acinus.learning.predict import predictor
from acinus.learning.weights import ModelSpec
from acinus.maps.slide_map import MapJob, map_slide
from acinus.patches.store import open_mask_store, open_store
from acinus.tissue.mask import TissueMask, save_tissue
from acinus_demo.pyramid import write_pyramid
from benchmarks.gpu_setting import CLASSES, HELD, MPP, Setting, fresh, normalised, texture, write_store

EPOCHS = 4
"""Of the training loop; the first is not counted."""


def synchronise(device: torch.device) -> None:
    """Wait for all that the device has been given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(setting: Setting, work: Callable[[], Any], patches: int, repeats: int = 3) -> float:
    """Return patches per second: the median of some repeats, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        synchronise(setting.device)
        start = time.perf_counter()
        work()
        synchronise(setting.device)
        seconds.append(time.perf_counter() - start)
    return patches / float(np.median(seconds[1:]))


def bare_training(setting: Setting) -> float:
    """Return patches per second of forward, loss, backward and Adam's step on batches that lie on the device."""
    device, how = setting.device, setting.how
    model = fresh(setting)
    place(model, device, channels_last=how.channels_last)
    model.train()
    run: Network = compiled(model, device) if how.compile else model
    if how.precision in FORMATS:
        run = mixed(run, device, FORMATS[how.precision])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device.type, enabled=how.precision == "16-mixed")
    batches = normalised(setting)
    shape = (setting.batch, setting.px, setting.px) if setting.spec.task == "segmentation" else (setting.batch,)
    target = torch.randint(0, 2, shape, device=device)

    def work() -> None:
        for number in range(setting.batches):
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(F.cross_entropy(run(batches[number % HELD]).float(), target)).backward()
            scaler.step(optimizer)
            scaler.update()

    return rate(setting, work, setting.patches)


def own_training(setting: Setting, folder: Path) -> float:
    """Return patches per second of the training loop, from the store; validation on one batch and saving count too."""
    ends: list[float] = []
    keys = write_store(setting, folder)
    masked = setting.spec.task == "segmentation"
    images, masks = open_store(folder / "store"), open_mask_store(folder / "store") if masked else None
    labels = [number % 2 for number in range(len(keys))]
    train = PatchDataset(images, keys, labels, setting.px, Augmentation(everything=True, seed=0), masks)
    val = PatchDataset(images, keys[: setting.batch], labels[: setting.batch], setting.px, masks=masks)
    values = {
        "model": setting.spec.name, "encoder": setting.spec.encoder, "weights": "none", "batch_size": setting.batch,
        "max_epochs": EPOCHS, "stop_patience": None, "schedule": "constant", "checkpoint_every": EPOCHS + 1,
        "precision": setting.how.precision, "loss": {"class_weights": "equal"},
    }  # fmt: skip
    how = setting.how
    machine = Machine(str(setting.device), setting.threads, setting.workers, how.channels_last, how.compile)
    fit(
        FitJob(
            model=fresh(setting),
            settings=params.Train.model_validate(values),
            classes=CLASSES,
            train=train,
            val=val,
            inputs=setting.inputs(),
            seed=0,
            checkpoints=folder / "checkpoints",
            key="benchmark",
            log=folder / "log.csv",
            machine=machine,
            on_epoch=lambda epoch, metrics: ends.append(time.perf_counter()),
            task=setting.spec.task,
        )
    )
    return setting.patches / float(np.median(np.diff(ends)))


def bare_inference(setting: Setting) -> float:
    """Return patches per second of the network alone on batches that lie on the device."""
    run, batches = network(fresh(setting), setting.device, setting.px, setting.how), normalised(setting)

    def work() -> None:
        with torch.inference_mode():
            for number in range(setting.batches):
                run(batches[number % HELD])

    return rate(setting, work, setting.patches)


def own_inference(setting: Setting) -> float:
    """Return patches per second of the predictor on uint8 patches in the host's memory, answers back in it."""
    patches = texture(setting.px, setting.px * setting.batch, 0).reshape(setting.px, setting.batch, setting.px, 3)
    batch = np.ascontiguousarray(patches.transpose(1, 0, 2, 3))
    predict = predictor(fresh(setting), setting.card(), str(setting.device), how=setting.how)
    return rate(setting, lambda: [predict(batch) for _ in range(setting.batches)], setting.patches)


def own_slide(setting: Setting, folder: Path) -> float:
    """Return windows per second of a whole slide, all tissue, to its probability map."""
    across = int(np.ceil(setting.patches**0.5))
    size = across * setting.px
    write_pyramid(folder / "slide.tif", texture(size, size, 0), MPP)
    save_tissue(TissueMask(np.ones((16, 16), dtype=bool), size, size), folder / "tissue.png")
    (folder / "model").mkdir()
    save_model(folder / "model", fresh(setting), setting.card())
    job = MapJob(
        row={"slide_id": "slide", "mpp_x": MPP, "mpp_y": MPP},
        image=folder / "slide.tif",
        tissue=folder / "tissue.png",
        model=folder / "model",
        weights=sha256(folder / "model" / WEIGHTS_FILE),
        target=folder / "map.tif",
        index=params.Index(level=0, patch_px=setting.px, stride_px=setting.px),
        infer=params.Infer(
            stride_px=setting.px,
            map_downsample=32.0,
            batch_size=setting.batch,
            precision=setting.how.precision,
            engine=setting.how.engine,
            tta=setting.how.tta,
        ),
        compute=params.Compute(
            device=str(setting.device),
            threads=setting.threads,
            decode_threads=setting.decode_threads,
            channels_last=setting.how.channels_last,
            compile=setting.how.compile,
        ),
    )
    return rate(setting, lambda: map_slide(job), across**2)


def table(setting: Setting, rates: dict[str, tuple[float, float]]) -> str:
    """Return the lines to print: of every work patches per second and its share of the bare network's."""
    name = setting.spec.name + (f" on {setting.spec.encoder}" if setting.spec.encoder else "")
    where = torch.cuda.get_device_name(setting.device) if setting.device.type == "cuda" else str(setting.device)
    layout = "channels last" if setting.how.channels_last else "channels first"
    head = f"{name}, {setting.px} px, batches of {setting.batch}, {setting.how.precision}, {layout}"
    head += (", compiled" if setting.how.compile else "") + f"; {where}, torch {torch.__version__}"
    lines = [head, f"{'work':<52}{'patches/s':>12}{'of bare':>10}"]
    lines += [f"{work:<52}{rate:>12.1f}{rate / base:>10.1%}" for work, (rate, base) in rates.items()]
    return "\n".join(lines)


def asked(arguments: list[str] | None) -> Setting:
    """Return what the command line asks for. AcinusError: no such device here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--model", default="resnet50", help="a timm classifier, or with --encoder an smp architecture")
    parser.add_argument("--encoder", help="a timm network: the model is a segmentation's")
    parser.add_argument("--px", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=40, help="of one measurement")
    parser.add_argument("--workers", type=int, default=0, help="compute.loader_workers")
    parser.add_argument("--decode-threads", type=int, default=2, help="compute.decode_threads")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    parser.add_argument("--precision", choices=["32-true", *FORMATS], default="32-true")
    parser.add_argument("--channels-first", action="store_true")
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args(arguments)
    task: Any = "segmentation" if given.encoder else "patch_classification"
    spec = ModelSpec(task=task, name=given.model, encoder=given.encoder, classes=len(CLASSES))
    how = Running(given.precision, "torch", not given.channels_first, given.compile)
    if given.device != "cpu" and not torch.cuda.is_available():
        raise AcinusError(f"--device {given.device}: no GPU here; to try it: --device cpu --model resnet18 --batches 4")
    numbers = (given.px, given.batch, given.batches, given.workers, given.decode_threads, given.threads)
    return Setting(spec, pick(given.device), *numbers, how)


def measured(setting: Setting) -> dict[str, tuple[float, float]]:
    """Return of every work patches per second and those of the bare network."""
    torch.set_num_threads(setting.threads)
    torch.backends.cudnn.benchmark = True
    training, inference = bare_training(setting), bare_inference(setting)
    with tempfile.TemporaryDirectory() as folder:
        return {
            "training: bare, batches on the device": (training, training),
            "training: store -> data set -> training loop": (own_training(setting, Path(folder)), training),
            "inference: bare, batches on the device": (inference, inference),
            "inference: patches in memory -> probabilities": (own_inference(setting), inference),
            "inference: slide -> probability map": (own_slide(setting, Path(folder)), inference),
        }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    try:
        setting = asked(arguments)
        print(table(setting, measured(setting)))
    except AcinusError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
