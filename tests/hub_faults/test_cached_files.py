"""What happens to files in the cache."""

import random
import shutil
import struct
import subprocess
import warnings

import pytest

from kerastorch.convert import safetensors_files
from tests.hub_faults.checks import (
    CACHED,
    HASHED,
    ONLY_EXPECTED_WARNINGS,
    assert_fails,
    assert_starts,
    change_byte,
    in_cache,
)
from tests.published.injection import inject
from tests.published.server import wrong_byte

pytestmark = ONLY_EXPECTED_WARNINGS


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
