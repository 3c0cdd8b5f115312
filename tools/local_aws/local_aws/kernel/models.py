"""AWS's service models, as botocore keeps them in files."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from unittest import mock

from botocore.loaders import JSONFileLoader


@contextlib.contextmanager
def read_once() -> Iterator[None]:
    """Read each model once while moto is imported: it asks three sessions where EC2 is, and each would read EC2's anew.

    Not for longer: a client changes the model that it was made from.
    """
    kept = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
    with mock.patch.object(JSONFileLoader, "load_file", lambda _, path: kept(path)):
        yield
