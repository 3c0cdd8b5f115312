"""Logger and metrics of the functions: every line carries release, wave and item; never a credential or an environment value."""

from __future__ import annotations

from typing import Protocol

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger(log_uncaught_exceptions=False)
metrics = Metrics()
__all__ = ["MetricUnit", "about_item", "about_release", "logger", "metrics"]


def about_release(release: str, **more: object) -> None:
    """Put the release (and wave, batch, phase) on every line from here on, and forget what the last invocation put."""
    logger.thread_safe_clear_keys()
    logger.append_keys(release=release, **more)


class Item(Protocol):
    """What a line says of an item."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def wave(self) -> int: ...


def about_item(item: Item) -> None:
    """Put the item and its wave on every line from here on."""
    logger.append_keys(item=item.name, kind=item.kind, target=item.target, wave=item.wave)
