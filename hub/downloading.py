"""Downloads: with a progress bar, tried again where that can help, and never half a file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from kerastorch.convert.atomic import replacing

from .errors import PublishedWeightsError
from .settings import timeout

WAITS = (1, 2, 4, 8)  # seconds between attempts
CHUNK = 1 << 16  # bytes; pooch's default of 1 KB costs more than the network of a fast mirror
PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses of a server that may soon answer

Result = TypeVar("Result")

_logger = logging.getLogger(__name__)


class DownloadError(PublishedWeightsError):
    """A server does not give a file."""


class WrongFileError(DownloadError):
    """A server has another file than the one that was to be had."""


class _WrongHashError(Exception):
    """What was downloaded has another hash than what was to be had."""


def download(address: str, path: Path, expected_hash: str | None) -> None:
    """Downloads a file, which takes its name when it is complete and checked.

    Args:
        address: an `http` or `https` address.
        path: where to; a file there is replaced.
        expected_hash: algorithm and digest of the file, as `"md5:..."`; None to take what comes.

    Raises:
        WrongFileError: the server has another file.
        DownloadError: the server does not have the file, or did not give all of it in any of the
            attempts.
        PublishedWeightsError: the file cannot be written.
    """
    try:
        with _in_words(address):
            _persistently(path.name, lambda: _attempt(address, path, expected_hash))
    except PublishedWeightsError:
        raise
    except OSError as error:
        raise PublishedWeightsError(
            f"{path} cannot be written: {error.strerror or error}. Make room there, or name "
            "another folder in KERAS_HOME"
        ) from error


def fetch(address: str) -> bytes | None:
    """A small file from a server; None where it has none.

    Raises:
        DownloadError: the server does not answer.
    """
    import requests

    def attempt() -> bytes | None:
        response = requests.get(address, timeout=timeout())
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return response.content

    with _in_words(address):
        return _persistently(address, attempt)


def _persistently(what: str, attempt: Callable[[], Result]) -> Result:
    """What the first attempt gives that succeeds; says why there are others."""
    wrong = set()
    for wait in WAITS:
        try:
            return attempt()
        except _WrongHashError as error:
            if str(error) in wrong:  # no accident of this download, then
                raise
            wrong.add(reason := str(error))
        except Exception as error:
            if not _is_passing(error):
                raise
            reason = _reason(error)
        _logger.warning("%s: %s. Trying again in %g s", what, reason, wait)
        time.sleep(wait)
    return attempt()


def _attempt(address: str, path: Path, expected_hash: str | None) -> None:
    import pooch
    from tqdm import tqdm

    # Pooch asks whether a bar has a total before it sets it. Without a terminal there is no bar.
    bar = tqdm(desc=path.name, total=1, unit="B", unit_scale=True, disable=None)
    with replacing(path) as file, bar:
        http = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=timeout())
        http(address, file, None)
        file.flush()
        if expected_hash is not None:
            found = hash_of(Path(file.name), expected_hash.partition(":")[0])
            if found != expected_hash:
                raise _WrongHashError(f"its hash is {found} instead of {expected_hash}")


def hash_of(path: Path, algorithm: str) -> str:
    """The hash of a file's content, as `"md5:..."`."""
    import pooch

    return f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"


def _is_passing(error: Exception) -> bool:
    """Whether another attempt may succeed."""
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response.status_code in PASSING
    if isinstance(error, requests.exceptions.SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    return isinstance(
        error,
        requests.ConnectionError
        | requests.Timeout
        | requests.exceptions.ChunkedEncodingError
        | requests.exceptions.ContentDecodingError,
    )


@contextmanager
def _in_words(address: str) -> Iterator[None]:
    """Turns what can go wrong on the way into one error."""
    import requests

    try:
        yield
    except (requests.RequestException, _WrongHashError) as error:
        kind = WrongFileError if isinstance(error, _WrongHashError) else DownloadError
        raise kind(f"{address} cannot be downloaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The error's text, without what the libraries wrap around it."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"the server says {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"the server was silent for {timeout():g} seconds"
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", None) or cause
    if isinstance(error, requests.exceptions.SSLError):
        return f"the connection is not safe ({cause}); REQUESTS_CA_BUNDLE names whom to trust"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return f"the connection failed ({cause})"
    return str(error).rstrip(".")
