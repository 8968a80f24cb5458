"""Fixtures and settings that every room's tests share."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# the same examples on every run, and no clock: a slow machine is no failure
settings.register_profile("acinus", deadline=None, derandomize=True)
settings.load_profile("acinus")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file in one process, and all of tests/pipeline, which share projects that take minutes."""
    from xdist.scheduler import LoadScopeScheduling

    class ByPlace(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "pipeline" if nodeid.startswith("tests/pipeline/") else nodeid.partition("::")[0]

    return ByPlace(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides and annotations beside the checkout; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not here: {folder} is absent")
    return folder
