"""The report, opened in a browser: what it shows, and that it asks for nothing and runs nothing."""

import io
import math
import re
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from PIL import Image

from kerastorch.verification.report import write_report
from kerastorch.verification.verdict import (
    Cause,
    Divergence,
    LayerResult,
    Picture,
    Subject,
    Verdict,
)
from tests.browser import open_browser

BEST = (("elephant", 0.75), ("tusker", 0.2), ("ox", 0.03), ("mug", 0.01), ("kettle", 0.005))
OTHER = (("tusker", 0.5), ("elephant", 0.4), ("ox", 0.03), ("mug", 0.01), ("pan", math.nan))

# Each of these, read as markup or as part of an attribute, would run.
HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror=window.hacked=2>",
    "\" onmouseover='window.hacked=3' x=\"",
    "</style><script>window.hacked = 4</script>",
    "</title></textarea><svg onload=window.hacked=5>",
    "--><script>window.hacked = 6</script>",
    "&lt;script&gt;window.hacked = 7&lt;/script&gt;",
    "javascript:window.hacked=8 ${window.hacked=8} $style",
    "\u202ereversed\u2028line",
    "\ud800half a pair",
    "long" * 2000,
)


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def result(number, error, path=None):
    return LayerResult(
        number=number,
        path=path or f"block{number % 7}/layer_{number}",
        class_name="Conv2D",
        shape=(2, 5, 7, number),
        largest=float(number),
        error=error,
        error_float32=1e-7 * number,
        reference_float32=2e-7 * number,
    )


def equal(layers=12):
    """Layers with errors that rise with their number, but for every fourth, which is exact."""
    return Verdict(
        reference=Subject("net.keras", "Keras 3.15.1 on TensorFlow 2.21.0", "a" * 64, 1234567),
        model=Subject("net.safetensors", "kerastorch on PyTorch", "b" * 64, 1234567),
        inputs="2 random images of 5 x 7 pixels",
        layers=tuple(
            result(number, 0.0 if number % 4 == 0 else 1e-16 * number)
            for number in range(1, layers + 1)
        ),
        versions={"keras": "3.15.1", "torch": "2.14.1"},
    )


def diverging():
    """The sixth of twelve layers differs, and what comes behind it."""
    verdict = equal()
    layers = verdict.layers[:5] + tuple(result(number, 1e-3) for number in range(6, 13))
    causes = (
        Cause("epsilon", "It is 0.001, and should be 1.001e-05.", 2.5e-16),
        Cause("momentum", "It is 0.9.", 3.5e-13),
    )
    return replace(
        verdict,
        layers=layers,
        divergence=Divergence(layers[5], causes, ("epsilon", "padding", "momentum")),
        unmatched=("extra_head",),
        notes=("Dropout was left out.",),
    )


def hostile():
    layers = tuple(result(n, 1e-3, path) for n, path in enumerate(HOSTILE, start=1))
    layers = tuple(replace(layer, class_name=layer.path) for layer in layers)
    bad = HOSTILE[0]
    picture = Picture(bad, png(0), tuple((name, 0.1) for name in HOSTILE), BEST)
    return replace(
        equal(),
        reference=Subject(bad, bad, bad),
        model=Subject(HOSTILE[4], bad, bad),
        inputs=bad,
        layers=layers,
        divergence=Divergence(layers[0], (Cause(bad, bad, 0.0),), HOSTILE),
        unmatched=HOSTILE,
        notes=HOSTILE,
        pictures=(picture,),
        versions={name: name for name in HOSTILE},
    )


