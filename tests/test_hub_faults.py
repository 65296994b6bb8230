"""Whatever the network and the disk do: the right model or one clear error, and no bad file.

Most tests use the smallest published file, of 2 MB, which has no published hash; some give it one.
"""

import ctypes
import os
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from kerastorch.convert import safetensors_files
from kerastorch.convert.atomic import is_draft
from kerastorch.hub import PublishedWeightsError, catalogue, checkpoints_of, downloading, fill_cache
from kerastorch.hub import manifest as manifests
from kerastorch.hub import release as releases
from kerastorch.hub.cache import cached_checkpoints
from tests.oracle.client import ROOT, Oracle
from tests.published import files
from tests.published.checking import Subject
from tests.published.injection import environment, inject
from tests.published.server import (
    PublishedServer,
    not_found,
    redirected_to,
    reset,
    stalled,
    truncated,
    truncated_without_length,
    unavailable,
    wrong_byte,
    wrong_bytes,
)

# What is not expected is an error: also a warning, but for those of sockets that pooch, where a
# download fails, leaves to the garbage collector.
pytestmark = pytest.mark.filterwarnings("error", "ignore::ResourceWarning")

ATTEMPTS = len(downloading.WAITS) + 1
SIZE = (128, 128, 3)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    with Oracle() as oracle:
        path = files.publish(oracle, folder, "MobileNet", alpha=0.25, size=128)
    path = path.relative_to(folder).as_posix()
    return Subject.of(folder, path, "MobileNet", alpha=0.25, input_shape=SIZE)


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


CACHED = (".h5", ".h5.sha256", ".safetensors")
HASHED = (".h5", ".safetensors")


def assert_starts(subject, home, *endings, warning=None):
    """A start gives the right model, with one warning if there is one to be."""
    with expected_warning(warning):
        subject.assert_is_right(subject.start())
    subject.assert_cache_is_good(home, *endings)


@contextmanager
def expected_warning(text):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    found = [str(x.message) for x in caught if not issubclass(x.category, ResourceWarning)]
    assert len(found) == (text is not None), found
    assert text is None or re.search(text, found[0]), found


def assert_fails(subject, home, text, *endings):
    """A start ends in one error, which reads well."""
    with pytest.raises(PublishedWeightsError) as caught:
        subject.start()
    message = str(caught.value)
    assert re.search(text, message), message
    assert "None" not in message
    assert len(message) < 700
    subject.assert_cache_is_good(home, *endings)


# Downloads


def test_a_good_download(server, subject, home):
    assert_starts(subject, home, *CACHED)
    assert_starts(subject, home, *CACHED)
    assert server.requests == {subject.path: 1}


PASSING = {
    "reset": [reset],
    "truncated": [truncated],
    "unavailable": [unavailable, unavailable],
    "stalled": [stalled],
    "all": [reset, unavailable, stalled, truncated],
}
WRONG = {
    "truncated_without_length": [truncated_without_length],
    "wrong_byte": [wrong_byte],
    "wrong_bytes": [wrong_bytes],
    "three_wrong": [wrong_byte, truncated_without_length, wrong_bytes],
}


@pytest.mark.parametrize("faults", PASSING)
def test_faults_that_pass(server, subject, home, let_fail, faults):
    let_fail(server, subject.path, PASSING[faults])
    assert_starts(subject, home, *CACHED)
    assert server.requests == {subject.path: len(PASSING[faults]) + 1}


@pytest.mark.usefixtures("hashed")
@pytest.mark.parametrize("faults", PASSING | WRONG)
def test_faults_that_pass_with_a_published_hash(server, subject, home, let_fail, faults):
    faults = (PASSING | WRONG)[faults]
    let_fail(server, subject.path, faults)
    assert_starts(subject, home, *HASHED)
    assert server.requests == {subject.path: len(faults) + 1}


LASTING = {
    "reset": (reset, ATTEMPTS, "the connection failed .*reset"),
    "truncated": (truncated, ATTEMPTS, "the connection failed .*IncompleteRead"),
    "unavailable": (unavailable, ATTEMPTS, "the server says 503"),
    "stalled": (stalled, ATTEMPTS, "the connection failed .*timed out"),
    "not_found": (not_found, 1, "the server says 404 Not Found"),
}


