"""The README and the documentation say what is so: every block of code in them runs.

A page's blocks run in order, in one namespace and in a folder with the files that pages name. Of
the kinds of blocks,

- `python` is run;
- `sh` is run where it calls `kerastorch`; of `make` and `pip install` lines only what they name is
  looked up, since they would build the world anew;
- `text` is what the block before it prints, with `...` for what is left out.

There are no others. Examples in docstrings, which the reference shows, run too, each by itself, on
what `found_by_examples` gives them. The published weights come from a server on this machine, with
random ones in their place, and torch.hub finds the checkout as if it had been fetched; the network
is cut off.
"""

import ast
import doctest
import io
import re
import shlex
import shutil
import textwrap
import urllib.request
from contextlib import contextmanager, redirect_stdout
from functools import partial
from types import SimpleNamespace

import lightning
import PIL
import pytest
import tomllib
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from skimage import data
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder

import kerastorch
from benchmarks import drift
from examples import kitchenware
from kerastorch import registration
from kerastorch.applications.registry import get_record
from kerastorch.cli import main
from kerastorch.lightning import Classifier, HeadFirst
from tests.installations import CHECKOUT
from tests.published.injection import inject
from tests.published.server import PublishedServer

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
BLOCKS = re.compile(r"^ *(?:```|:::)(.*)$", re.MULTILINE)  # where they begin and end

EXAMPLES = re.compile(r"\n\n((?: {4}.*(?:\n|\Z)|\n(?= {4}))+)")  # in a docstring
VARIABLES = re.compile(r"[A-Z_]+=")  # of the environment

# The weights that pages load: a model's name and its arguments.
PUBLISHED = [
    ("inception_v3", {}),
    ("inception_v3", {"include_top": False}),
    ("mobilenet", {"alpha": 0.25, "size": 128}),
    ("mobilenet_v2", {"alpha": 1.0, "size": 160}),
    ("mobilenet_v2", {"alpha": 1.0, "size": 224}),
    ("mobilenet_v2", {"alpha": 1.0, "size": 224, "include_top": False}),
    ("resnet50", {}),
    ("vgg16", {"include_top": False}),
    ("xception", {}),
]


# Running blocks


def run_python(example):
    with kept_output(example):
        PythonEvaluator()(example)


def run_commands(example):
    with kept_output(example):
        for line in example.parsed.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                PROGRAMS[words[0]](*words[1:])


@contextmanager
def kept_output(example):
    with redirect_stdout(io.StringIO()) as printed:
        yield
    example.namespace["printed"] = printed.getvalue()


def run_kerastorch(*arguments):
    assert main(arguments) == 0, arguments


def look_up_target(target):
    (targets,) = re.findall(r"^\.PHONY: (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert target in targets.split()


def look_up_packages(command, *requirements):
    """They are in `dependencies`, or the checkout with extras that there are."""
    assert command == "install"
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    known = {re.split(r"\W", requirement)[0] for requirement in project["dependencies"]}
    for requirement in requirements:
        name, _, extras = requirement.rstrip("]").partition("[")
        assert name in known | {".", "-e", "kerastorch"}
        assert {*filter(None, extras.split(","))} <= {*project["optional-dependencies"]}


PROGRAMS = {"kerastorch": run_kerastorch, "make": look_up_target, "pip": look_up_packages}


def compare_with_printed(example):
    """What the block before has printed is what the page says."""
    printed, expected = example.namespace.pop("printed"), example.parsed
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(expected, printed, options):
        return f"The page says\n{expected}\nand what is printed is\n{printed}"
    return None


SYBIL = Sybil(
    parsers=[
        CodeBlockParser(language="python", evaluator=run_python),
        CodeBlockParser(language="sh", evaluator=run_commands),
        CodeBlockParser(language="text", evaluator=compare_with_printed),
    ]
)


def has_blocks(page):
    return any(True for _ in SYBIL.parse(page).examples())


def name_of(page):
    return page.relative_to(CHECKOUT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if has_blocks(page)], ids=name_of)
@pytest.mark.usefixtures("folder", "machine")
def test_the_blocks_of_a_page_run(page):
    for example in SYBIL.parse(page).examples():
        example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_block_is_of_a_kind_that_runs(page):
    """Or it is one of Sphinx's directives."""
    fences = BLOCKS.findall(page.read_text(encoding="utf-8"))
    assert {kind.partition("}")[0] for kind in fences[::2]} <= {
        "python",
        "sh",
        "text",
        "{toctree",
        "{eval-rst",
        "{image",
    }
    assert {*fences[1::2]} <= {""}