@dataclass
class Opened:
    """A report in the browser, and whatever the browser had to say or asked for."""

    page: object
    size: int
    messages: list = field(default_factory=list)
    requests: list = field(default_factory=list)

    def texts(self, selector):
        return self.page.locator(selector).all_inner_texts()

    def count(self, selector):
        return self.page.locator(selector).count()

    def column(self, number):
        return self.page.locator(f"#layers tbody td:nth-child({number})").all_text_contents()


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def show(browser, tmp_path):
    """Writes a verdict's report and opens it; in the end nothing may have gone wrong in any."""
    opened = []

    def show(verdict, **options):
        path = tmp_path / f"{len(opened)}.html"
        write_report(verdict, path)
        report = Opened(browser.new_page(**options), path.stat().st_size)
        report.page.on("console", lambda message: report.messages.append(message.text))
        report.page.on("pageerror", lambda error: report.messages.append(str(error)))
        report.page.on("request", lambda request: report.requests.append(request.url))
        report.page.goto(path.as_uri())
        opened.append((report, path))
        return report

    yield show
    for report, path in opened:
        assert report.messages == []
        assert [url.partition("#")[0] for url in report.requests] == [path.as_uri()]
        report.page.close()


def test_an_equal_verdict(show):
    report = show(equal())
    assert report.page.title() == "Equal: net.safetensors"
    (header,) = report.texts("header")
    assert "Equal" in header
    assert "all 12 layers" in header
    assert "1.1e-15" in header  # the largest error, that of layer 11
    assert report.count("line.first") == report.count("#flag") == report.count(".over") == 0
    (compared,) = report.texts("section:has(.subjects)")
    for fact in ("a" * 64, "b" * 64, "1,234,567", "5 x 7", "keras 3.15.1", "TensorFlow 2.21.0"):
        assert fact in compared


def test_a_diverging_verdict_names_layer_cause_and_what_was_tried(show):
    report = show(diverging())
    (header,) = report.texts("header")
    for part in ("Not equal", "block6/layer_6", "number 6", "1.0e-03", "Likely cause: epsilon"):
        assert part in header
    body = report.page.inner_text("main")
    for part in (
        "should be 1.001e-05. With that corrected, the layer's error is 2.5e-16",
        "3.5e-13",
    ):
        assert part in body
    assert "Tried: epsilon, padding, momentum." in body
    assert "extra_head" in body
    assert "Dropout was left out." in body
    assert report.texts("#flag") == ["block6/layer_6"]
    mark = report.page.get_attribute("line.first", "x1")
    assert mark == report.page.locator("#chart .float64 circle").nth(5).get_attribute("cx")
    assert report.count(".float64 .over") == 7
    assert report.texts("#layers .first td:last-child") == ["≠ first to differ"]
    assert report.texts("#layers .differs td:last-child") == ["≠ differs"] * 6
    report.page.click("header a")
    assert report.page.locator("#layers .first").bounding_box()["y"] < 400


def test_no_cause_found(show):
    verdict = diverging()
    divergence = replace(verdict.divergence, causes=())
    report = show(replace(verdict, divergence=divergence))
    assert "No cause was found" in report.texts("header")[0]
    assert "Tried: epsilon, padding, momentum." in report.page.inner_text("main")


def test_layers_on_one_side_only_are_not_equal(show):
    report = show(replace(equal(), unmatched=("extra_head", "aux")))
    (header,) = report.texts("header")
    assert "Not equal" in header
    assert "2 layers stand on one side only" in header
    assert report.texts(".names li") == ["extra_head", "aux"]


def test_inputs_have_a_number_and_a_tolerance_of_their_own(show):
    inputs = tuple(replace(result(0, 1e-7, name), tolerance=1e-6) for name in ("left", "right"))
    verdict = equal()
    report = show(replace(verdict, layers=(*inputs, *verdict.layers)))
    assert report.count("#chart .over") == 0
    assert report.column(9)[:2] == ["= within 1.0e-06"] * 2
    layers = (inputs[0], replace(inputs[1], error=0.5), *verdict.layers)
    report = show(replace(verdict, layers=layers, divergence=Divergence(layers[1])))
    assert report.texts("#layers .first td:nth-child(2)") == ["right"]
    assert report.texts("#flag") == ["right"]
    assert report.count("#chart .over") == 1


