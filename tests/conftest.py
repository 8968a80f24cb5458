"""Fixtures and settings that every room's tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

# the same examples on every run, and no clock: a slow machine is no failure
settings.register_profile("acinus", deadline=None, derandomize=True)
settings.load_profile("acinus")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, and all of tests/pipeline, which share projects that take minutes."""
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        item.add_marker(pytest.mark.xdist_group("pipeline" if place.startswith("pipeline/") else place))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides and annotations beside the checkout; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not here: {folder} is absent")
    return folder
