"""Peak memory of turning a 15,000 x 16,000 px RGB PNG and its mask into a pyramid and a class mask.

Run: python benchmarks/raster_memory.py [width height]. Draws both files in a temporary folder (no two
stripes alike), converts each in a process of its own and prints its peak resident memory.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from acinus.mapping.mask_png import write_colour_mask

SIZE = (15_000, 16_000)
COLOURS = [(0, 0, 0), (255, 255, 0), (150, 150, 150), (0, 255, 0), (0, 0, 255), (0, 150, 255)]
BAND_ROWS = 64
BLOCK_PX = 8

_HEAD = "import sys; from pathlib import Path; source, target = Path(sys.argv[1]), Path(sys.argv[2])\n"
_TAIL = "\nprint(next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')) / 1024)"
TASKS = {
    "image -> pyramid": (
        "image.png",
        "from acinus.slides.raster import to_pyramid; to_pyramid(source, target, 90)",
    ),
    "mask -> class mask": (
        "mask.png",
        f"from acinus.slides.colours import to_class_mask; to_class_mask(source, target, {COLOURS}, 8, list('abcdef'))",
    ),
}


def class_bands(size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield random classes in blocks, one band after the other."""
    width, height = size
    rng = np.random.default_rng(1)
    for top in range(0, height, BAND_ROWS):
        blocks = rng.integers(0, len(COLOURS), (BAND_ROWS // BLOCK_PX, -(-width // BLOCK_PX)), dtype=np.uint8)
        yield np.kron(blocks, np.ones((BLOCK_PX, BLOCK_PX), np.uint8))[: height - top, :width]


def draw_image(path: Path, size: tuple[int, int]) -> None:
    """Write an RGB PNG of smooth noise, streamed."""
    import pyvips

    width, height = size
    channels = [pyvips.Image.perlin(width, height, cell_size=96, uchar=True, seed=seed) for seed in (1, 2, 3)]
    channels[0].bandjoin(channels[1:]).copy(interpretation="srgb").pngsave(str(path), compression=1)


def main() -> None:
    """Draw, convert, print."""
    size = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else SIZE
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw_image(root / "image.png", size)
        write_colour_mask(root / "mask.png", class_bands(size), size, COLOURS)
        for name, (source, code) in TASKS.items():
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", _HEAD + code + _TAIL, root / source, root / "out.tif"],
                check=True,
                capture_output=True,
                text=True,
            )
            seconds = time.perf_counter() - start
            print(f"{name}: {size[0]} x {size[1]} px, peak {float(done.stdout):.0f} MB, {seconds:.1f} s")


if __name__ == "__main__":
    main()
