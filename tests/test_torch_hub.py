"""`torch.hub` as its users call it: in a process of its own, beside modules of the same names."""

import hashlib
import inspect
import re
import shutil
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tomllib
import torch

import hubconf
import kerastorch
from kerastorch.applications.registry import get_record
from kerastorch.hub import entry_points
from tests.installations import CHECKOUT, DECOYS, build_wheel, run_python, write_decoys
from tests.parity import TOLERANCE
from tests.published import files
from tests.published.injection import environment, inject
from tests.published.server import PublishedServer

SMALL = {"alpha": 0.25, "input_shape": (128, 128, 3)}


class Published(NamedTuple):
    """A file like a published one, and what Keras computes with it."""

    path: Path
    inputs: np.ndarray  # (batch, height, width, 3)
    output: np.ndarray


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("published")


def publish(oracle, folder, name, pixels, **arguments):
    path = files.publish(oracle, folder, name, **arguments)
    inputs = np.random.default_rng(8).uniform(-1, 1, (2, pixels, pixels, 3))
    (output,) = oracle.ask("predict", inputs=[inputs])
    return Published(path, inputs, output)


@pytest.fixture(scope="module")
def xception(oracle, folder):
    return publish(oracle, folder, "Xception", 299)


@pytest.fixture(scope="module")
def mobilenet(oracle, folder):
    return publish(oracle, folder, "MobileNet", 128, alpha=0.25, size=128)


@pytest.fixture(scope="module")
def mobilenet_without_top(oracle, folder):
    return publish(oracle, folder, "MobileNet", 128, alpha=0.25, size=128, include_top=False)


@pytest.fixture
def server(folder):
    with PublishedServer(folder) as server:
        yield server


@pytest.fixture
def decoys(tmp_path):
    return write_decoys(tmp_path / "decoys")


@pytest.fixture
def models(tmp_path):
    """Keras's cache in a `KERAS_HOME` of `tmp_path`."""
    folder = tmp_path / "home" / "models"
    folder.mkdir(parents=True)
    return folder


def hash_of(model):
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


PRINT_HASH = f"{inspect.getsource(hash_of)}\nprint(hash_of(model))\n"


def load_xception(checkout=CHECKOUT):
    """A program that does what a user does, and prints the hash of what that gives."""
    return f"""
import hashlib, torch
model = torch.hub.load({str(checkout)!r}, "xception", source="local", pretrained=True)
{PRINT_HASH}"""


@pytest.fixture(scope="module")
def xception_hash(xception):
    return hash_of(kerastorch.create_model("xception", weights=xception.path))


# Where the weights come from


def test_an_empty_cache_then_keras_file_then_our_own(
    xception, xception_hash, server, decoys, models, tmp_path
):
    name = xception.path.name
    env = environment(server, models.parent)
    path_of_inputs, path_of_logits = tmp_path / "inputs.npy", tmp_path / "logits.npy"
    np.save(path_of_inputs, xception.inputs)
    compute = f"""
import numpy
inputs = torch.from_numpy(numpy.load({str(path_of_inputs)!r})).permute(0, 3, 1, 2)
with torch.no_grad():
    numpy.save({str(path_of_logits)!r}, model.eval().double()(inputs).numpy())
"""
    assert run_python(load_xception() + compute, decoys, cwd=decoys, env=env) == [xception_hash]
    assert sum(server.requests.values()) == 1
    softmax = torch.from_numpy(np.load(path_of_logits)).softmax(dim=1).numpy()
    assert abs(softmax - xception.output).max() <= TOLERANCE * xception.output.max()

    keras_file, converted = models / name, models / name.replace(".h5", ".safetensors")
    converted.unlink()
    assert run_python(load_xception(), decoys, cwd=decoys, env=env) == [xception_hash]
    keras_file.unlink()
    assert converted.is_file()
    assert run_python(load_xception(), decoys, cwd=decoys, env=env) == [xception_hash]
    assert not keras_file.exists()
    assert sum(server.requests.values()) == 1


@pytest.mark.parametrize("order", [("other", "ours", "other"), ("ours", "other", "ours")])
def test_another_repository_before_and_after(
    xception, xception_hash, server, decoys, models, tmp_path, order
):
    """A repository with packages of the same names neither takes ours nor gets them."""
    shutil.copy(xception.path, models)
    other = write_repository(tmp_path / "other")
    programs = {
        "other": f'print(torch.hub.load({str(other)!r}, "net", source="local"))\n',
        "ours": load_xception(),
    }
    code = "import torch\n" + "".join(programs[repository] for repository in order)
    code += f"print(*(sys.modules[name].__file__ for name in {DECOYS}))\n"
    printed = run_python(code, decoys, cwd=decoys, env=environment(server, models.parent))
    answers = {"other": "other's", "ours": xception_hash}
    assert printed[:3] == [answers[repository] for repository in order]
    assert printed[3:] == [str(other / name / "__init__.py") for name in DECOYS]
    assert not server.requests


