"""What the tests of faults share."""

import re
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

from kerastorch.hub import PublishedWeightsError
from tests.published.server import (
    reset,
    stalled,
    truncated,
    truncated_without_length,
    unavailable,
    wrong_byte,
    wrong_bytes,
)

# What is not expected is an error: also a warning, but for those of sockets that pooch, where a
# download fails, leaves to the garbage collector.
ONLY_EXPECTED_WARNINGS = pytest.mark.filterwarnings("error", "ignore::ResourceWarning")

PASSING = {
    "reset": [reset],
    "truncated": [truncated],
    "unavailable": [unavailable, unavailable],
    "stalled": [stalled],
    "all": [reset, unavailable, stalled, truncated],
}
WRONG = {
    "truncated_without_length": [truncated_without_length],
    "wrong_byte": [wrong_byte],
    "wrong_bytes": [wrong_bytes],
    "three_wrong": [wrong_byte, truncated_without_length, wrong_bytes],
}


CACHED = (".h5", ".h5.sha256", ".safetensors")
HASHED = (".h5", ".safetensors")


def assert_starts(subject, home, *endings, warning=None):
    """A start gives the right model, with one warning if there is one to be."""
    with expected_warning(warning):
        subject.assert_is_right(subject.start())
    subject.assert_cache_is_good(home, *endings)


@contextmanager
def expected_warning(text):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    found = [str(x.message) for x in caught if not issubclass(x.category, ResourceWarning)]
    assert len(found) == (text is not None), found
    assert text is None or re.search(text, found[0]), found


def assert_fails(subject, home, text, *endings):
    """A start ends in one error, which reads well."""
    with pytest.raises(PublishedWeightsError) as caught:
        subject.start()
    message = str(caught.value)
    assert re.search(text, message), message
    assert "None" not in message
    assert len(message) < 700
    subject.assert_cache_is_good(home, *endings)


def in_cache(subject, home):
    """Keras's file, in the cache as if Keras had downloaded it."""
    path = home / "models" / subject.original.name
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(subject.original, path))


def change_byte(path, position):
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1]))
