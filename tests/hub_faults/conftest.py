"""What is published, and a server of it."""

import shutil

import pytest

from kerastorch.hub import downloading
from tests.oracle.client import Oracle
from tests.published import files
from tests.published.checking import Subject
from tests.published.injection import inject
from tests.published.server import PublishedServer, stalled


@pytest.fixture(scope="session")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    with Oracle() as oracle:
        path = files.publish(oracle, folder, "MobileNet", alpha=0.25, size=128)
    path = path.relative_to(folder).as_posix()
    return Subject.of(folder, path, "MobileNet", alpha=0.25, input_shape=(128, 128, 3))


@pytest.fixture
def folder(subject, tmp_path):
    """What the server has: a copy, for tests that change it."""
    copy = tmp_path / "published" / subject.path
    copy.parent.mkdir(parents=True)
    shutil.copyfile(subject.original, copy)
    return tmp_path / "published"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def server(folder, home, monkeypatch):
    """The file without a published hash, as it is."""
    monkeypatch.setattr(downloading, "WAITS", (0.01,) * len(downloading.WAITS))
    with PublishedServer(folder) as server:
        inject(monkeypatch, server)
        yield server


@pytest.fixture
def let_fail(monkeypatch):
    """Gives a path of a server its faults."""

    def let_fail(server, path, faults):
        server.faults[path] = list(faults)
        if stalled in faults:
            monkeypatch.setenv("KERASTORCH_TIMEOUT", "0.5")

    return let_fail


@pytest.fixture
def hashed(server, monkeypatch):
    """The same file with a published hash."""
    inject(monkeypatch, server, also_unhashed=True)
