"""The oracle's process: `python -m tests.oracle KERAS DESCRIPTOR` answers until its pipe is closed.

KERAS is the module that answers: `keras_side`, or `keras2_side` for Keras 2.
"""

import contextlib
import gc
import sys
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any


def serve(pipe: Connection, keras: Any) -> None:
    while True:
        question, arguments = pipe.recv()
        try:
            for answer in getattr(keras, question)(**arguments):
                pipe.send(("answer", answer))
        except Exception:
            pipe.send(("error", traceback.format_exc()))
        else:
            pipe.send(("end", None))


if __name__ == "__main__":
    with contextlib.suppress(EOFError, BrokenPipeError):  # The tests have closed their end.
        side, descriptor = sys.argv[1:]
        keras = import_module(f"tests.oracle.{side}").Keras()
        # The collector would walk a large model again and again while Keras makes it, which takes
        # as long as making it. The sides collect a model before they make the next one.
        gc.freeze()
        gc.disable()
        serve(Connection(int(descriptor)), keras)