def write_repository(folder):
    """A hub repository whose own packages have the names of the decoys."""
    for name in DECOYS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text('ANSWER = "other\'s"\n')
    (folder / "hubconf.py").write_text(
        f"import {', '.join(DECOYS)}\n"
        'dependencies = ["torch"]\n'
        "def net():\n"
        f"    (answer,) = {{module.ANSWER for module in ({', '.join(DECOYS)})}}\n"
        "    return answer\n"
    )
    return folder


def test_a_relative_path_and_a_working_directory_that_changes(
    xception, xception_hash, server, decoys, models, tmp_path
):
    """What kerastorch imports late it finds wherever the process has gone."""
    shutil.copy(xception.path, models)
    (tmp_path / "checkout").symlink_to(CHECKOUT)
    code = f"""
import os, torch
torch.hub.load("checkout", "list_models", source="local")
os.chdir({str(decoys)!r})
{load_xception("../checkout")}
"""
    env = environment(server, models.parent)
    assert run_python(code, "", cwd=tmp_path, env=env) == [xception_hash]
    assert not server.requests


def test_a_wheel_in_a_clean_environment(
    xception, xception_hash, server, decoys, models, tmp_path, tmp_path_factory
):
    site = tmp_path / "site"
    zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel"))).extractall(site)
    code = f"""
import hashlib
from kerastorch.hub.entry_points import labels, xception
model = xception(pretrained=True)
{PRINT_HASH}
print(sys.modules["kerastorch.hub.entry_points"].__file__, labels()[386])
"""
    env = environment(server, models.parent)
    assert run_python(code, decoys, site, cwd=decoys, env=env) == [
        xception_hash,
        str(site / "kerastorch" / "hub" / "entry_points.py"),
        "African_elephant",
    ]
    assert sum(server.requests.values()) == 1


# What is missing

WITHOUT = """
import sys, warnings

class Without:
    '''Finds all modules but one, so that this one is as good as not installed.'''

    def __init__(self, name):
        self.name, self.finders = name, list(sys.meta_path)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.name:
            return None
        return next(filter(None, (f.find_spec(name, path, target) for f in self.finders)), None)

def block(name):
    sys.meta_path[:] = [Without(name)]
    for module in list(sys.modules):
        if module.partition(".")[0] in (name, "kerastorch"):
            del sys.modules[module]

def try_it(name):
    import torch
    with warnings.catch_warnings(record=True) as warned:
        try:
            torch.hub.load(CHECKOUT, "xception", source="local")
        except RuntimeError as error:
            print(name, str(error).replace(" ", "_"))
    print(str(warned[-1].message).replace(" ", "_"))

"""


def test_what_is_missing_is_named_by_torch_hub(decoys):
    """Without numpy PyTorch must not have been imported; for all others one process will do."""
    start = f"CHECKOUT = {str(CHECKOUT)!r}\n{WITHOUT}"
    numpy = run_python(start + 'block("numpy")\ntry_it("numpy")\n', cwd=decoys)
    names = [name for name in hubconf.dependencies if name not in ("torch", "numpy")]
    others = f"""
import torch
finders = list(sys.meta_path)
for name in {names}:
    sys.meta_path[:] = finders
    block(name)
    try_it(name)
"""
    printed = numpy + run_python(start + others, cwd=decoys)
    assert printed == [
        word
        for name in ("numpy", *names)
        for word in (
            name,
            f"Missing_dependencies:_{name}",
            f"kerastorch_has_no_entry_points_without_{name}",
        )
    ]


def test_all_dependencies_are_named():
    """Those of the package, by the names they are imported by; the README's line has them too.

    numpy comes with torchvision there, and requests with pooch.
    """
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    names = {package.partition(">=")[0] for package in project["dependencies"]}
    assert {*hubconf.dependencies} == names - {"pillow"} | {"PIL"}
    (line,) = re.findall(r"pip install (torch [a-z0-9 ]+)", (CHECKOUT / "README.md").read_text())
    assert {*line.split()} == names - {"numpy", "requests"}


# What torch.hub tells


