"""The oracle's process: `python -m tests.oracle DESCRIPTOR` answers until its pipe is closed."""

import contextlib
import sys
import traceback
from multiprocessing.connection import Connection

from tests.oracle.keras_side import Keras


def serve(pipe: Connection, keras: Keras) -> None:
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
        serve(Connection(int(sys.argv[1])), Keras())