@pytest.mark.parametrize("fault", LASTING)
def test_faults_that_last(server, subject, home, let_fail, fault):
    fault, requests, text = LASTING[fault]
    let_fail(server, subject.path, [fault] * requests)
    text = (
        f"{server.url}/{subject.path} cannot be downloaded: {text}.* put .*{subject.original.name}"
    )
    assert_fails(subject, home, text)
    assert server.requests == {subject.path: requests}
    assert_starts(subject, home, *CACHED)


@pytest.mark.usefixtures("hashed")
@pytest.mark.parametrize("fault", [truncated_without_length, wrong_byte, wrong_bytes])
def test_a_server_with_another_file(server, subject, home, fault):
    """The same wrong file twice is what the server has: it is not asked five times."""
    server.faults[subject.path] = [fault] * 2
    assert_fails(subject, home, f"hash is md5:.* instead of md5:{files.md5(subject.original)}")
    assert server.requests == {subject.path: 2}
    assert_starts(subject, home, *HASHED)


@pytest.mark.parametrize("fault", [truncated_without_length, wrong_bytes])
def test_what_is_no_file_of_the_model(server, subject, home, fault):
    """Without a hash it shows when the file is read."""
    server.faults[subject.path] = [fault]
    assert_fails(subject, home, f"{subject.path} is no file of mobilenet, alpha 0.25, 128 x 128")
    assert_starts(subject, home, *CACHED)


def test_a_right_file_that_cannot_be_converted(server, subject, home, monkeypatch):
    """Where the hash is right, another download would not help, and the file is not removed."""
    (server.folder / subject.path).write_bytes(b"no file of Keras")
    inject(monkeypatch, server, also_unhashed=True)
    for place in (f"{server.url}/{subject.path}", home / "models" / subject.original.name):
        with pytest.raises(PublishedWeightsError, match=f"{place} is no file of mobilenet"):
            subject.start()
    assert server.requests == {subject.path: 1}
    assert (home / "models" / subject.original.name).read_bytes() == b"no file of Keras"


def test_a_redirect(server, subject, home):
    server.faults[subject.path] = [redirected_to("moved.h5")]
    shutil.move(server.folder / subject.path, server.folder / "moved.h5")
    assert_starts(subject, home, *CACHED)
    assert server.requests == {subject.path: 1, "moved.h5": 1}


def test_a_circle_of_redirects(server, subject, home):
    server.faults[subject.path] = [redirected_to(subject.path)] * 40
    assert_fails(subject, home, "cannot be downloaded: Exceeded 30 redirects. Try")
    assert server.requests == {subject.path: 31}


def test_an_address_that_is_none(server, subject, home, monkeypatch):
    monkeypatch.setenv("KERASTORCH_WEIGHTS_URL", "ftp://mirror")
    assert_fails(subject, home, "ftp://mirror/manifest.json .*: No connection adapters")


def test_no_server(server, subject, home, monkeypatch):
    monkeypatch.setattr(catalogue, "ADDRESS", "http://127.0.0.1:9")
    assert_fails(subject, home, "the connection failed .*refused")


def test_a_proxy(server, subject, home, monkeypatch):
    """It is asked for the whole address, which only it knows."""
    monkeypatch.setattr(catalogue, "ADDRESS", "http://published.invalid")
    monkeypatch.setenv("http_proxy", server.url)
    assert_starts(subject, home, *CACHED)
    assert server.requests == {subject.path: 1}


def test_a_certificate(server, subject, home, monkeypatch, tmp_path):
    """Whom to trust is for the environment to say; without that, no second attempt helps."""
    monkeypatch.setattr(downloading, "WAITS", (60,))
    authority, certificate, bundle = trustme.CA(), tmp_path / "server.pem", tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(bundle)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    with PublishedServer(server.folder, certificate=certificate) as safe:
        monkeypatch.setattr(catalogue, "ADDRESS", safe.url)
        assert_fails(subject, home, "not safe .*unable to get local issuer.* REQUESTS_CA_BUNDLE")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        assert_starts(subject, home, *CACHED)
        assert safe.requests == {subject.path: 1}


def test_a_timeout_that_is_none(server, subject, monkeypatch):
    monkeypatch.setenv("KERASTORCH_TIMEOUT", "soon")
    with pytest.raises(ValueError, match="KERASTORCH_TIMEOUT must be a number.*'soon'"):
        subject.start()