@pytest.fixture
def repository(monkeypatch, tmp_path):
    """The checkout as if torch.hub had fetched it from GitHub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "org_kerastorch_main").symlink_to(CHECKOUT)
    return "org/kerastorch:main"


def test_list_names_what_there_is(repository):
    names = [*kerastorch.list_models(), "create_model", "labels", "list_models", "preprocess"]
    assert torch.hub.list(repository, trust_repo=True) == sorted(names)


@pytest.mark.parametrize("name", kerastorch.list_models())
def test_help_tells_what_users_need(repository, name):
    text, record = torch.hub.help(repository, name, trust_repo=True), get_record(name)
    for fact in (
        "Input: tensor `(batch, 3, height, width)`",
        f"{record.default_size} x {record.default_size} pixels",
        f"at least {record.min_size} x {record.min_size}",
        {
            "tf": "x / 127.5 - 1",
            "torch": "(0.485, 0.456, 0.406)",
            "caffe": "BGR",
            "none": "as they are, in [0, 255]",
        }[record.preprocessing],
        "Output: logits `(batch, classes)`",
        f"{record.size_mb} MB, {record.params:,} parameters",
        *(f"top-{n} {top:.1%}" for n, top in ((1, record.top1), (5, record.top5)) if top),
        f"licence: {record.weights_licence}",
        f"Paper: {record.paper}",
        f".{record.keras_name}\n",
    ):
        assert fact in text
    assert max(map(len, text.splitlines())) <= 100
    for argument in inspect.signature(getattr(entry_points, name)).parameters:
        assert f"\n    {argument}: " in text


@pytest.mark.parametrize("name", kerastorch.list_models())
def test_entry_points_look_like_functions_written_out(name):
    entry_point = getattr(hubconf, name)
    assert (entry_point.__module__, entry_point.__name__) == ("kerastorch.hub.entry_points", name)
    assert entry_point is getattr(entry_points, entry_point.__qualname__)
    parameters = inspect.signature(entry_point).parameters
    defaults = {
        "pretrained": False,
        "weights": None,
        "include_top": True,
        "input_shape": None,
        "in_channels": None,
        "pooling": None,
        "classes": 1000,
        "classifier_activation": None,
    }
    of_v3 = ["alpha", "dropout_rate", "include_preprocessing", "minimalistic"]
    own = {
        "mobilenet": ["alpha", "depth_multiplier", "dropout"],
        "mobilenet_v2": ["alpha"],
        "mobilenet_v3_small": of_v3,
        "mobilenet_v3_large": of_v3,
        **{f"efficientnet_b{size}": [] for size in range(8)},  # they always prepare pixels
    }
    prepares = ["include_preprocessing"] if get_record(name).own_preprocessing else []
    assert {key: parameter.default for key, parameter in parameters.items()} == {
        **defaults,
        **dict.fromkeys(own.get(name, prepares)),
    }
    with pytest.raises(TypeError, match="'width'"):
        entry_point(width=2)


def test_an_argument_of_another_model_is_refused():
    with pytest.raises(TypeError, match="'alpha'"):
        hubconf.xception(alpha=0.5)


def test_preprocess_knows_each_model():
    for name in kerastorch.list_models():
        record, preprocess = get_record(name), hubconf.preprocess(name)
        assert preprocess.mode == record.preprocessing
        assert preprocess(torch.zeros(3, 40, 50)).shape[2:] == (record.default_size,) * 2
    assert hubconf.preprocess("MobileNet", size=128).size == (128, 128)
    assert hubconf.preprocess("vgg16", size=(64, 96), interpolation="box").size == (64, 96)
    with pytest.raises(ValueError, match="did you mean xception"):
        hubconf.preprocess("xceptoin")


def test_labels_are_in_the_order_of_the_outputs():
    labels = hubconf.labels()
    assert len(labels) == 1000
    assert all(isinstance(label, str) for label in labels)
    scores = np.linspace(1, 0, 1000)[None]
    decode = kerastorch.applications.imagenet_utils.decode_predictions
    assert labels == [name for _, name, _ in decode(scores, top=1000)[0]]


# What the models give


@pytest.fixture
def cache(monkeypatch, server, tmp_path):
    """This process takes the server for the published address and has a cache of its own."""
    inject(monkeypatch, server)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))


@pytest.mark.usefixtures("cache")
def test_logits_unless_probabilities_are_asked_for(mobilenet):
    assert_computes(hubconf.mobilenet(pretrained=True, **SMALL), mobilenet, softmax=True)
    model = hubconf.mobilenet(pretrained=True, classifier_activation="softmax", **SMALL)
    assert_computes(model, mobilenet)


@pytest.mark.usefixtures("cache")
def test_features(mobilenet_without_top):
    feature_map = mobilenet_without_top.output
    model = hubconf.mobilenet(pretrained=True, include_top=False, pooling="avg", **SMALL)
    features = mobilenet_without_top._replace(output=feature_map.mean(axis=(1, 2)))
    assert_computes(model, features)
    assert model.output_shape == (None, 256)


def assert_computes(model, published, softmax=False):
    inputs = torch.from_numpy(published.inputs).permute(0, 3, 1, 2)
    with torch.no_grad():
        output = model.eval().double()(inputs)
    output = (output.softmax(dim=1) if softmax else output).numpy()
    assert abs(output - published.output).max() <= TOLERANCE * abs(published.output).max()


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("options", [{}, {"classes": 7}])
def test_other_classes_get_a_new_classifier(mobilenet, server, options):
    """The weights before it are those for the size of the images, where there are several."""
    published = kerastorch.create_model("mobilenet", weights=mobilenet.path, **SMALL).state_dict()
    model = hubconf.mobilenet(pretrained=True, **SMALL, **options)
    state, classifier = model.state_dict(), get_record("mobilenet").classifier
    assert list(state) == list(published)
    own = {key for key in state if not same(state[key], published[key])}
    new = {f"{classifier}.weight", f"{classifier}.bias"}
    assert own == (new if options else set())
    assert model.output_shape == (None, options.get("classes", 1000))
    assert list(server.requests) == [str(mobilenet.path.relative_to(server.folder))]
    if options:
        assert 0 < state[f"{classifier}.weight"].std() < 1
        assert (state[f"{classifier}.bias"] == 0).all()


def same(tensor, other):
    return tensor.shape == other.shape and torch.equal(tensor, other)
