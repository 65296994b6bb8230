"""Mirrors, of published files and of converted ones."""

import shutil

import pytest

from kerastorch.hub import catalogue, checkpoints_of
from kerastorch.hub import manifest as manifests
from kerastorch.hub import release as releases
from tests.hub_faults.checks import (
    CACHED,
    ONLY_EXPECTED_WARNINGS,
    PASSING,
    WRONG,
    assert_fails,
    assert_starts,
    change_byte,
)
from tests.published.injection import inject
from tests.published.server import PublishedServer

pytestmark = ONLY_EXPECTED_WARNINGS


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