def docstring_examples():
    """The indented blocks in docstrings that are Python, with the names of what they are of."""
    for path in sorted(CHECKOUT.glob("*/**/*.py")):
        if path.relative_to(CHECKOUT).parts[0] not in ("kerastorch", "convert", "hub"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            name = f"{name_of(path)}: {getattr(node, 'name', 'module')}"
            for block in EXAMPLES.findall(ast.get_docstring(node) or ""):
                code = textwrap.dedent(block)
                if not VARIABLES.match(code):
                    yield pytest.param(code, id=name)


@pytest.mark.parametrize("code", [*docstring_examples()])
@pytest.mark.usefixtures("folder", "machine")
def test_examples_in_docstrings_run(code, server):
    with redirect_stdout(io.StringIO()):
        exec(compile(code, "<docstring>", "exec"), found_by_examples(server))


def test_links_in_the_readme_lead_to_files():
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https:)([^)#]+)", text)
    assert targets
    assert not [target for target in targets if not (CHECKOUT / target).exists()]


def test_the_drift_in_the_readme_is_measured():
    """What it says of mistakes, measured again; no photograph gets another first answer."""
    kitchenware.fetch()
    model, batch, mistakes = drift.xception()
    rows = drift.rows_of_mistakes(model.float(), batch, mistakes)  # float64 takes twice as long
    rows = {row.mistake: row for row in rows}
    table = (CHECKOUT / "README.md").read_text(encoding="utf-8").partition("## Two commands")[0]
    told = re.findall(r"\| (\d+)% \| (\d+) points \|$", table, re.MULTILINE)
    assert told == [
        (f"{rows[mistake].drift:.0%}"[:-1], f"{100 * rows[mistake].probability:.0f}")
        for mistake in (
            "epsilon 1e-5, PyTorch's, for 1e-3",
            "max-pooling padded on both sides",
            "torchvision's mean and deviation",
        )
    ]
    assert not any(row.changed for row in rows.values())


# What pages find


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files that pages name."""
    folder = tmp_path_factory.mktemp("files")
    for name, picture in {
        "elephant.jpg": data.astronaut(),
        "photo1.jpg": data.chelsea(),
        "photo2.jpg": data.coffee(),
    }.items():
        Image.fromarray(picture).save(folder / name)
    (folder / "labels.txt").write_text("bowl\ncat\ncup\nfork\nknife\n")
    model = own_model()
    for name in ("my_model.keras", "old.h5", "my_model.safetensors"):
        model.save(folder / name)
    for name, picture in {"cat": data.chelsea(), "cup": data.coffee()}.items():
        (folder / "photographs" / name).mkdir(parents=True)
        for number in range(8):
            part = picture[number * 10 : number * 10 + 200, number * 20 : number * 20 + 250]
            Image.fromarray(part).save(folder / "photographs" / name / f"{number}.jpg")
    (folder / "ILSVRC2012_val" / "n02123045").mkdir(parents=True)
    Image.fromarray(data.chelsea()).save(folder / "ILSVRC2012_val" / "n02123045" / "cat.jpg")
    return folder


def found_by_examples(server):
    """The names that examples in docstrings use, each for what it says."""
    model = kerastorch.create_model("inception_v3", input_shape=(75, 75, 3))
    images = torch.rand(2, 3, 299, 299)
    batches = DataLoader(TensorDataset(images, torch.tensor([3, 7])), batch_size=2)
    weights = get_record("xception").published_weights(True).path
    return {
        "kerastorch": kerastorch,
        "torch": torch,
        "PIL": PIL,
        "ImageFolder": ImageFolder,
        "get_peft_model": get_peft_model,
        "LoraConfig": LoraConfig,
        # One batch shows that it runs; `tests/test_lightning.py` trains.
        "lightning": SimpleNamespace(Trainer=partial(lightning.Trainer, fast_dev_run=True)),
        "HeadFirst": HeadFirst,
        "Classifier": Classifier,
        **{name: getattr(kerastorch.fine_tuning, name) for name in kerastorch.fine_tuning.__all__},
        "path": server.folder / weights,
        "model": model,
        "images": images[..., :75, :75],
        "logits": torch.rand(1, 1000),
        "loss": torch.sum,
        "training_data": batches,
        "validation_data": batches,
    }


def own_model():
    """A small application within, and a head: what users have."""
    torch.manual_seed(0)
    base = kerastorch.applications.MobileNetV2(
        weights=None, include_top=False, alpha=0.35, input_shape=(96, 96, 3)
    )
    image = kerastorch.layers.Input((96, 96, 3))
    x = kerastorch.layers.GlobalAveragePooling2D()(base(image))
    x = kerastorch.layers.Dense(5, activation="softmax", name="head")(x)
    return kerastorch.Model(image, x, name="my_model")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    for name, arguments in PUBLISHED:
        publish(folder, name, **arguments)
    with PublishedServer(folder) as server:
        yield server


def publish(folder, name, include_top=True, alpha=None, size=None):
    """Writes random weights under the path of a published file."""
    torch.manual_seed(0)
    record = get_record(name)
    path = folder / record.published_weights(include_top, alpha, size).path
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size, size, 3) if size else None
    kerastorch.create_model(
        name, include_top=include_top, alpha=alpha, input_shape=shape
    ).save_weights(path)


@pytest.fixture(scope="module")
def machine(server, tmp_path_factory):
    """One with an empty cache, the checkout where torch.hub puts it, and no network."""
    kitchenware.fetch()  # for what is measured of it, also in this module, while there is one
    home = tmp_path_factory.mktemp("home")
    (home / "hub").mkdir()
    (home / "hub" / "org_kerastorch_main").symlink_to(CHECKOUT)
    with pytest.MonkeyPatch.context() as patch:
        inject(patch, server)
        patch.setenv("KERAS_HOME", str(home))
        patch.setenv("TORCH_HOME", str(home))
        for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(variable, "http://127.0.0.1:9")  # where nobody listens
        # torch.hub asks by urllib, which keeps the proxies of its first request for all others.
        urllib.request.install_opener(None)
        yield
    urllib.request.install_opener(None)


@pytest.fixture
def folder(files, tmp_path, monkeypatch):
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERASTORCH_OFFLINE", "")  # one page sets it, and one registers a layer
    monkeypatch.setattr(registration, "_registered", {})
    torch.manual_seed(0)
