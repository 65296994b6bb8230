"""`kerastorch download`, `cache` and `convert --all` on a server in the published one's place."""

import json

import pytest
import torch

import kerastorch
from kerastorch.hub import checkpoints_of
from tests.oracle.client import Oracle
from tests.published.files import publish
from tests.published.injection import inject
from tests.published.server import PublishedServer, not_found

NAME = "mobilenet_2_5_128_tf"
CHOICE = ["mobilenet", "--alpha", "0.25", "--size", "128"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with a MobileNet as it is published, with the classifier and without."""
    folder = tmp_path_factory.mktemp("site")
    with Oracle() as oracle:
        for include_top in (True, False):
            publish(oracle, folder, "MobileNet", include_top, alpha=0.25, size=128)
    return folder


@pytest.fixture
def server(site, tmp_path, monkeypatch):
    with PublishedServer(site) as server:
        inject(monkeypatch, server)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        yield server


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "keras" / "models"


@pytest.fixture
def run(run_command):
    return run_command


def test_a_cache_is_filled_listed_checked_and_cleared(server, cache, run):
    code, out, _ = run("download", *CHOICE)
    assert code == 0
    assert out == f"{cache / NAME}.safetensors: mobilenet, alpha 0.25, 128 x 128, 2.0 MB\n"
    assert sum(server.requests.values()) == 1

    code, out, _ = run("cache", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:4]] == [
        f"{NAME}.h5",
        f"{NAME}.safetensors",
    ]
    code, out, _ = run("cache", "verify")
    assert code == 0
    assert "as first used" in out
    assert "whole" in out

    code, out, _ = run("cache", "clear", "mobilenet")
    assert code == 0
    assert {path.name for path in cache.glob("[!.]*")} == {f"{NAME}.h5", f"{NAME}.h5.sha256"}
    run("cache", "clear", "--downloads")
    assert not list(cache.glob("[!.]*"))
    code, out, _ = run("cache", "list")
    assert code == 0
    assert out == f"{cache}: 0.0 MB of published weights\n"


@pytest.mark.parametrize("ending", ["h5", "safetensors"])
def test_verify_finds_a_byte_that_has_changed(server, cache, run, ending):
    run("download", *CHOICE)
    path = cache / f"{NAME}.{ending}"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    code, out, _ = run("cache", "verify")
    assert code == 1
    fault = "its tensors are damaged" if ending == "safetensors" else "its hash is sha256:"
    assert fault in out


def test_download_goes_on_behind_what_cannot_be_had(server, cache, run):
    path = f"mobilenet/{NAME}.h5"
    server.faults[path] = [not_found]
    code, out, err = run("download", f"{NAME}.h5", f"{NAME}_no_top.h5")
    assert code == 1
    assert "the server says 404" in err
    assert f"{NAME}_no_top.safetensors" in out
    assert {path.name for path in cache.glob("*.safetensors")} == {f"{NAME}_no_top.safetensors"}


@pytest.fixture
def two_checkpoints(monkeypatch, server):
    """What `--all` stands for where the server has two files."""
    found = [
        checkpoint
        for checkpoint in checkpoints_of("mobilenet")
        if checkpoint.weights.file.startswith(NAME)
    ]
    for command in ("convert", "download"):
        monkeypatch.setattr(f"kerastorch.cli.{command}.checkpoints", lambda: found)


def test_a_release_goes_on_after_an_interruption_and_is_a_mirror(
    server, two_checkpoints, tmp_path, monkeypatch, run
):
    release = tmp_path / "release"
    server.faults[f"mobilenet/{NAME}_no_top.h5"] = [not_found]
    code, out, err = run("convert", "--all", "--out", release)
    assert code == 1
    assert out.endswith("written\n")
    code, out, _ = run("convert", "--all", "--out", release)
    assert code == 0
    assert [line.rpartition(", ")[2] for line in out.splitlines()] == ["there already", "written"]

    manifest = json.loads((release / "manifest.json").read_text())
    assert [file["name"] for file in manifest["files"]] == [
        f"{NAME}.safetensors",
        f"{NAME}_no_top.safetensors",
    ]
    for file in manifest["files"]:
        assert 0 < file["parity"] <= 1e-12
        assert file["size"] == (release / file["name"]).stat().st_size

    (release / f"{NAME}.safetensors").write_bytes(b"half")
    code, out, _ = run("convert", "--all", "--out", release)
    assert [line.rpartition(", ")[2] for line in out.splitlines()] == ["written", "there already"]

    arguments = {"pretrained": True, "alpha": 0.25, "input_shape": (128, 128, 3)}
    published = kerastorch.create_model("mobilenet", **arguments).state_dict()
    with PublishedServer(release) as mirror:
        monkeypatch.setenv("KERASTORCH_WEIGHTS_URL", mirror.url)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
        from_mirror = kerastorch.create_model("mobilenet", **arguments).state_dict()
        assert set(mirror.requests) == {"manifest.json", f"{NAME}.safetensors"}
    assert all(torch.equal(tensor, from_mirror[key]) for key, tensor in published.items())


def test_all_published_files_are_downloaded(server, two_checkpoints, cache, run):
    code, out, _ = run("download", "--all")
    assert code == 0
    assert len(out.splitlines()) == len(list(cache.glob("*.safetensors"))) == 2
