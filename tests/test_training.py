"""One step of SGD changes every weight and every moving statistic as it does in Keras."""

import pytest
import torch

import kerastorch
from tests import builders, parity

pytestmark = pytest.mark.usefixtures("beside_oracle")

TOLERANCE = 1e-10
RATE = 0.05

WITHOUT_DROPOUT = ["Xception", "ResNet50V2", "MobileNetV2", "InceptionV3"]
WITHOUT_TOP = ["ConvNeXtTiny", "MobileNetV3Small"]


def check_step(oracle, folder, builder, arguments, batch, frozen=0.0):
    """Train both twins for one step, with the first `frozen` of their layers frozen."""
    model = parity.make_twins(oracle, builder, arguments, folder / "twin.weights.h5")
    inputs = parity.random_arrays(model.inputs, batch)
    targets = parity.random_arrays(model.outputs, batch)[0]
    frozen = int(frozen * len(model.layers))
    keras = oracle.ask(
        "step", inputs=inputs, targets=targets, rate=RATE, frozen=frozen, folder=str(folder)
    )

    for layer in model.layers[:frozen]:
        layer.trainable = False
    model.train()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(parameters.values(), RATE)
    prediction = model([parity.from_keras(x) for x in inputs])
    loss = (prediction - parity.from_keras(targets)).square().mean()
    loss.backward()
    optimizer.step()

    gradients, stepped = (
        read_state(folder / f"{kind}.weights.h5", builder, arguments)
        for kind in ("gradients", "stepped")
    )
    assert len(parameters) == keras["trained"]
    assert loss.item() == pytest.approx(keras["loss"], rel=TOLERANCE)
    largest = max(parity.maximum(gradients[name]) for name in parameters)
    for name, parameter in parameters.items():
        parity.assert_close(
            parameter.grad, gradients[name], f"gradient of {name}", TOLERANCE, largest
        )
    for name, value in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            parity.assert_close(value, stepped[name], f"{name} after the step", TOLERANCE)


def read_state(path, builder, arguments):
    """The tensors of a file of Keras's under the names and in the layout of the model's."""
    model = getattr(builders, builder)(kerastorch, **arguments)
    model.load_weights(path)
    path.unlink()
    return model.state_dict()


@pytest.mark.parametrize("frozen", [0.0, 0.5], ids=["all trained", "half frozen"])
@pytest.mark.parametrize("name", [*WITHOUT_DROPOUT, *WITHOUT_TOP])
def test_applications(oracle, tmp_path, name, frozen):
    """Those that drop a part of the features in front of the classifier are trained without it."""
    arguments = {"name": name, "input_shape": (75, 78, 3), "classes": 10}
    if name in WITHOUT_TOP:
        arguments = {"name": name, "input_shape": (45, 38, 3), "include_top": False}
    check_step(oracle, tmp_path, "application", arguments, 4, frozen)


@pytest.mark.parametrize("shape", [(6,), (4, 5, 6)], ids=["vectors", "images"])
@pytest.mark.parametrize("batch", [1, 3])
def test_batch_normalisation(oracle, tmp_path, shape, batch):
    """Among others of one vector: a single value for each channel, where torch raises."""
    check_step(oracle, tmp_path, "batch_normalisations", {"shape": shape}, batch)


def test_layers_around_backbones(oracle, tmp_path):
    check_step(oracle, tmp_path, "trained_layers", {}, 3)


def test_frozen_backbone(oracle, tmp_path):
    check_step(oracle, tmp_path, "fine_tuned", {}, 4)
