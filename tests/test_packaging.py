"""One import name, `kerastorch`, in a checkout and from a wheel, and a light one."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kerastorch import list_models

CHECKOUT = Path(__file__).resolve().parents[1]
DECOYS = ("convert", "hub", "models", "utils")


def run_python(code, *path, cwd):
    """What `code` prints in a fresh interpreter that looks for modules in `path` first.

    It finds the checkout only if `path` names it, even where it is installed as editable.
    """
    search = f"""
import sys
sys.path[:] = {[str(folder) for folder in path]} + [p for p in sys.path if p != {str(CHECKOUT)!r}]
"""
    # -P: not in the working directory either.
    result = subprocess.run(
        [sys.executable, "-P", "-c", search + code],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture
def decoys(tmp_path):
    """A folder with modules of a user's own, under the names of our top-level folders."""
    folder = tmp_path / "decoys"
    folder.mkdir()
    for name in DECOYS:
        (folder / f"{name}.py").write_text("raise ImportError('a decoy was imported')\n")
    return folder


IMPORT_CONVERT = f"""
import kerastorch.convert
print(kerastorch.convert.__file__)
print(*({set(DECOYS)} & set(sys.modules)))
"""


def test_the_wheel_holds_one_top_level_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"kerastorch"}
    carried = {name.removeprefix("kerastorch/") for name in names}
    checkout = {
        str(path.relative_to(CHECKOUT).as_posix())
        for folder in ("convert", "kerastorch")
        for path in (CHECKOUT / folder).rglob("*.py")
    }
    assert {name.removeprefix("kerastorch/") for name in checkout} <= carried
    assert "kerastorch/convert/__init__.py" in names
    assert "kerastorch/applications/imagenet_class_index.json" in names
    for asset in ("report.css", "report.js"):
        assert f"kerastorch/verification/report/{asset}" in names


@pytest.mark.parametrize("checkout_first", [True, False])
def test_a_checkout_finds_its_own_convert(decoys, checkout_first):
    path = [CHECKOUT, decoys] if checkout_first else [decoys, CHECKOUT]
    assert run_python(IMPORT_CONVERT, *path, cwd=decoys) == [
        str(CHECKOUT / "convert" / "__init__.py")
    ]


def test_an_installed_wheel_finds_its_own_convert(wheel, decoys, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    assert run_python(IMPORT_CONVERT, decoys, site, cwd=decoys) == [
        str(site / "kerastorch" / "convert" / "__init__.py")
    ]


def test_importing_loads_little_beyond_torch():
    heavy = ["torchvision", "h5py", "PIL", "rich", "safetensors", "keras", "tensorflow", "pandas"]
    code = f"""
import torch
before = set(sys.modules)
import kerastorch
print(*(set({heavy}) & (set(sys.modules) - before)))
print(kerastorch.preprocessing.image.load_img.__name__)
"""
    assert run_python(code, CHECKOUT, cwd=CHECKOUT) == ["load_img"]


def test_torch_hub_finds_everything_in_a_bare_checkout(decoys):
    code = f"""
import torch
load = lambda *entry: torch.hub.load({str(CHECKOUT)!r}, *entry, source="local")
print(*load("list_models"))
print(load("create_model", "mobilenet").name)
"""
    *names, name = run_python(code, cwd=decoys)
    assert names == list_models()
    assert name == "mobilenet_1.00_224"
