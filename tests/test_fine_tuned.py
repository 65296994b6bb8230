"""Fine-tuned models as people make and save them, by both writers, to Keras's numbers."""

from contextlib import ExitStack
from functools import cache

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch.applications.construction import for_published_weights
from kerastorch.convert import UnsupportedLayersError
from tests import builders, parity
from tests.oracle.client import Oracle

pytestmark = pytest.mark.usefixtures("beside_oracle")

FORMATS = {
    "keras_side": ["whole.keras", "whole.h5", "twin.weights.h5", "weights_only.h5"],
    "keras2_side": ["whole.keras", "whole.h5", "weights_only.h5"],
}
MODELS = {
    "transferred": ("transferred", {}),
    "stacked base": ("stacked_base", {}),
    "flattened base": ("flattened_base", {}),
    "VGG with Flatten": ("vgg_with_flatten", {}),
    "siamese": ("siamese", {}),
    "segmented": ("segmented", {"nested": False}),
    "segmented, encoder within": ("segmented", {"nested": True}),
    "renamed": ("renamed", {}),
    "fine-tuned": ("fine_tuned", {}),
    "nested": ("nested", {}),
    "sequential": ("sequential", {}),
    "named ends": ("named_ends", {}),
    "ConvNeXt": ("convnext", {}),
    "EfficientNet": ("tuned_efficientnet", {}),
    "trained within": ("trained_within", {}),
    "called by names": ("called_by_names", {}),
    "activated by layers": ("activated_by_layers", {}),
}
# Keras cannot write an optimizer's state into an `.h5` where layers were once called the same, and
# wants losses by name where outputs are.
UNTRAINED = ["renamed", "named ends"]


@pytest.fixture(scope="module")
def oracles():
    """The process of each writer, started when it is first asked for."""
    with ExitStack() as processes:
        yield cache(lambda writer: processes.enter_context(Oracle(writer)))