def heights(report, series):
    circles = report.page.locator(f"#chart .{series} circle").all()
    return [float(circle.get_attribute("cy").rstrip("%")) for circle in circles]


def test_the_plot_has_a_point_for_each_layer_where_its_error_belongs(show):
    errors = (0.0, 1e-300, 1e-16, 1e-13, 1e-11, 1.0, math.inf, math.nan)
    report = show(replace(equal(), layers=tuple(result(n, e) for n, e in enumerate(errors, 1))))
    assert len(heights(report, "ours")) == len(heights(report, "theirs")) == len(errors)
    zero, tiny, *_, infinite, nan = points = heights(report, "float64")
    assert points[:-1] == sorted(points[:-1], reverse=True)  # from the bottom up
    assert zero - tiny > 5
    assert infinite == nan < points[-3] - 5
    tolerance = float(report.page.get_attribute("#chart .tolerance", "y1").rstrip("%"))
    assert points[3] > tolerance > points[4]
    labels = report.page.locator("text.level").all_text_contents()
    assert labels[-2:] == ["0", "∞, NaN"]
    assert report.page.locator(".float64 .over").count() == 4


def test_float32_is_left_out_where_it_was_not_compared(show):
    verdict = equal()
    layers = [replace(layer, reference_float32=None) for layer in verdict.layers]
    layers[3] = replace(layers[3], error_float32=None)
    report = show(replace(verdict, layers=tuple(layers)))
    assert len(heights(report, "ours")) == 11
    assert heights(report, "theirs") == []
    assert "Float32, reference" not in report.page.inner_text("#layers thead")
    assert report.column(7)[3] == "–"


def sort_by(report, title):
    button = report.page.get_by_role("button", name=title, exact=False)
    button.click()
    return button.locator("xpath=..").get_attribute("aria-sort")


def test_figures_sort_as_numbers(show):
    errors = (3e-16, math.nan, 0.0, 2e-9, 1e-11, math.inf, 4e-16, 1e-10)
    layers = [result(number, error) for number, error in enumerate(errors, 1)]
    layers[4] = replace(layers[4], error_float32=None)
    report = show(replace(equal(), layers=tuple(layers)))
    assert sort_by(report, "Error, float64") == "descending"
    down = ["NaN", "∞", "2.0e-09", "1.0e-10", "1.0e-11", "4.0e-16", "3.0e-16", "0"]
    assert report.column(6) == down
    assert sort_by(report, "Error, float64") == "ascending"
    assert report.column(6) == down[::-1]
    assert sort_by(report, "Float32, model") == "descending"
    assert report.column(7)[-1] == "–"
    assert sort_by(report, "No.") == "ascending"
    assert report.column(1) == [str(number) for number in range(1, 9)]
    assert report.count("[aria-sort]") == 1


def test_names_sort_by_keyboard_and_filter(show):
    report = show(equal())
    report.page.get_by_role("button", name="Layer").focus()
    report.page.keyboard.press("Enter")
    names = [f"block{n % 7}/layer_{n}" for n in range(1, 13)]
    assert report.column(2) == sorted(names, key=lambda name: (name[5], int(name[13:])))
    report.page.get_by_label("Filter by name").fill("LAYER_1")
    visible = report.texts("#layers tbody tr:visible td:nth-child(2)")
    assert sorted(visible) == sorted(name for name in names if "layer_1" in name)
    assert report.texts("#filter [role=status]") == ["4 of 12 layers"]
    report.page.get_by_label("Filter by name").fill("")
    assert report.count("#layers tbody tr:visible") == 12


