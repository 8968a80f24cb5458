"""Fixtures and settings that every room's tests share."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# the same examples on every run, and no clock: a slow machine is no failure
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=15)
settings.register_profile("full", settings.get_profile("quick"), max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

DEAR = ("tests/pipeline/", "tests/real/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that processes end at about the same time."""
    items.sort(key=lambda item: not item.nodeid.startswith(DEAR))


@cache
def place(path: str) -> str:
    """Return what the tests of a file share: finished runs, which take minutes, or nothing beyond their file."""
    text = Path(__file__).parents[1].joinpath(path).read_text()
    return next((fixture for fixture in ("tiny_project", "every_family") if fixture in text), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a place in one process."""
    from xdist.scheduler import LoadScopeScheduling

    class ByPlace(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return place(nodeid.partition("::")[0])

    return ByPlace(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides and annotations beside the checkout; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not here: {folder} is absent")
    return folder
