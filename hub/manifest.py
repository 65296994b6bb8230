"""The manifest of a release: which converted files there are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kerastorch.convert.atomic import replacing
from kerastorch.convert.unverified import read_json

from .downloading import fetch
from .errors import PublishedWeightsError

MANIFEST = "manifest.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class ReleasedFile:
    """A converted file of a release.

    Attributes:
        name: its name.
        model: the model in words.
        size: in bytes.
        sha256: of the file.
        source: what its header says of the file it was made from: name, address, hashes.
        parity: the largest difference of any layer's output from Keras's, in float64, relative to
            the largest value of that output; None where Keras was not at hand.
    """

    name: str
    model: str
    size: int
    sha256: str
    source: dict[str, Any]
    parity: float | None


def find_in_mirror(mirror: str, name: str) -> ReleasedFile | None:
    """What the manifest of a mirror says of a file; None where it says nothing, or is not there.

    Raises:
        PublishedWeightsError: the mirror does not answer, or its manifest is broken.
    """
    address = f"{mirror}/{MANIFEST}"
    content = fetch(address)
    if content is None:
        return None
    try:
        files = _parse(content)
    except ValueError as error:
        raise PublishedWeightsError(f"{address}: {error}") from error
    return next((file for file in files if file.name == name), None)


def read_manifest(path: Path) -> list[ReleasedFile]:
    """The files of a release; none where there is no manifest yet.

    Raises:
        ValueError: it is broken, or of another format.
    """
    return _parse(path.read_bytes()) if path.exists() else []


def _parse(content: bytes) -> list[ReleasedFile]:
    try:
        manifest = read_json(content.decode(), "manifest")
        if manifest["format_version"] != FORMAT_VERSION:
            raise ValueError(f"The manifest has format {manifest['format_version']}.")
        return [ReleasedFile(**entry) for entry in manifest["files"]]
    except (LookupError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"The manifest is broken: {error!r}.") from error


def write_manifest(path: Path, files: Iterable[ReleasedFile]) -> None:
    """Writes the manifest of a release, by name."""
    ordered = sorted(files, key=lambda file: file.name)
    manifest = {"format_version": FORMAT_VERSION, "files": [asdict(file) for file in ordered]}
    with replacing(path) as file:
        file.write(json.dumps(manifest, indent=1).encode() + b"\n")
