"""What a measurement was made on, and with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = (
    "kerastorch",
    "torch",
    "torchvision",
    "timm",
    "keras",
    "tensorflow-cpu",
    "onnxruntime",
    "openvino",
)


def about() -> dict[str, object]:
    """The processor, the number of its cores, and the versions of what is compared."""
    return {"machine": processor(), "cores": os.cpu_count(), "versions": versions()}


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if "model name" in line), "")


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