def trained(model):
    return {key for key, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("writer", FORMATS)
@pytest.mark.parametrize("case", MODELS)
def test_trained_models_open(oracles, tmp_path, case, writer):
    """Compiled and trained a step, so that whole files hold an optimizer's state too."""
    builder, arguments = MODELS[case]
    oracle = oracles(writer)
    oracle.ask("build", builder=builder, arguments=arguments)

    def build():
        return getattr(builders, builder)(kerastorch, **arguments)

    twin = build()
    inputs = parity.random_arrays(twin.inputs, batch=2)
    if case not in UNTRAINED:
        oracle.ask("fit", inputs=inputs)
    expected = oracle.ask("predict", inputs=inputs)
    for file in FORMATS[writer]:
        path = tmp_path / file
        oracle.ask("save", path=str(path), weights_only=file == "weights_only.h5")
        load = parity.by_load_model if file.startswith("whole") else parity.by_load_weights
        model = load(build, path)
        path.unlink()
        assert [type(x) for x in model.layers] == [type(x) for x in twin.layers], file
        assert model.state_dict().keys() == twin.state_dict().keys(), file
        assert trained(model) == trained(twin), file
        error = parity.relative_error(model.predict(structured(model, inputs)), expected)
        assert error <= parity.TOLERANCE, file


# Keras 2 cannot build an EfficientNet in float64 from the published weights.
PRECISION = {"keras_side": ("float64", parity.TOLERANCE), "keras2_side": ("float32", 1e-5)}


@pytest.mark.parametrize("writer", FORMATS)
def test_an_efficientnet_from_the_published_weights_opens(oracles, tmp_path, writer):
    """It scales channels once more than one from other weights: in a Rescaling, or by a function.

    The function is Keras 2's.
    """
    oracle, published = oracles(writer), tmp_path / "published.h5"
    floatx, tolerance = PRECISION[writer]
    base = {"name": "EfficientNetB0", "include_top": False}
    oracle.ask("build", builder="application", arguments=base, floatx=floatx)
    oracle.ask("save", path=str(published), weights_only=True)
    tuned = {"builder": "tuned_efficientnet", "arguments": {"weights": "imagenet"}}
    oracle.ask("build", **tuned, published=str(published), floatx=floatx)

    def build():
        with for_published_weights():
            return builders.tuned_efficientnet(kerastorch)

    twin = build()
    inputs = [127.5 * (x + 1) for x in parity.random_arrays(twin.inputs, batch=2)]
    oracle.ask("fit", inputs=inputs)
    expected = oracle.ask("predict", inputs=inputs)
    for file in FORMATS[writer]:
        path = tmp_path / file
        oracle.ask("save", path=str(path), weights_only=file == "weights_only.h5")
        load = parity.by_load_model if file.startswith("whole") else parity.by_load_weights
        model = load(build, path)
        assert model.state_dict().keys() == twin.state_dict().keys(), file
        assert trained(model) == trained(twin), file
        assert model.transforms().mode == "none", file
        error = parity.relative_error(model.predict(inputs[0]), expected)
        assert error <= tolerance, file


def structured(model, inputs):
    """The inputs as the model takes them: alone, in a list, or by name."""
    if isinstance(model.input, dict):
        return dict(zip(sorted(model.input), inputs, strict=True))
    return inputs if len(inputs) > 1 else inputs[0]


@pytest.mark.parametrize("writer", FORMATS)
def test_mixed_precision(oracles, tmp_path, writer):
    """Files of mixed_float16 hold float32 variables, and open as the float32 model of these.

    Keras would compute in float16, here that is autocast's to do. So the model equals to the bit
    the one from a float32 file of the same weights, which is Keras's as far as float32 goes.
    """
    oracle, models = oracles(writer), {}
    image = np.random.default_rng(0).uniform(0, 255, (2, 45, 38, 3)).astype(np.float32)
    for policy in ("mixed_float16", "float32"):
        arguments = {"policy": policy}
        oracle.ask("build", builder="transferred_under_policy", arguments=arguments)
        oracle.ask("save", path=str(tmp_path / f"{policy}.keras"))
        models[policy] = kerastorch.load_model(tmp_path / f"{policy}.keras")
    assert {p.dtype for p in models["mixed_float16"].parameters()} == {torch.float32}
    (expected,) = oracle.ask("predict", inputs=[image])
    ours = models["mixed_float16"].predict(image)
    assert np.array_equal(ours, models["float32"].predict(image))
    assert parity.relative_error(ours, [expected]) < 1e-5


@pytest.mark.parametrize("file", ["whole.keras", "whole.h5"])
@pytest.mark.parametrize("writer", FORMATS)
def test_channels_first(oracles, tmp_path, writer, file):
    """TensorFlow saves a channels-first model but cannot run it: its channels-last twin can."""
    oracle = oracles(writer)
    first = {"shape": (3, 45, 38)}
    oracle.ask("build", builder="transferred", arguments=first, data_format="channels_first")
    oracle.ask("save", path=str(tmp_path / file))
    model = kerastorch.load_model(tmp_path / file)
    assert model.input_shape == (None, 3, 45, 38)
    oracle.ask("build", builder="transferred", arguments={})
    image = np.random.default_rng(0).uniform(0, 255, (2, 45, 38, 3))
    expected = oracle.ask("predict", inputs=[image])
    ours = model.predict(np.moveaxis(image, -1, 1))
    assert parity.relative_error(ours, expected) <= parity.TOLERANCE


@pytest.mark.parametrize("writer", FORMATS)
def test_both_data_formats_in_one_model_are_refused(oracles, tmp_path, writer):
    """What is rank 4 is held channels first for the whole model or for none of it."""
    oracles(writer).ask("build", builder="both_layouts", arguments={})
    oracles(writer).ask("save", path=str(tmp_path / "whole.keras"))
    with pytest.raises(UnsupportedLayersError, match="both data formats"):
        kerastorch.load_model(tmp_path / "whole.keras")


@pytest.mark.parametrize("file", ["whole.keras", "whole.h5"])
@pytest.mark.parametrize("nested", [False, True], ids=["in the model", "in a Sequential"])
@pytest.mark.parametrize("writer", FORMATS)
def test_augmentation_in_front(oracles, tmp_path, writer, nested, file):
    """Whole numbers for pixels, since float32, in which the augmentation is, holds them exactly."""
    oracle = oracles(writer)
    oracle.ask("build", builder="augmented", arguments={"nested": nested})
    image = np.random.default_rng(0).integers(0, 256, (2, 45, 38, 3)).astype(np.float32)
    expected = oracle.ask("predict", inputs=[image])
    oracle.ask("save", path=str(tmp_path / file))
    model = kerastorch.load_model(tmp_path / file)
    ours = model.predict(image.astype(np.float64))
    assert parity.relative_error(ours, expected) <= parity.TOLERANCE


@pytest.mark.parametrize("options", [{}, {"skip_mismatch": True}, {"by_name": True}])
@pytest.mark.parametrize("writer", FORMATS)
def test_layers_within_that_were_numbered_on(oracles, tmp_path, writer, options):
    """In another session: there `dense_1` is the second layer, in the file it is the first."""
    oracle, path = oracles(writer), tmp_path / "weights_only.h5"
    oracle.ask("build", builder="within", arguments={"names": ["dense_1", "dense_2"]})
    oracle.ask("save", path=str(path), weights_only=True)
    model = builders.within(kerastorch, ["dense", "dense_1"])
    report = model.load_weights(path, **options)
    assert report.is_complete
    assert report.matched_by == "order"
    inputs = parity.random_arrays(model.inputs, batch=2)
    error = parity.relative_error(model.predict(inputs[0]), oracle.ask("predict", inputs=inputs))
    assert error <= parity.TOLERANCE


@pytest.mark.parametrize("file", ["whole.keras", "whole.h5"])
@pytest.mark.parametrize("writer", FORMATS)
def test_activations_with_weights_are_named(oracles, tmp_path, writer, file):
    oracles(writer).ask("build", builder="learned_activation", arguments={})
    oracles(writer).ask("save", path=str(tmp_path / file))
    with pytest.raises(UnsupportedLayersError, match=r"Dense\(activation=PReLU\)"):
        kerastorch.load_model(tmp_path / file)
