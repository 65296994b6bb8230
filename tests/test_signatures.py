"""The constructors take Keras's arguments in Keras's order, with Keras's defaults.

They are read in the sources, without importing Keras or TensorFlow.
"""

import ast
import importlib.util
import inspect
from functools import cache
from pathlib import Path

import pytest

from kerastorch.applications import get_record
from tests.architectures import APPLICATIONS, LATER, side_of

# What a constructor takes after Keras's arguments: the ResNeXts take what later models do.
ADDITIONS = {
    "ResNeXt50": {"classifier_activation": "softmax", "name": "resnext50"},
    "ResNeXt101": {"classifier_activation": "softmax", "name": "resnext101"},
}


def sources(name):
    """The folder of the sources that have an architecture."""
    if name.startswith("ResNeXt"):
        return folder_of("keras_applications")
    package = "tf_keras" if side_of(name) == "keras2_side" else "keras"
    return folder_of(package) / "src" / "applications"


def folder_of(package):
    return Path(importlib.util.find_spec(package).origin).parent


@cache
def signatures(folder):
    """The arguments of each function of a folder's modules, with their defaults."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {function.name: arguments(function) for function in functions}


def arguments(function):
    """Names and defaults; a default that is no literal is its source."""
    names, defaults = [argument.arg for argument in function.args.args], function.args.defaults
    required = [inspect.Parameter.empty] * (len(names) - len(defaults))
    return list(zip(names, required + [literal(default) for default in defaults], strict=True))


def literal(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


@pytest.mark.parametrize("name", APPLICATIONS | LATER)
def test_arguments_are_keras(name):
    parameters = inspect.signature(get_record(name).constructor).parameters.values()
    ours = [(parameter.name, parameter.default) for parameter in parameters]
    additions = ADDITIONS.get(name, {})
    assert ours == [*signatures(sources(name))[name], *additions.items()]
