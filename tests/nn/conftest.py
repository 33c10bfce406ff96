"""What the tests of networks share: PyTorch as a judge of another make."""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """PyTorch, with which networks, losses and optimisers are compared."""
    reason = "PyTorch is the independent judge of these tests: pip install 'pellucid[judges]'"
    return pytest.importorskip("torch", reason=reason)
