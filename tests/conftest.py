"""Fixtures and settings that every room's tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

# the same examples on every run, and no clock: a slow machine is no failure
settings.register_profile("acinus", deadline=None, derandomize=True)
settings.load_profile("acinus")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides and annotations beside the checkout; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not here: {folder} is absent")
    return folder
