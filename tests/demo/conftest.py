"""The CAMELYON demonstration cohort, drawn once for all tests that look at it: small, and as it is by default."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from acinus.params import CamelyonDemo
from acinus_demo import camelyon
from acinus_demo.camelyon import SlidePlan

SEED = 20261121
SMALL = CamelyonDemo(size_px=1024, training_tumor=4, training_normal=1, test_tumor=2, test_normal=1)


@pytest.fixture(scope="session")
def small_plans() -> list[SlidePlan]:
    """The plans of a small cohort."""
    return camelyon.plan(SEED, SMALL)


@pytest.fixture(scope="session")
def small_cohort(small_plans: list[SlidePlan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a small cohort."""
    root = tmp_path_factory.mktemp("demo") / "small"
    for plan in small_plans:
        camelyon.draw_slide(plan, root)
    camelyon.finish(small_plans, root)
    return root


@pytest.fixture(scope="session")
def demo_plans() -> list[SlidePlan]:
    """The plans of the cohort at its default size."""
    return camelyon.plan(SEED, CamelyonDemo())


@pytest.fixture(scope="session")
def demo_cohort(demo_plans: list[SlidePlan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the cohort at its default size, drawn with two processes."""
    root = tmp_path_factory.mktemp("demo") / "camelyon"
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(camelyon.draw_slide, root=root), demo_plans))
    camelyon.finish(demo_plans, root)
    return root
