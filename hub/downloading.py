"""Downloads: with a progress bar, tried again where that can help, and never half a file."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kerastorch.convert.atomic import replacing

from .errors import PublishedWeightsError
from .settings import timeout

WAITS = (1, 2, 4, 8)  # seconds between attempts
PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses of a server that may soon answer


class _WrongContentError(Exception):
    """What was downloaded is not what was to be had."""


def download(address: str, path: Path, expected_hash: str | None) -> None:
    """Downloads a file, which takes its name when it is complete and checked.

    Args:
        address: an `http` or `https` address.
        path: where to; a file there is replaced.
        expected_hash: algorithm and digest of the file, as `"md5:..."`; None to take what comes.

    Raises:
        PublishedWeightsError: the server does not have the file, has another one, or did not give
            all of it in any of the attempts; or the disk is full.
    """
    with _in_words(address, path):
        for wait in WAITS:
            try:
                return _attempt(address, path, expected_hash)
            except Exception as error:
                if not _is_passing(error):
                    raise
            time.sleep(wait)
        _attempt(address, path, expected_hash)


def fetch(address: str) -> bytes | None:
    """A small file from a server; None where it has none.

    Raises:
        PublishedWeightsError: the server does not answer.
    """
    import requests

    try:
        response = requests.get(address, timeout=timeout())
        if response.status_code == 404:
            return None
        response.raise_for_status()
    except requests.RequestException as error:
        raise PublishedWeightsError(f"{address} cannot be read: {_reason(error)}") from error
    return response.content


def _attempt(address: str, path: Path, expected_hash: str | None) -> None:
    import pooch
    from tqdm import tqdm

    # Pooch asks whether a bar has a total before it sets it. Without a terminal there is no bar.
    bar = tqdm(desc=path.name, total=1, unit="B", unit_scale=True, disable=None)
    with replacing(path) as file, bar:
        pooch.HTTPDownloader(progressbar=bar, timeout=timeout())(address, file, None)
        file.flush()
        if expected_hash is not None:
            check_hash(Path(file.name), expected_hash)


def check_hash(path: Path, expected_hash: str) -> None:
    """Raises an error if the file's hash is another one; see `has_hash`."""
    found = hash_of(path, expected_hash.partition(":")[0])
    if found != expected_hash:
        raise _WrongContentError(f"its hash is {found} instead of {expected_hash}")


def hash_of(path: Path, algorithm: str) -> str:
    """The hash of a file's content, as `"md5:..."`."""
    import pooch

    return f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"


def _is_passing(error: Exception) -> bool:
    """Whether another attempt may succeed."""
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response.status_code in PASSING
    return isinstance(error, requests.RequestException | _WrongContentError)


@contextmanager
def _in_words(address: str, path: Path) -> Iterator[None]:
    """Turns what can go wrong into one error that says what to do."""
    import requests

    try:
        yield
    except (requests.RequestException, _WrongContentError) as error:
        raise PublishedWeightsError(
            f"{address} cannot be downloaded: {_reason(error)}. Try again later, name a mirror in "
            f"KERASTORCH_WEIGHTS_URL, or put the file at {path}"
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise PublishedWeightsError(
            f"{path.name} cannot be written: {error.strerror}. Make room in {path.parent}, or name "
            "another folder in KERAS_HOME"
        ) from error


def _reason(error: Exception) -> str:
    """The error's text, without what the libraries wrap around it."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"the server says {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"the server was silent for {timeout():g} seconds"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return f"the connection failed ({error.args[0] if error.args else error})"
    return str(error)
