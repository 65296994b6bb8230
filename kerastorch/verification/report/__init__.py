"""A verdict as one HTML page that needs no network, to read, print and file."""

from __future__ import annotations

import base64
import hashlib
import os
from importlib import resources
from pathlib import Path
from xml.etree.ElementTree import Element

from kerastorch.convert.atomic import replacing

from ..verdict import Verdict
from .markup import element, serialize
from .sections import headline, sections


def write_report(verdict: Verdict, path: str | os.PathLike[str]) -> None:
    """Write a verdict to `path` as a page, over an old file of that name.

    The page holds everything it shows: it loads nothing, and its own policy keeps a browser from
    doing so and from running any script but its own, whatever the names in it say.

    Raises:
        OSError: if the file cannot be written; what was there before is kept.
    """
    with replacing(Path(path)) as file:
        file.write(serialize(_page(verdict)))


def _page(verdict: Verdict) -> Element:
    style, script = _asset("report.css"), _asset("report.js")
    return element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
            element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name_="color-scheme", content="light dark"),
            element("title", f"{headline(verdict)}: {verdict.model.name}"),
            element("link", rel="icon", href="data:,"),  # else a browser asks a server for one
            element("style", style),
        ),
        element("body", element("main", *sections(verdict)), element("script", script)),
        lang="en",
    )


def _asset(name: str) -> str:
    return (resources.files(__name__) / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Nothing from outside, and of scripts only the one with this hash."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
