"""Disks that are full, and folders that cannot be read or written."""

import ctypes
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager

import pytest

from kerastorch.hub import PublishedWeightsError, checkpoints_of, fill_cache
from tests.hub_faults.checks import (
    CACHED,
    HASHED,
    ONLY_EXPECTED_WARNINGS,
    assert_fails,
    assert_starts,
    change_byte,
    expected_warning,
    in_cache,
)
from tests.published.server import not_found

pytestmark = ONLY_EXPECTED_WARNINGS


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
