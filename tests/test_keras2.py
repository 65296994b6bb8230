"""Files that Keras 2 writes become the same models, to the same numbers."""

import numpy as np
import pytest

import kerastorch
from kerastorch.engine.structure import flatten
from tests import builders, parity
from tests.oracle.client import Oracle

pytestmark = pytest.mark.usefixtures("beside_oracle")

BACKBONE = {"include_top": False, "pooling": "avg", "input_shape": (75, 78, 3)}
MODELS = {
    "Xception": ("application", {"name": "Xception", **BACKBONE}),
    "VGG16": ("application", {"name": "VGG16", **BACKBONE}),
    "ResNet50": ("application", {"name": "ResNet50", **BACKBONE}),
    "ResNet50V2": ("application", {"name": "ResNet50V2", **BACKBONE}),
    "InceptionV3": ("application", {"name": "InceptionV3", **BACKBONE}),
    "InceptionResNetV2": ("application", {"name": "InceptionResNetV2", **BACKBONE}),
    "MobileNet": ("application", {"name": "MobileNet", **BACKBONE}),
    "MobileNetV2": ("application", {"name": "MobileNetV2", **BACKBONE}),
    "DenseNet121": ("application", {"name": "DenseNet121", **BACKBONE}),
    "NASNetMobile": ("application", {"name": "NASNetMobile", **BACKBONE}),
    "fine_tuned": ("fine_tuned", {}),
    "nested": ("nested", {}),
    "sequential": ("sequential", {}),
}


@pytest.fixture(scope="module")
def keras2():
    with Oracle("keras2_side") as oracle:
        yield oracle


@pytest.mark.parametrize("case", MODELS)
def test_files_of_keras_2(keras2, tmp_path, case):
    """A whole `.h5`, a `.keras`, and an `.h5` of weights for a model that is there already."""
    builder, arguments = MODELS[case]
    names = keras2.ask("build", builder=builder, arguments=arguments)
    whole, weights = tmp_path / "whole.h5", tmp_path / "weights.h5"
    keras2.ask("save", path=str(whole))
    model = kerastorch.load_model(whole)
    whole.unlink()
    assert [layer.name for layer in model.layers] == names
    inputs = parity.random_arrays(model.inputs, batch=2)
    expected = keras2.ask("predict", inputs=inputs)
    assert_outputs_agree(model, inputs, expected)

    keras2.ask("save", path=str(weights), weights_only=True)
    model = getattr(builders, builder)(kerastorch, **arguments)
    model.load_weights(weights)
    weights.unlink()
    assert_outputs_agree(model, inputs, expected)

    if case == "InceptionResNetV2":  # Keras 2 itself cannot write its scale layer into a .keras
        return
    archive = tmp_path / "whole.keras"
    keras2.ask("save", path=str(archive))
    assert_outputs_agree(kerastorch.load_model(archive), inputs, expected)
    archive.unlink()


def assert_outputs_agree(model, inputs, expected):
    outputs = flatten(model.predict(inputs))
    for ours, theirs in zip(outputs, expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= parity.TOLERANCE * np.abs(theirs).max()
