"""How the server of the tests gets into the place of the published address.

In the tests' own process:

    inject(monkeypatch, server)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    kerastorch.Xception()

In others, for kerastorch and Keras alike, whatever is run and from wherever:

    subprocess.run([sys.executable, "-c", program], env=environment(server, home))

The hashes are those of the files that the server has at that moment, for what has a hash.
"""

import json
import os
from pathlib import Path

import pytest

from kerastorch.applications import registry
from kerastorch.hub import catalogue

from .files import md5
from .server import PublishedServer
from .startup.sitecustomize import record_with

NO_PROXY = "no_proxy", "127.0.0.1"  # not even where all else goes over one
STARTUP = Path(__file__).parent / "startup"


def hashes_of(server: PublishedServer) -> dict[str, str]:
    """The hash of each file of a server, by its path there."""
    files = server.folder.rglob("*.h5")
    return {file.relative_to(server.folder).as_posix(): f"md5:{md5(file)}" for file in files}


def inject(
    monkeypatch: pytest.MonkeyPatch, server: PublishedServer, also_unhashed: bool = False
) -> None:
    """Has this process take the server for the published address.

    With `also_unhashed`, files for which Keras publishes no hash get one too.
    """
    hashes = hashes_of(server)
    monkeypatch.setattr(catalogue, "ADDRESS", server.url)
    monkeypatch.setenv(*NO_PROXY)
    for name, record in list(registry._RECORDS.items()):
        monkeypatch.setitem(registry._RECORDS, name, record_with(record, hashes, also_unhashed))


def environment(server: PublishedServer, home: Path, **variables: str) -> dict[str, str]:
    """The environment of a process that takes the server for the published address.

    Args:
        server: the server.
        home: its `KERAS_HOME`.
        variables: what else to set, such as `KERASTORCH_OFFLINE="1"`.
    """
    published = json.dumps({"address": server.url, "hashes": hashes_of(server)})
    paths = [str(STARTUP), os.environ.get("PYTHONPATH")]
    return os.environ | {
        "TESTS_PUBLISHED": published,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "KERAS_HOME": str(home),
        NO_PROXY[0]: NO_PROXY[1],
        **variables,
    }
