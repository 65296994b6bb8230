"""`kerastorch cache`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..hub import checkpoints_of
from ..hub.cache import CachedCheckpoint, cached_checkpoints, remove_abandoned_drafts
from ..hub.settings import models_folder
from .arguments import add_command
from .tables import new_table, print_json, print_table

HEADER = ("file", "model", ">MB")


def add_to(commands: argparse._SubParsersAction) -> None:
    cache = commands.add_parser(
        "cache",
        help="look after the published weights on this machine",
        description="Look after the published weights on this machine.",
    )
    subcommands = cache.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_command(subcommands, run_list, "list", "list what is in the cache", "kerastorch cache list")
    add_command(
        subcommands,
        run_verify,
        "verify",
        "read every file in the cache and hold it to its hash; the exit code says whole or not",
        "kerastorch cache verify",
        answers=True,
    )
    clear = add_command(
        subcommands,
        run_clear,
        "clear",
        "remove what was converted",
        "kerastorch cache clear xception --downloads",
    )
    clear.add_argument("names", metavar="NAME", nargs="*", help="of which models; all by default")
    clear.add_argument(
        "--downloads", action="store_true", help="also Keras's own files, which Keras uses too"
    )


def run_list(options: argparse.Namespace) -> None:
    """Prints the files of published weights in the cache."""
    cached = cached_checkpoints()
    rows = [_row(place, path) for place in cached for path in _weights_of(place)]
    _print(rows, HEADER, options)


def run_verify(options: argparse.Namespace) -> int:
    """Prints whether each file is whole, and gives 1 if one is not."""
    rows, is_whole = [], True
    for place in cached_checkpoints():
        for path, fault in _faults(place):
            is_whole = is_whole and fault is None
            state = fault or _praise(place, path)
            rows.append({**_row(place, path), "state": state, "is_whole": fault is None})
    _print(rows, (*HEADER, "state"), options)
    return 0 if is_whole else 1


def run_clear(options: argparse.Namespace) -> None:
    """Removes files from the cache and says how much room that makes."""
    named = {found.weights for name in options.names for found in checkpoints_of(name)}
    room = 0
    for place in cached_checkpoints():
        if not options.names or place.checkpoint.weights in named:
            for path in place.files() if options.downloads else [place.converted]:
                room += path.stat().st_size if path.exists() else 0
                path.unlink(missing_ok=True)
    if models_folder().is_dir():
        remove_abandoned_drafts(models_folder())
    if options.json:
        print_json({"folder": str(models_folder()), "removed_bytes": room})
    else:
        print(f"{models_folder()}: {room / 1e6:.1f} MB removed")


def _weights_of(place: CachedCheckpoint) -> list[Path]:
    return [path for path in (place.keras_file, place.converted) if path.is_file()]


def _faults(place: CachedCheckpoint) -> Iterator[tuple[Path, str | None]]:
    for path in _weights_of(place):
        is_converted = path == place.converted
        yield (
            path,
            place.fault_of_converted(fully=True) if is_converted else place.fault_of_keras_file(),
        )


def _praise(place: CachedCheckpoint, path: Path) -> str:
    if path == place.converted:
        return "whole"
    if place.checkpoint.weights.hash is not None:
        return "as published"
    return "not used yet" if place.expected_hash() is None else "as first used"


def _row(place: CachedCheckpoint, path: Path) -> dict[str, Any]:
    return {
        "file": path.name,
        "model": place.checkpoint.title,
        "bytes": path.stat().st_size,
    }


def _print(
    rows: list[dict[str, Any]], header: tuple[str, ...], options: argparse.Namespace
) -> None:
    folder = models_folder()
    if options.json:
        print_json({"folder": str(folder), "files": rows})
        return
    if rows:
        table = new_table(*header)
        for row in rows:
            state = [row["state"]] if "state" in row else []
            table.add_row(row["file"], row["model"], f"{row['bytes'] / 1e6:.1f}", *state)
        print_table(table)
    total = sum(row["bytes"] for row in rows)
    print(f"{folder}: {total / 1e6:.1f} MB of published weights")
