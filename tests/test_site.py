"""The site of the documentation, built and opened in a browser: nothing in it is broken."""

import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from sphinx.util.inventory import InventoryFile

import kerastorch
from tests.browser import open_browser
from tests.installations import CHECKOUT

PACKAGES = (
    "applications",
    "convert",
    "embedding",
    "fine_tuning",
    "hub",
    "layers",
    "ops",
    "verification",
)

LINKS = """() => [...document.querySelectorAll("a[href]")].map(a => a.href)"""
ANCHORS = """() => [...document.querySelectorAll("[id]")].map(element => element.id)"""
GONE_ON = "net::ERR_ABORTED"  # since the browser was sent to the next page
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site; a warning fails the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", "-j", "2"]
    built = subprocess.run(
        [*command, "docs", folder], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def address(site):
    handler = partial(_Quiet, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Keep the tests' output clean."""


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser, site, address):
    """A page of the browser; in the end nothing may have failed, nor come from elsewhere."""
    here = address, site.as_uri()
    page, wrong = browser.new_page(), []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "requestfailed", lambda r: r.failure == GONE_ON or wrong.append(f"{r.url}: {r.failure}")
    )
    page.on("response", lambda r: r.status < 400 or wrong.append(f"{r.url}: {r.status}"))
    page.on("request", lambda r: r.url.startswith(here) or wrong.append(r.url))
    yield page
    page.close()
    assert not wrong


def test_all_pages_open_and_all_links_lead_somewhere(page, site, address):
    """From the first page and the search on; of other sites only the form is looked at."""
    anchors, sources = {}, {}
    waiting = [f"{address}/search.html", f"{address}/index.html"]
    while waiting:
        url = waiting.pop()
        if url in anchors:
            continue
        answer = page.goto(url)
        assert answer.ok, f"{url}, from {sources.get(url)}"
        anchors[url] = {*page.evaluate(ANCHORS), ""}
        for link in page.evaluate(LINKS):
            sources.setdefault(link, url)
            if link.startswith(address):
                waiting.append(urldefrag(link).url)
            else:
                assert urlsplit(link).scheme == "https", f"{link}, from {url}"
                assert "." in urlsplit(link).netloc, f"{link}, from {url}"
    for link, source in sources.items():
        if link.startswith(address):
            target, fragment = urldefrag(link)
            assert unquote(fragment) in anchors[target], f"{link}, from {source}"
    written = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {url.removeprefix(f"{address}/") for url in anchors} == written


@pytest.mark.parametrize("from_disk", [False, True])
def test_the_search_finds_pages(page, site, address, from_disk):
    page.goto(f"{site.as_uri() if from_disk else address}/index.html")
    page.locator("input.sidebar-search").fill("layer_decay")
    page.keyboard.press("Enter")
    found = page.locator("#search-results li a")
    found.first.wait_for()
    assert "Fine-tuning" in found.all_inner_texts()


def test_the_reference_is_of_what_there_is(page, address):
    """Functions come with their arguments, and examples in docstrings are blocks of code."""
    page.goto(f"{address}/api/convert.html")
    signature = page.locator("dt", has_text="load_weights").first.inner_text()
    assert "skip_mismatch" in signature
    page.goto(f"{address}/api/engine.html")
    example = page.locator("dd:has(> div.highlight-python, > div.highlight-default)").first
    assert example.count() == 1
    page.goto(f"{address}/models.html")
    assert page.locator("table tbody tr").count() == len(kerastorch.list_models())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(page, address, scheme):
    """Wide tables and code scroll within themselves, and one figure is there in each scheme."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    for name in ("index", "models", "command-line", "pretrained", "api/layers", "api/verification"):
        page.goto(f"{address}/{name}.html")
        assert page.evaluate(OVERFLOW) <= 0, name
    page.goto(f"{address}/index.html")
    (shown,) = [image for image in page.locator("article img").all() if image.is_visible()]
    assert scheme in shown.get_attribute("src")
    assert shown.evaluate("image => image.complete && image.naturalWidth > 0")


def test_the_reference_has_every_public_name(site):
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    listed = {name.rpartition(".")[2] for kind in inventory.data.values() for name in kind}
    packages = [kerastorch, *(import_module(f"kerastorch.{name}") for name in PACKAGES)]
    public = {name: getattr(package, name) for package in packages for name in package.__all__}
    missing = {
        name for name, value in public.items() if callable(value) and value.__name__ not in listed
    }
    assert not missing
