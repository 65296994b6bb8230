"""This side of the process that runs models in Keras."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .keras_process import receive, send

PROGRAM = Path(__file__).with_name("keras_process.py")
_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # its float32 kernels reorder sums
    "CUDA_VISIBLE_DEVICES": "",
}
Answer = tuple[dict[str, Any], list[np.ndarray]]


class KerasProcessError(ChildProcessError):
    """Keras could not run the model; the message is Keras's own."""


class KerasMissingError(KerasProcessError):
    """Keras is not installed beside this package."""


class KerasProcess:
    """Keras on TensorFlow in a process of its own, for one model after another.

    A context manager: the process ends with the block.

    Args:
        package: what runs the models, `keras` or, for files of Keras 2, `tf_keras`.

    Raises:
        KerasMissingError: the package or TensorFlow is not installed.
    """

    def __init__(self, package: str = "keras"):
        if not is_installed(package):
            raise KerasMissingError(
                "Keras with TensorFlow is not installed: pip install 'kerastorch[verify]', or "
                "compare with another file or a stored reference."
            )
        self._folder = tempfile.TemporaryDirectory()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._is_answering = False
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), package, self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | _ENVIRONMENT,
        )

    def __enter__(self) -> KerasProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):  # it ended before it was asked
                stream.close()
        self._folder.cleanup()

    def ask(self, question: str, **arguments: Any) -> Answer:
        """The single answer to a question.

        Raises:
            KerasProcessError: Keras raised, or the process has ended.
        """
        (answer,) = self.stream(question, **arguments)
        return answer

    def stream(
        self, question: str, arrays: Sequence[np.ndarray] = (), **arguments: Any
    ) -> Iterator[Answer]:
        """The answers one by one; the rest is read and dropped when the generator is closed.

        Raises:
            KerasProcessError: Keras raised, or the process has ended.
            RuntimeError: the answers to another question have not been read.
        """
        if self._is_answering:
            raise RuntimeError("Keras is still answering another question.")
        is_open = self._is_answering = True
        try:
            send(self._process.stdin, {"question": question, **arguments}, arrays)
            while True:
                message, answered = receive(self._process.stdout)
                is_open = not message.keys() & {"end", "error"}
                if "error" in message:
                    raise KerasProcessError(_in_words(message["error"]))
                if not is_open:
                    return
                yield message, answered
        except (EOFError, BrokenPipeError):
            is_open = False
            raise KerasProcessError(
                f"The process that runs Keras ended: {self._last_words()}"
            ) from None
        finally:
            while is_open:
                message, _ = receive(self._process.stdout)
                is_open = not message.keys() & {"end", "error"}
            self._is_answering = False

    def _last_words(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"it was stopped by {signal.Signals(-code).name}, as for want of memory."
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-500:]


def _in_words(error: str) -> str:
    """Keras's error without the lines behind the first, and with advice where there is some."""
    message = f"Keras does not run the model: {error.splitlines()[0]:.500}"
    if "NHWC" in error:
        message += (
            " (TensorFlow convolves channels-first images on GPUs only: verify a channels-last "
            "twin, or against a file that runs here)"
        )
    return message


def is_installed(package: str = "keras") -> bool:
    """Whether a Keras and TensorFlow can be started beside this process."""
    return all(importlib.util.find_spec(name) for name in (package, "tensorflow"))


def package_for(version: str | None) -> str:
    """The package that runs files of a version of Keras, as far as it is installed."""
    is_old = version is not None and version.startswith("2.")
    return "tf_keras" if is_old and is_installed("tf_keras") else "keras"