def test_the_plot_tells_of_a_layer_and_leads_to_its_row(show):
    report = show(equal(layers=200))
    chart = report.page.locator("#chart")
    place = {"x": chart.bounding_box()["width"] * 149.5 / 200, "y": 9}
    chart.hover(position=place)
    readout = report.page.inner_text("#readout")
    for part in ("block3/layer_150", "(2, 5, 7, 150)", "1.5e-14", "1.5e-05", "3.0e-05", "= equal"):
        assert part in readout
    report.page.get_by_label("Filter by name").fill("no such layer")
    chart.click(position=place)
    assert report.page.evaluate("document.activeElement.id") == "layer-150"
    assert 0 < report.page.locator("#layer-150").bounding_box()["y"] < 720


def test_a_link_leads_to_a_row_that_was_filtered_out(show):
    report = show(diverging())
    report.page.get_by_label("Filter by name").fill("layer_1")
    assert not report.page.locator("#layers .first").is_visible()
    report.page.click("header a")
    assert report.page.locator("#layers .first:target").is_visible()


def test_the_plot_is_read_by_keyboard(show):
    report = show(equal())
    chart = report.page.get_by_role("slider", name="Error by layer")
    for key, number in (("End", 12), ("ArrowLeft", 11), ("PageDown", 1), ("ArrowRight", 2)):
        chart.press(key)
        assert chart.get_attribute("aria-valuenow") == str(number)
        assert f"layer_{number}, Class Conv2D" in chart.get_attribute("aria-valuetext")
    chart.press("Enter")
    assert report.page.evaluate("document.activeElement.id") == "layer-2"


def test_hostile_names_are_only_text(show):
    report = show(hostile())
    report.page.hover("#chart")
    report.page.locator("#layers tbody tr").first.hover()
    for title in ("Layer", "Class"):
        sort_by(report, title)
    assert report.page.evaluate("window.hacked") is None
    assert report.count("script") == 1
    written = [name.replace("\ud800", "\\ud800") for name in HOSTILE]
    assert sorted(report.column(2)) == sorted(report.column(3)) == sorted(written)
    assert report.texts(".names li") == written
    assert report.page.title() == f"Not equal: {HOSTILE[4]}"
    assert report.page.evaluate("document.documentElement.scrollWidth") <= 1280


# Tries what a name that got through as markup could try; gives what the page's policy refused.
INTRUDE = """async () => {
    const refused = [];
    const three = new Promise((resolve) => {
        document.addEventListener("securitypolicyviolation", (event) => {
            refused.push(event.effectiveDirective);
            if (refused.length === 3) resolve();
        });
    });
    const script = document.createElement("script");
    script.textContent = "document.title = 'intruded'";
    const image = document.createElement("img");
    image.src = "http://127.0.0.1:9/pixel.png";
    document.body.append(script, image);
    await fetch("http://127.0.0.1:9/").catch(() => {});
    await Promise.race([three, new Promise((resolve) => setTimeout(resolve, 10_000))]);
    return refused.sort();
}"""


def test_the_page_forbids_itself_the_network_and_other_scripts(browser, tmp_path):
    write_report(equal(), tmp_path / "report.html")
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate(INTRUDE) == ["connect-src", "img-src", "script-src-elem"]
    assert page.title() == "Equal: net.safetensors"
    page.close()


def test_pictures_have_both_top_fives_side_by_side(show):
    broken = tuple((name, math.nan if name == "ox" else score) for name, score in BEST)
    scores = (BEST, OTHER, broken)
    pictures = tuple(Picture(f"{n}.jpg", png(n), BEST, best) for n, best in enumerate(scores))
    report = show(replace(equal(), pictures=pictures))
    images = report.page.locator("article img")
    assert images.evaluate_all("all => all.map((i) => i.naturalWidth)") == [64, 64, 64]
    first, second, third = report.texts("article")
    assert "= The same classes in the same order; the scores differ by 0 at most." in first
    assert "≠ The best classes differ." in second
    assert "the scores differ by NaN at most." in third
    assert report.count("article:nth-of-type(1) .differs") == 0
    marked = report.texts("article:nth-of-type(2) .differs span:first-child")
    assert marked == [
        f"≠ {name}" for name in ("elephant", "tusker", "kettle", "tusker", "elephant", "pan")
    ]
    left, right = (report.page.locator(".best").nth(side).bounding_box() for side in (0, 1))
    assert left["y"] == right["y"]
    bars = report.page.locator(".best").first.locator(".bar")
    widths = bars.evaluate_all("all => all.map((bar) => bar.style.width)")
    assert widths == ["75%", "20%", "3%", "1%", "0.5%"]


