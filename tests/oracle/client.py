"""The tests' end of the pipe to Keras."""

import os
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "CUDA_VISIBLE_DEVICES": "",
    "TF_NUM_INTRAOP_THREADS": "1",  # The tests compute at the same time: a core for each.
    "TF_NUM_INTEROP_THREADS": "1",
}


class OracleError(RuntimeError):
    """Keras raised; the message is its traceback."""


class Oracle:
    """One Keras process and the one model it holds, questioned over a pipe.

    Every public method of the side's `Keras` is a question. The pipe holds a few kilobytes, so a
    stream of large answers is computed only as fast as it is read.

    Args:
        side: the module that answers, `keras_side` or, for Keras 2, `keras2_side`.
    """

    def __init__(self, side: str = "keras_side"):
        self._pipe, theirs = Pipe()
        descriptor = theirs.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.oracle", side, str(descriptor)],
            cwd=ROOT,
            env=os.environ | ENVIRONMENT,
            pass_fds=[descriptor],
        )
        theirs.close()

    def __enter__(self) -> "Oracle":
        return self

    def __exit__(self, *error) -> None:
        self._pipe.close()
        self._process.wait(timeout=60)

    def ask(self, question: str, **arguments):
        """The single answer to a question."""
        (answer,) = self.stream(question, **arguments)
        return answer

    def stream(self, question: str, **arguments) -> Iterator:
        """The answers one by one; the rest is read and dropped when the caller stops early."""
        self._pipe.send((question, arguments))
        kind = "answer"
        try:
            while kind == "answer":
                kind, content = self._receive()
                if kind == "answer":
                    yield content
        finally:
            while kind == "answer":
                kind, content = self._receive()
        if kind == "error":
            raise OracleError(content)

    def _receive(self) -> tuple[str, object]:
        try:
            return self._pipe.recv()
        except EOFError:
            code = self._process.wait()
            raise OracleError(f"the oracle's process ended with exit code {code}") from None
