"""No test leaves its plug-ins in use."""

from collections.abc import Iterator

import pytest

from acinus.metrics.registry import use_plugins
from acinus.plugins import finding


@pytest.fixture(autouse=True)
def _none_afterwards() -> Iterator[None]:
    yield
    finding.use(None)
    use_plugins()
