"""Downloads."""

import shutil

import pytest
import trustme

from kerastorch.hub import PublishedWeightsError, catalogue, downloading
from tests.hub_faults.checks import (
    CACHED,
    HASHED,
    ONLY_EXPECTED_WARNINGS,
    PASSING,
    WRONG,
    assert_fails,
    assert_starts,
    change_byte,
    in_cache,
)
from tests.published import files
from tests.published.injection import inject
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

pytestmark = ONLY_EXPECTED_WARNINGS


ATTEMPTS = len(downloading.WAITS) + 1


def test_a_good_download(server, subject, home):
    assert_starts(subject, home, *CACHED)
    assert_starts(subject, home, *CACHED)
    assert server.requests == {subject.path: 1}


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
