"""The stage embed once straight, and once killed at random moments and then let end.

`python -m tests.embedding.kill_embed STRAIGHT KILLED KILLS SEED`, the first two folders of studies. Each run is a
process of its own, forked from this one, which has imported everything and computed nothing. Prints one line of JSON:
what the straight run logged, what the last one did, and how many were killed before their end.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from acinus.embedding.reuse import embedding_code
from acinus.learning.weights import timm
from acinus.stages import embed
from tests.embedding.study import recipe_of, stage_of


def started(root: Path) -> int:
    """Start the stage in a process and return its id."""
    process = os.fork()
    if process:
        return process
    status, figures = 1, root / "figures.json"
    try:
        embed.run(stage_of(root, recipe_of(root), figures=lambda values: figures.write_text(json.dumps(values))))
        status = 0
    finally:
        os._exit(status)


def timed(root: Path) -> tuple[dict[str, int], float]:
    """Run the stage to its end and return what it logged, and the seconds that it took."""
    start = time.perf_counter()
    if os.waitpid(started(root), 0)[1]:
        raise SystemExit("the stage failed")
    return json.loads((root / "figures.json").read_text()), time.perf_counter() - start


def main(straight: Path, killed: Path, kills: int, seed: int) -> None:
    """Run, kill, run."""
    timm()
    embedding_code()  # remembered by what is forked
    once, seconds = timed(straight)
    _, again = timed(straight)  # everything taken over
    moments, hit = random.Random(seed), 0
    for _ in range(kills):
        left = 1 - len(list(killed.glob(".acinus/features/*/*.h5"))) / once["n_slides"]
        process = started(killed)
        time.sleep(moments.uniform(0.0, again + left * max(0.0, seconds - again)))  # about as long as it would run
        os.kill(process, signal.SIGKILL)
        hit += os.WIFSIGNALED(os.waitpid(process, 0)[1])
    print(json.dumps({"straight": once, "last": timed(killed)[0], "killed": hit}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