def test_offline(server, subject, home, monkeypatch):
    monkeypatch.setenv("KERASTORCH_OFFLINE", "1")
    models, name = home / "models", subject.original.name
    text = f"OFFLINE.* Put {name} into {models}; it is published at {server.url}/{subject.path}"
    assert_fails(subject, home, text)
    shutil.copyfile(subject.original, models / name)
    assert_starts(subject, home, *CACHED)
    (models / name).unlink()
    assert_starts(subject, home, *CACHED[1:])
    assert not server.requests


@pytest.mark.usefixtures("hashed")
def test_offline_with_a_damaged_file(server, subject, home, monkeypatch):
    monkeypatch.setenv("KERASTORCH_OFFLINE", "1")
    damaged = in_cache(subject, home)
    change_byte(damaged, damaged.stat().st_size // 2)
    expected = f"md5:{files.md5(subject.original)}"
    with pytest.raises(PublishedWeightsError, match=rf"its hash is .* Put .* \({expected}\) into"):
        subject.start()
    assert not server.requests


# Disks


@contextmanager
def quota(folder, size):
    """No file of this process grows beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder, size):
    """The folder and what is in it, on a disk of that size."""
    before = folder.with_name("before")
    folder.rename(before)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    shutil.copytree(before, folder, dirs_exist_ok=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def mounts():
    with tempfile.TemporaryDirectory() as folder:
        command = f"mount -t tmpfs none {folder} && umount {folder}"
        return not subprocess.run(["sh", "-c", command], capture_output=True).returncode


needs_mount = pytest.mark.skipif(not mounts(), reason="only root can mount a small disk")
disks = pytest.mark.parametrize("disk", [quota, pytest.param(small_disk, marks=needs_mount)])


@disks
def test_a_full_disk_while_downloading(server, subject, home, disk):
    home.mkdir()
    with disk(home, 1_000_000):
        text = f"{home}/models/{subject.original.name} cannot be written: .* Make room"
        assert_fails(subject, home, text)


@disks
def test_a_full_disk_while_converting(server, subject, home, disk):
    """There is room for Keras's file, which is then used as it is."""
    in_cache(subject, home)
    with disk(home, 3_000_000 if disk is small_disk else 1_000_000):
        for _ in range(2):
            assert_starts(
                subject, home, *CACHED[:2], warning=f"{subject.converted_file} cannot be written"
            )
        with (
            expected_warning("cannot be written"),
            pytest.raises(PublishedWeightsError, match="has no room for"),
        ):
            fill_cache(*checkpoints_of(subject.original.name))
    assert not server.requests


def in_cache(subject, home):
    """Keras's file, in the cache as if Keras had downloaded it."""
    path = home / "models" / subject.original.name
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(subject.original, path))


def change_byte(path, position):
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def test_a_home_that_cannot_be_made(server, subject, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file" / "home"))
    for _ in range(2):
        with expected_warning(f"{tmp_path}/file/home/models cannot be written"):
            subject.assert_is_right(subject.start())
    assert server.requests == {subject.path: 2}
    with pytest.raises(PublishedWeightsError, match=f"{tmp_path}/file/home/models cannot be"):
        fill_cache(*checkpoints_of(subject.original.name))


@contextmanager
def closed(folder, mode):
    """A folder with the rights of `mode`, which for root do not count otherwise."""
    libc = ctypes.CDLL(None, use_errno=True)
    version_3_of_this_process = struct.pack("Ii", 0x20080522, 0)
    before = ctypes.create_string_buffer(24)  # twice the effective, permitted and inheritable ones
    assert libc.capget(version_3_of_this_process, before) == 0
    effective, *others = struct.unpack("6I", before.raw)
    without = struct.pack("6I", effective & ~(CAP_DAC_OVERRIDE | CAP_DAC_READ_SEARCH), *others)
    rights = folder.stat().st_mode
    folder.chmod(mode)
    assert libc.capset(version_3_of_this_process, without) == 0
    try:
        yield
    finally:
        assert libc.capset(version_3_of_this_process, before.raw) == 0
        folder.chmod(rights)


CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1 << 1, 1 << 2
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="takes its rights from root")
READ_ONLY, SHUT = 0o555, 0


