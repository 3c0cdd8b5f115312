"""What every suite stands on."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
from botocore.loaders import JSONFileLoader
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def _service_models_are_read_once() -> Iterator[None]:
    """A test that makes sessions of its own reads AWS's service models from memory: each session reads them from files otherwise,
    a quarter of the time of many a test."""
    from_file = JSONFileLoader.load_file
    with pytest.MonkeyPatch.context() as patch:
        kept = functools.cache(functools.partial(from_file, JSONFileLoader()))
        patch.setattr(JSONFileLoader, "load_file", lambda self, path: kept(path))
        yield
