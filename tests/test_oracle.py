"""The parity tests can fail: they name the layer that differs, and Keras's errors arrive."""

import subprocess
import sys

import pytest
import torch

from tests import parity
from tests.oracle.client import ROOT, OracleError

pytestmark = pytest.mark.usefixtures("beside_oracle")


@pytest.fixture
def twin(oracle, tmp_path):
    case = ("application", {"name": "MobileNet", "input_shape": (33, 35, 3), "alpha": 0.25})
    return parity.make_twins(oracle, *case, tmp_path / "twin.weights.h5")


@pytest.mark.parametrize("name", ["conv_dw_6", "conv_pw_6_bn", "conv_preds"])
def test_first_layer_that_differs_is_named(oracle, twin, name):
    images = parity.random_arrays(twin.inputs, batch=1)
    layer = twin.get_layer(name)
    with torch.no_grad():
        next(iter(layer.parameters())).mul_(1 + 1e-10)
    with pytest.raises(AssertionError, match=rf"{name} \(\w+\), is the first that differs"):
        parity.assert_layers_agree(twin, oracle, images)
    assert oracle.ask("build", builder="sequential", arguments={})  # The rest was read and dropped.


def test_wrong_epsilon_is_seen(oracle, twin):
    twin.get_layer("conv1_bn").eps *= 1 + 1e-6
    with pytest.raises(AssertionError, match="conv1_bn"):
        parity.assert_layers_agree(twin, oracle, parity.random_arrays(twin.inputs, batch=1))


def test_errors_of_keras_arrive(oracle):
    arguments = {"name": "Xception", "include_top": False, "input_shape": (20, 20, 3)}
    with pytest.raises(OracleError, match=r"(?s)Traceback.*Input size must be at least 71x71"):
        oracle.ask("build", builder="application", arguments=arguments)
    with pytest.raises(OracleError, match="AttributeError"):
        oracle.ask("no_such_question")


def test_each_side_knows_only_its_own_framework():
    assert not {"keras", "tensorflow"} & set(sys.modules)
    program = "import sys, tests.oracle.__main__; print({'torch', 'kerastorch'} & {*sys.modules})"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == "set()\n"
