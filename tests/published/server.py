"""An HTTP server on loopback that serves a folder and fails on demand.

    with PublishedServer(folder) as server:
        server.faults["vgg16/weights.h5"] = [unavailable, unavailable]
        download(f"{server.url}/vgg16/weights.h5")
    assert server.requests["vgg16/weights.h5"] == 3

Paths are relative to the folder. A fault is a function of this module that answers one request in
place of the file; each path uses up its list of them, one a request, and is well from then on.
"""

import mmap
import socket
import ssl
import struct
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class PublishedServer:
    """Serves the files of a folder while its `with` block lasts, also to other processes.

    Args:
        folder: holds the files under their published paths.
        bytes_per_second: how fast each answer is sent; None is as fast as it goes. It may be set
            at any time, and an answer under way follows.
        certificate: a file of a certificate and its key, to speak HTTPS.

    Attributes:
        url: the address of the folder, without a slash at its end.
        requests: how often each path was asked for.
        faults: the list of faults still to come for each path.
    """

    def __init__(
        self,
        folder: Path,
        bytes_per_second: float | None = None,
        certificate: Path | None = None,
    ):
        self.folder = Path(folder)
        self.bytes_per_second = bytes_per_second
        self.requests: Counter[str] = Counter()
        self.faults: defaultdict[str, list[Callable]] = defaultdict(list)
        self.ending = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.published = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")

    def __enter__(self) -> "PublishedServer":
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, path: str) -> Callable | None:
        """Note a request, and give the fault that it meets."""
        with self._lock:
            self.requests[path] += 1
            faults = self.faults[path]
            return faults.pop(0) if faults else None


class _Server(ThreadingHTTPServer):
    request_queue_size = 64  # The default of 5 makes a crowd of clients wait for a second.

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # Clients are killed and give up.
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        # A client that takes this server for a proxy sends the whole address.
        path = unquote(urlsplit(self.path).path).lstrip("/")
        fault = self.server.published.count(path)
        file = self.server.published.folder / path
        if fault or file.is_file():
            (fault or whole)(self, memory_mapped(file))
        else:
            not_found(self, b"")
        self.close_connection = True

    def head(self, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def body(self, content) -> None:
        """Send the content at the server's speed, and stop where the server ends."""
        published, sent = self.server.published, 0
        while sent < len(content) and not published.ending.is_set():
            speed = published.bytes_per_second
            step = max(1, int(speed / 50)) if speed else 2**20
            self.wfile.write(content[sent : sent + step])
            sent += step
            if speed:
                published.ending.wait(step / speed)

    def half(self, content) -> None:
        """Announce the whole and send half of it."""
        self.head(Content_Length=str(len(content)))
        self.body(content[: len(content) // 2])

    def log_message(self, *arguments) -> None:
        """Keep the tests' output clean."""


def memory_mapped(file: Path) -> memoryview | bytes:
    """The content of a file, in no memory of its own however many ask for it at once."""
    if not file.is_file() or not file.stat().st_size:
        return b""
    with file.open("rb") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))


# Answers to a request, each a function of the handler and the content of the file. The first is
# what happens without a fault.


def whole(request: _Handler, content) -> None:
    request.head(Content_Length=str(len(content)))
    request.body(content)


def reset(request: _Handler, content) -> None:
    """The connection is reset at half of the body."""
    request.half(content)
    # Closed before the library shuts it down politely: with no time to linger, that is a reset.
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.rfile.close()
    request.connection.close()


def truncated(request: _Handler, content) -> None:
    """The connection is closed at half of the announced length."""
    request.half(content)


def truncated_without_length(request: _Handler, content) -> None:
    """The same from a server of HTTP/1.0 that announces no length: half looks complete."""
    request.protocol_version = "HTTP/1.0"
    request.head()
    request.body(content[: len(content) // 2])


def wrong_byte(request: _Handler, content) -> None:
    """A body of the right length in which one byte in the middle is another, as in a weight."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 0xFF
    whole(request, changed)


def wrong_bytes(request: _Handler, content) -> None:
    """A body of the right length in which no byte is right."""
    whole(request, bytes(content).translate(bytes(reversed(range(256)))))


def not_found(request: _Handler, content) -> None:
    request.head(HTTPStatus.NOT_FOUND, Content_Length="0")


def unavailable(request: _Handler, content) -> None:
    request.head(HTTPStatus.SERVICE_UNAVAILABLE, Content_Length="0")


def stalled(request: _Handler, content) -> None:
    """Half of the body, then nothing until the client goes away or the server ends."""
    request.half(content)
    request.connection.settimeout(0.05)
    while not request.server.published.ending.is_set():
        try:
            if not request.connection.recv(1):
                return
        except TimeoutError:
            pass


def redirected_to(path: str) -> Callable:
    """The fault that sends the client to another path of the same server."""

    def redirected(request: _Handler, content) -> None:
        request.head(HTTPStatus.FOUND, Location=f"/{path}", Content_Length="0")

    return redirected