# The least contrast of any text with what it stands on, as WCAG defines it.
LEAST_CONTRAST = """() => {
    const light = (color) => {
        const part = color.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
    };
    const ground = (element) => {
        const color = getComputedStyle(element).backgroundColor;
        return color === "rgba(0, 0, 0, 0)" ? ground(element.parentElement) : color;
    };
    const texts = [...document.querySelectorAll("main *")].filter((element) =>
        [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
    return Math.min(...texts.map((element) => {
        const style = getComputedStyle(element);
        const ink = light(element.tagName === "text" ? style.fill : style.color);
        const [low, high] = [ink, light(ground(element))].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    }));
}"""


@pytest.mark.parametrize("make", [equal, diverging])
def test_light_and_dark_are_legible(show, make):
    grounds = []
    for scheme in ("light", "dark"):
        picture = Picture("a.jpg", png(0), BEST, OTHER)
        report = show(replace(make(), pictures=(picture,)), color_scheme=scheme)
        report.page.hover("#chart")
        assert report.page.evaluate(LEAST_CONTRAST) >= 4.5
        grounds.append(report.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 28)"]


def test_a_phone_shows_it_without_scrolling_sideways(show):
    picture = Picture("a.jpg", png(0), BEST, OTHER)
    report = show(replace(diverging(), pictures=(picture,)), viewport={"width": 360, "height": 700})
    assert report.page.evaluate("document.documentElement.scrollWidth") == 360


def test_print_has_the_whole_table_in_black_on_white(show, tmp_path):
    report = show(diverging(), color_scheme="dark")
    report.page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    report.page.emulate_media(media="print")
    report.page.set_viewport_size({"width": 680, "height": 960})  # of A4 between its margins
    style = "getComputedStyle(document.querySelector('{}')).{}"
    assert report.page.evaluate(style.format("body", "backgroundColor")) == "rgb(255, 255, 255)"
    assert report.page.evaluate(style.format(".float64 circle", "fill")) == "rgb(0, 0, 0)"
    table = report.page.locator("#layers").bounding_box()
    assert table["x"] + table["width"] <= 680
    assert not report.page.locator("#filter").is_visible()
    assert report.page.locator("#sign").is_visible()


def test_a_thousand_layers_stay_small(show):
    report = show(equal(layers=1000))
    assert report.size < 3_000_000
    assert report.count("#layers tbody tr") == 1000
    for series in ("float64", "ours", "theirs"):
        assert report.count(f"#chart .{series} circle") == 1000


def test_without_scripts_it_says_the_same(show):
    report = show(diverging(), java_script_enabled=False)
    assert "Not equal" in report.page.inner_text("header")
    assert report.count("#layers tbody tr") == report.count("#chart .float64 circle") == 12
    assert report.count("button") == report.count("input") == 0


def test_no_layers_no_plot(show):
    report = show(replace(equal(), layers=(), unmatched=("all_of_it",)))
    assert report.count("#chart") == report.count("#layers") == 0
    assert "all_of_it" in report.page.inner_text("main")


def test_a_report_takes_the_place_of_an_old_one(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old" * 100_000)
    write_report(equal(), str(path))
    assert re.match("<!doctype html>.*</html>\n$", path.read_text("utf-8"), re.DOTALL)
    assert list(tmp_path.iterdir()) == [path]