@on_linux
def test_a_read_only_cache(server, subject, home):
    in_cache(subject, home)
    with closed(home / "models", READ_ONLY):
        assert_starts(subject, home, ".h5", warning="models cannot be written")
    assert_starts(subject, home, *CACHED)
    with closed(home / "models", READ_ONLY):
        assert_starts(subject, home, *CACHED)
    converted = home / "models" / subject.converted_file
    whole = converted.read_bytes()
    change_byte(converted, 100)
    with closed(home / "models", READ_ONLY), expected_warning("models cannot be written"):
        subject.assert_is_right(subject.start())
    assert not server.requests
    converted.write_bytes(whole)
    subject.assert_cache_is_good(home, *CACHED)


@on_linux
@pytest.mark.usefixtures("hashed")
def test_a_read_only_cache_with_a_damaged_file(server, subject, home):
    damaged = in_cache(subject, home)
    change_byte(damaged, damaged.stat().st_size // 2)
    with (
        closed(home / "models", READ_ONLY),
        pytest.warns(UserWarning, match="cannot be written"),
        pytest.warns(UserWarning, match=f"{damaged} is downloaded again: its hash"),
    ):
        subject.assert_is_right(subject.start())
    assert server.requests == {subject.path: 1}


@on_linux
def test_a_read_only_cache_offline(server, subject, home, monkeypatch):
    """The error names the user's folder, not the one that was to stand for it."""
    monkeypatch.setenv("KERASTORCH_OFFLINE", "1")
    (home / "models").mkdir(parents=True)
    with (
        closed(home / "models", READ_ONLY),
        pytest.raises(PublishedWeightsError, match=f"into {home}/models;"),
    ):
        subject.start()
    server.faults[subject.path] = [not_found]
    monkeypatch.delenv("KERASTORCH_OFFLINE")
    with (
        closed(home / "models", READ_ONLY),
        pytest.raises(PublishedWeightsError, match=f"into {home}/models$"),
    ):
        subject.start()


@on_linux
def test_a_cache_that_is_shut(server, subject, home):
    in_cache(subject, home)
    with closed(home / "models", SHUT), expected_warning("models cannot be written"):
        subject.assert_is_right(subject.start())
    assert server.requests == {subject.path: 1}


@on_linux
@pytest.mark.usefixtures("hashed")
def test_files_that_cannot_be_read(server, subject, home):
    """Another user's, in a folder that is everybody's: they are replaced."""
    in_cache(subject, home).chmod(0)
    with (
        closed(home / "models", 0o777),
        expected_warning(f"{subject.original.name} is downloaded again: it cannot be read"),
    ):
        subject.assert_is_right(subject.start())
    (home / "models" / subject.converted_file).chmod(0)
    with (
        closed(home / "models", 0o777),
        expected_warning("is made again: The file cannot be opened"),
    ):
        subject.assert_is_right(subject.start())
    subject.assert_cache_is_good(home, *HASHED)


# What happens to files in the cache


@pytest.fixture
def filled(server, subject, home):
    """The path of the converted file in a cache that has all three."""
    assert_starts(subject, home, *CACHED)
    server.requests.clear()
    return home / "models" / subject.converted_file


def header_of(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return content[8 : 8 + length]


@pytest.mark.parametrize("place", ["0", "7", "8", "100", "header", "half", "last", "more"])
def test_a_converted_file_of_another_length(server, subject, home, filled, place):
    content = filled.read_bytes()
    header = 8 + len(header_of(filled))
    lengths = {"header": header, "half": len(content) // 2, "last": len(content) - 1}
    if place == "more":
        filled.write_bytes(content + b"x")
    else:
        filled.write_bytes(content[: lengths[place] if place in lengths else int(place)])
    assert_starts(subject, home, *CACHED, warning=f"{filled} is made again: The file")
    assert filled.read_bytes() == content
    assert not server.requests


@pytest.mark.parametrize(
    "text",
    [
        b"__metadata__",
        b"header_sha256",
        b'header_sha256":"',
        b"payload_sha256",
        b'payload_sha256":"',
        b'format_version\\": ',
        b"conv_dw_1.weight",
        b'"shape":[',
        b'data_offsets":[',
        b'"dtype":"F',
        b"sha256",
    ],
)
def test_a_damaged_header(server, subject, home, filled, text):
    content = filled.read_bytes()
    position = content.index(text)
    change_byte(filled, position + len(text))
    change_byte(filled, position)
    for place in (position, position + len(text)):
        filled.write_bytes(content)
        change_byte(filled, place)
        assert_starts(subject, home, *CACHED, warning="is made again: The file")
    assert filled.read_bytes() == content
    assert not server.requests


def test_every_damage_of_a_header_is_seen(server, subject, home, filled):
    """Any bit of any byte: the length's, the JSON's, the padding's."""
    content = filled.read_bytes()
    end = 8 + len(header_of(filled))
    rng = random.Random(0)
    for position in [*range(8), *rng.sample(range(8, end), 500), end - 1]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.randrange(8)
        filled.write_bytes(damaged)
        with pytest.raises(safetensors_files.KerasFileError):
            safetensors_files.checked_source(filled)


def test_a_damaged_payload(server, subject, home, filled, monkeypatch):
    """It is not looked for at every start."""
    content = filled.read_bytes()
    for position in (8 + len(header_of(filled)), len(content) // 2, len(content) - 1):
        filled.write_bytes(content)
        change_byte(filled, position)
        subject.start()
        monkeypatch.setenv("KERASTORCH_VERIFY", "1")
        assert_starts(subject, home, *CACHED, warning="made again: its tensors are damaged")
        assert_starts(subject, home, *CACHED)
        monkeypatch.delenv("KERASTORCH_VERIFY")
    assert not server.requests


def test_a_format_of_another_version(server, subject, home, filled, monkeypatch):
    monkeypatch.setattr(safetensors_files, "FORMAT_VERSION", 2)
    assert_starts(subject, home, *CACHED, warning="is made again: The file has format 1")
    assert_starts(subject, home, *CACHED)
    monkeypatch.undo()


def test_a_file_that_kerastorch_did_not_convert(server, subject, home, filled):
    """Such as of `save_weights`, without checksums."""
    model = subject.start()
    safetensors_files.save_safetensors(model, filled)
    assert_starts(subject, home, *CACHED, warning="is made again: The file was written without")


def test_new_published_weights(server, subject, home, monkeypatch):
    """Keras has published others: what is in the cache of the old ones is replaced."""
    inject(monkeypatch, server, also_unhashed=True)
    old = in_cache(subject, home)
    change_byte(old, old.stat().st_size // 2)
    shutil.copyfile(old, server.folder / subject.path)
    inject(monkeypatch, server, also_unhashed=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject.start()
    shutil.copyfile(subject.original, server.folder / subject.path)
    inject(monkeypatch, server, also_unhashed=True)
    with (
        pytest.warns(UserWarning, match="safetensors is made again: it was made from another"),
        pytest.warns(UserWarning, match=f"{old} is downloaded again: its hash is md5"),
    ):
        subject.assert_is_right(subject.start())
    assert_starts(subject, home, *HASHED)
    assert server.requests == {subject.path: 1}


@pytest.mark.usefixtures("hashed")
def test_a_wrong_file_under_the_name_of_keras(server, subject, home):
    path = in_cache(subject, home)
    with path.open("r+b") as file:
        file.truncate(1_000_000)
    assert_starts(subject, home, *HASHED, warning=f"{path} is downloaded again: its hash")
    assert server.requests == {subject.path: 1}


def test_half_a_file_under_the_name_of_keras(server, subject, home):
    """Keras downloads under the final name and may have been stopped."""
    path = in_cache(subject, home)
    with path.open("r+b") as file:
        file.truncate(1_000_000)
    assert_starts(subject, home, *CACHED, warning=f"{path} is downloaded again: The file")
    assert server.requests == {subject.path: 1}


def test_the_hash_of_first_use(server, subject, home, filled):
    """It is recorded as `sha256sum` does, and held to."""
    models, first_hash = filled.parent, filled.with_name(f"{subject.original.name}.sha256")
    command = ["sha256sum", "--check", first_hash.name]
    assert b"OK" in subprocess.run(command, cwd=models, check=True, capture_output=True).stdout

    path = models / subject.original.name
    change_byte(path, path.stat().st_size // 2)
    filled.unlink()
    assert_starts(subject, home, *CACHED, warning=f"{path} is downloaded again: its hash is sha256")

    path.unlink()
    filled.unlink()
    server.faults[subject.path] = [wrong_byte] * 3
    assert_fails(subject, home, f"instead of sha256:.* in {first_hash} since", ".h5.sha256")
    first_hash.unlink()
    subject.start()
    assert first_hash.is_file()


def test_a_first_hash_that_is_none(server, subject, home, filled):
    """Then there is none yet, and the file in the cache gives it."""
    filled.unlink()
    filled.with_name(f"{subject.original.name}.sha256").write_text("half a ha")
    assert_starts(subject, home, *CACHED)


# Mirrors


@pytest.fixture
def mirror(server, subject, home, tmp_path, monkeypatch):
    """A release, on a server of its own; the cache is empty, the published address dead."""
    monkeypatch.setattr(releases, "is_installed", lambda: False)
    for file, is_new in releases.write_release(
        tmp_path / "mirror", checkpoints_of(subject.original.name)
    ):
        assert is_new
        assert file.name == subject.converted_file
    shutil.rmtree(home)
    monkeypatch.setattr(catalogue, "ADDRESS", "http://127.0.0.1:9")
    with PublishedServer(tmp_path / "mirror") as mirror:
        monkeypatch.setenv("KERASTORCH_WEIGHTS_URL", f"{mirror.url}/")
        yield mirror


def test_a_copy_of_the_published_folders(server, subject, home, monkeypatch):
    monkeypatch.setattr(catalogue, "ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setenv("KERASTORCH_WEIGHTS_URL", server.url)
    assert_starts(subject, home, *CACHED)
    assert server.requests == {"manifest.json": 1, subject.path: 1}
    (server.folder / subject.path).unlink()
    shutil.rmtree(home)
    assert_fails(subject, home, f"{server.url}/{subject.path} .*404")


@pytest.mark.parametrize("faults", PASSING | WRONG)
def test_a_release_as_mirror(mirror, subject, home, let_fail, faults):
    """Nothing is converted, so Keras's file is not needed."""
    faults = (PASSING | WRONG)[faults]
    let_fail(mirror, subject.converted_file, faults)
    assert_starts(subject, home, ".safetensors")
    assert mirror.requests == {"manifest.json": 1, subject.converted_file: len(faults) + 1}


@pytest.mark.parametrize("faults", PASSING)
def test_a_manifest_with_faults_that_pass(mirror, subject, home, let_fail, faults):
    let_fail(mirror, "manifest.json", PASSING[faults])
    assert_starts(subject, home, ".safetensors")


def test_a_damaged_file_is_fetched_from_the_mirror_again(mirror, subject, home):
    assert_starts(subject, home, ".safetensors")
    change_byte(home / "models" / subject.converted_file, 100)
    assert_starts(subject, home, ".safetensors", warning="is made again: The file's header")
    assert mirror.requests[subject.converted_file] == 2


@pytest.mark.parametrize(
    "text",
    [
        "<html>",
        "",
        "[]",
        "{}",
        '{"format_version": 2, "files": []}',
        '{"format_version": 1, "files": [{"name": "a.safetensors"}]}',
        '{"format_version": 1, "files": ["a.safetensors"]}',
        '{"format_version": 1, "files": 1}',
        "[" * 100_000,
    ],
)
def test_a_broken_manifest(mirror, subject, home, text):
    (mirror.folder / "manifest.json").write_text(text)
    assert_fails(subject, home, f"{mirror.url}/manifest.json: The manifest ")


def test_a_mirror_with_another_file_than_its_manifest_says(mirror, subject, home):
    path = mirror.folder / subject.converted_file
    change_byte(path, path.stat().st_size - 1)
    assert_fails(subject, home, f"{subject.converted_file} .*hash is sha256:.* instead of sha256")
    assert mirror.requests[subject.converted_file] == 2
    path.unlink()
    assert_fails(subject, home, f"{subject.converted_file} .*404")


def test_a_mirror_of_other_weights(mirror, server, subject, home, monkeypatch):
    """The published hash holds for mirrors too."""
    monkeypatch.undo()
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setenv("KERASTORCH_WEIGHTS_URL", mirror.url)
    change_byte(server.folder / subject.path, 1_000_000)
    inject(monkeypatch, server, also_unhashed=True)
    assert_fails(subject, home, f"{subject.converted_file} cannot be used: .* another file")


def test_a_manifest_without_the_file(mirror, server, subject, home):
    """Then the mirror may have Keras's."""
    manifests.write_manifest(mirror.folder / "manifest.json", [])
    shutil.copytree(server.folder, mirror.folder, dirs_exist_ok=True)
    assert_starts(subject, home, *CACHED)


# Kills

# Starts in children, from an empty cache or from Keras's file there, and kills each at a random
# moment. After each kill a start with a copy of what is left, in a child too, must give the right
# model. Prints the names of what each kill has left.
KILLER = """
import hashlib, os, random, shutil, signal, sys, time, traceback
from pathlib import Path
import torch, kerastorch
from kerastorch.hub import catalogue
torch.set_num_threads(1)  # a child made by fork has no others
home, (fast, keras_file) = Path(os.environ["KERAS_HOME"]), sys.argv[1:]
copy, rng = home.with_name("copy"), random.Random(0)

def start():
    model = kerastorch.MobileNet((128, 128, 3), alpha=0.25, weights="imagenet")
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy())
    return digest.digest()

def succeed():
    catalogue.ADDRESS = fast
    os.environ["KERAS_HOME"] = str(copy)
    assert start() == whole

def in_child(work):
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    os._exit(1)

def empty(with_keras_file):
    shutil.rmtree(home, ignore_errors=True)
    if with_keras_file:
        (home / "models").mkdir(parents=True)
        shutil.copy(keras_file, home / "models")

def time_to_start(with_keras_file):
    empty(with_keras_file)
    start()
    began = time.perf_counter()
    empty(with_keras_file)
    start()
    return time.perf_counter() - began

whole = (empty(True), start())[1]
times = time_to_start(False), time_to_start(True)
for kill in range(30):
    kind = kill % 3
    empty(kind > 0)
    child = in_child(start)
    if kind < 2:
        time.sleep(rng.uniform(0, times[kind]))
    else:  # in the few milliseconds in which the converted file is written; [!k] is no .lock
        until = time.perf_counter() + 10
        while not any(home.rglob("*.safetensors*[!k]")) and time.perf_counter() < until:
            pass
        time.sleep(rng.uniform(0, 0.002))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(*(path.name for path in home.rglob("*.*") if path.is_file()))
    shutil.rmtree(copy, ignore_errors=True)
    if home.exists():
        shutil.copytree(home, copy)
    assert os.waitpid(in_child(succeed), 0)[1] == 0, sorted(home.rglob("*"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are made by fork")
def test_kills(folder, subject, tmp_path):
    with (
        PublishedServer(folder, bytes_per_second=8_000_000) as server,
        PublishedServer(folder) as fast,
    ):
        lines = subprocess.check_output(
            [sys.executable, "-c", KILLER, fast.url, subject.original],
            env=environment(server, tmp_path / "home"),
            cwd=ROOT,
            text=True,
        ).splitlines()
    left = [
        {name for name in line.split() if not name.endswith((".lock", ".sha256"))} for line in lines
    ]
    assert len(left) == 30
    assert any(is_draft(Path(name)) and ".h5." in name for names in left for name in names)
    assert any(is_draft(Path(name)) and ".safetensors." in name for names in left for name in names)
    assert {subject.original.name} in left


def test_drafts_that_are_abandoned(server, subject, home):
    """They go when they are ten minutes old: until then somebody may be writing them."""
    drafts = [home / "models" / f".{subject.original.name}.{letter * 32}" for letter in "ab"]
    drafts[0].parent.mkdir(parents=True)
    for draft, minutes in zip(drafts, (11, 9), strict=True):
        draft.write_bytes(b"half")
        os.utime(draft, times=(time.time() - 60 * minutes,) * 2)
    subject.assert_is_right(subject.start())
    assert [draft.exists() for draft in drafts] == [False, True]
    assert [path.name for path in cached_checkpoints()[0].files()] == [
        subject.original.name,
        subject.converted_file,
        f"{subject.original.name}.sha256",
    ]
    drafts[1].unlink()
    subject.assert_cache_is_good(home, *CACHED)
