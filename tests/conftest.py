"""What all tests share: their order, and trainings that need no drawings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True, scope="session")
def on_all_threads() -> Iterator[None]:
    """Small programs, too, run on as many threads as they are asked to: the tests' networks are small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pellucid.network.engine.MEETING", 0)
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawings are empty: they take most of the time of a small training, and have tests of their own."""
    for name in ("confusion", "curves", "gradients"):
        monkeypatch.setattr(f"pellucid.train.report.{name}.as_svg", lambda *_: '<svg viewBox="0 0 1 1"></svg>\n')
