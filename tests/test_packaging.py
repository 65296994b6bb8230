"""One import name, `kerastorch`, in a checkout and from a wheel, and a light one."""

import zipfile

import pytest

from tests.installations import CHECKOUT, DECOYS, build_wheel, run_python, write_decoys


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def decoys(tmp_path):
    return write_decoys(tmp_path / "decoys")


# Where each of our folders is imported from, and which decoys come with them.
IMPORT_FOLDERS = f"""
import kerastorch.convert, kerastorch.hub
print(kerastorch.convert.__file__, kerastorch.hub.__file__)
print(*({set(DECOYS)} & set(sys.modules)))
"""


def folders_in(parent):
    return [str(parent / folder / "__init__.py") for folder in ("convert", "hub")]


def test_the_wheel_holds_one_top_level_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"kerastorch"}
    carried = {name.removeprefix("kerastorch/") for name in names}
    checkout = {
        str(path.relative_to(CHECKOUT).as_posix())
        for folder in ("convert", "hub", "kerastorch")
        for path in (CHECKOUT / folder).rglob("*.py")
    }
    assert {name.removeprefix("kerastorch/") for name in checkout} <= carried
    for folder in ("convert", "hub"):
        assert f"kerastorch/{folder}/__init__.py" in names
    assert "kerastorch/applications/imagenet_class_index.json" in names
    for asset in ("report.css", "report.js"):
        assert f"kerastorch/verification/report/{asset}" in names


@pytest.mark.parametrize("checkout_first", [True, False])
def test_a_checkout_finds_its_own_folders(decoys, checkout_first):
    path = [CHECKOUT, decoys] if checkout_first else [decoys, CHECKOUT]
    assert run_python(IMPORT_FOLDERS, *path, cwd=decoys) == folders_in(CHECKOUT)


def test_an_installed_wheel_finds_its_own_folders(wheel, decoys, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    assert run_python(IMPORT_FOLDERS, decoys, site, cwd=decoys) == folders_in(site / "kerastorch")


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


def test_what_loads_when_it_is_used_is_there_after_a_bare_import():
    names = ["cam.grad_cam", "embedding.embed", "evaluation.evaluate", "optimize", "verify"]
    for name in names:
        code = f"import kerastorch; print(callable(kerastorch.{name}))"
        assert run_python(code, CHECKOUT, cwd=CHECKOUT) == ["True"]
