"""Files of Keras 1, made from those that Keras 2 writes, give the same numbers.

Keras 1 runs nowhere any more. A file of Keras 2 is taken back to the names, arguments and layouts
of 1.2.2, which its `get_config` and `build` methods tell.
"""

import json

import h5py
import numpy as np
import pytest

import kerastorch
from kerastorch import layers
from kerastorch.convert import UnsupportedLayersError
from tests import builders, parity
from tests.oracle.client import Oracle

pytestmark = pytest.mark.usefixtures("beside_oracle")

CLASSES = {
    "Conv1D": "Convolution1D",
    "Conv2D": "Convolution2D",
    "Conv2DTranspose": "Deconvolution2D",
    "SeparableConv2D": "SeparableConvolution2D",
}
MERGES = {"Add": "sum", "Average": "ave", "Maximum": "max", "Multiply": "mul"}
ARGUMENTS = {
    "filters": "nb_filter",
    "units": "output_dim",
    "padding": "border_mode",
    "strides": "subsample",
    "use_bias": "bias",
    "rate": "p",
}
WITHOUT_ORDERING = ("Flatten", "GlobalMaxPooling1D", "UpSampling2D", "ZeroPadding2D")
KEPT = ("name", "trainable", "batch_input_shape", "epsilon", "momentum", "axis", "alpha", "size")
KEPT += ("activation", "depth_multiplier", "pool_size", "dims", "n")


def old_config(class_name, config, ordering):
    """A layer's class and config as Keras 1.2.2 wrote them."""
    old = {key: config[key] for key in KEPT if key in config}
    old |= {ARGUMENTS[key]: config[key] for key in ARGUMENTS if key in config}
    if "kernel_size" in config and class_name != "Conv1D":
        old["nb_row"], old["nb_col"] = config["kernel_size"]
    if "data_format" in config and class_name not in WITHOUT_ORDERING:
        old["dim_ordering"] = ordering
    match class_name:
        case "Conv1D":
            old |= {"filter_length": config["kernel_size"][0], "init": "uniform"}
            old["subsample_length"] = old.pop("subsample")[0]
            del old["dim_ordering"]
        case "Conv2D" if config["dilation_rate"] != [1, 1]:
            return "AtrousConvolution2D", old | {"atrous_rate": config["dilation_rate"]}
        case "Conv2D":
            old |= {"init": "glorot_uniform", "W_regularizer": None, "b_constraint": None}
        case "Conv2DTranspose":
            old["output_shape"] = [None, 5, 5, 5]
        case "MaxPooling2D":
            old["strides"] = old.pop("subsample")
        case "MaxPooling1D":
            (old["pool_length"],), (old["stride"],) = old.pop("pool_size"), old.pop("subsample")
            del old["dim_ordering"]
        case "UpSampling1D":
            old["length"] = old.pop("size")
        case "ZeroPadding2D":
            del old["border_mode"]
            old["padding"] = [*config["padding"][0], *config["padding"][1]]
        case "BatchNormalization":
            old |= {"mode": 0, "axis": 1 if ordering == "th" else -1, "gamma_init": "one"}
        case "Concatenate":
            return "Merge", {"name": old["name"], "mode": "concat", "concat_axis": -1}
        case "InputLayer":
            shape = config.get("batch_input_shape", config.get("batch_shape"))
            if ordering == "th" and len(shape) == 4:
                shape = [shape[0], shape[3], *shape[1:3]]
            return class_name, old | {"batch_input_shape": shape, "input_dtype": "float32"}
    if class_name in MERGES:
        return "Merge", {"name": old["name"], "mode": MERGES[class_name], "concat_axis": -1}
    return CLASSES.get(class_name, class_name), old


def old_model_config(saved, ordering):
    config = saved["config"]
    if saved["class_name"] == "Sequential":
        source, *stack = config["layers"]
        stack = [old_config(layer["class_name"], layer["config"], ordering) for layer in stack]
        stack[0][1]["batch_input_shape"] = source["config"]["batch_input_shape"]
        stack = [{"class_name": name, "config": config} for name, config in stack]
        return {"class_name": "Sequential", "config": stack}
    made = []
    for layer in config["layers"]:
        class_name, old = old_config(layer["class_name"], layer["config"], ordering)
        calls = [[entry[:3] for entry in call] for call in layer["inbound_nodes"]]
        made.append(
            {"class_name": class_name, "config": old, "name": old["name"], "inbound_nodes": calls}
        )
    return {"class_name": "Model", "config": {**config, "layers": made}}


def old_kernel(class_name, kernel, ordering, backend):
    flip = backend == "theano" and class_name in ("Conv1D", "Conv2D", "Conv2DTranspose")
    if flip:
        kernel = np.flip(kernel, tuple(range(kernel.ndim - 2)))
    if class_name == "Conv1D":
        return kernel[:, None]
    if class_name == "Conv2DTranspose":
        kernel = kernel.transpose(0, 1, 3, 2)
    return kernel.transpose(3, 2, 0, 1) if ordering == "th" else kernel


def make_old(path, ordering, backend):
    """Turns a whole `.h5` of Keras 2 into one of Keras 1."""
    with h5py.File(path, "r+") as file:
        saved = json.loads(file.attrs["model_config"])
        file.attrs["model_config"] = json.dumps(old_model_config(saved, ordering)).encode()
        file.attrs["keras_version"] = b"1.2.2"
        del file.attrs["backend"], file["model_weights"].attrs["backend"]
        file.attrs["backend"] = backend.encode()
        classes = {x["config"]["name"]: x["class_name"] for x in saved["config"]["layers"]}
        for name, group in file["model_weights"].items():
            for weight in group.attrs.get("weight_names", []):
                array = group[weight][()]
                if array.ndim > 2 and classes[name] != "SeparableConv2D":
                    del group[weight]
                    group[weight] = old_kernel(classes[name], array, ordering, backend)


@pytest.fixture(scope="module")
def keras2():
    with Oracle("keras2_side") as oracle:
        yield oracle


BUILDERS = ["of_the_time_of_keras_1", "sequence_of_the_time_of_keras_1"]


@pytest.mark.parametrize("backend", ["tensorflow", "theano"])
@pytest.mark.parametrize("builder", BUILDERS)
def test_whole_models(keras2, tmp_path, builder, backend):
    path = tmp_path / "old.h5"
    names = [name for name, _ in keras2.ask("build", builder=builder, arguments={})["layers"]]
    keras2.ask("save", path=str(path))
    make_old(path, "tf", backend)
    model = kerastorch.load_model(path)
    assert [layer.name for layer in model.layers] == names
    inputs = parity.random_arrays(model.inputs, batch=2)
    assert_outputs(model, inputs, keras2.ask("predict", inputs=inputs))

    twin = getattr(builders, builder)(kerastorch)
    assert twin.load_weights(path).is_complete
    assert_outputs(twin, inputs, keras2.ask("predict", inputs=inputs))


@pytest.mark.parametrize("backend", ["tensorflow", "theano"])
def test_models_in_the_order_of_theano(keras2, tmp_path, backend):
    path = tmp_path / "old.h5"
    keras2.ask("build", builder="in_both_orders_of_keras_1", arguments={})
    keras2.ask("save", path=str(path))
    make_old(path, "th", backend)
    model = kerastorch.load_model(path)
    assert model.data_format == "channels_first"
    (image,) = parity.random_arrays([builders.in_both_orders_of_keras_1(kerastorch).inputs[0]], 2)
    (expected,) = keras2.ask("predict", inputs=[image])
    output = model.predict(image.transpose(0, 3, 1, 2))
    assert parity.relative_error([output.transpose(0, 2, 3, 1)], [expected]) <= parity.TOLERANCE


def test_flatten_in_the_order_of_theano_takes_values_as_they_lie():
    model = {
        "class_name": "Sequential",
        "config": [
            {
                "class_name": "MaxPooling2D",
                "config": {
                    "name": "pool",
                    "pool_size": [2, 2],
                    "strides": [2, 2],
                    "border_mode": "valid",
                    "dim_ordering": "th",
                    "batch_input_shape": [None, 3, 4, 6],
                },
            },
            {"class_name": "Flatten", "config": {"name": "flat"}},
        ],
    }
    image = np.random.default_rng(0).normal(size=(2, 3, 4, 6))
    pooled = image.reshape(2, 3, 2, 2, 3, 2).max((3, 5))
    assert np.array_equal(rebuilt(model).predict(image), pooled.reshape(2, -1))


def rebuilt(config):
    from kerastorch.convert.config import model_from_config

    return model_from_config(config)


def dense(name, units, **config):
    config = {"name": name, "output_dim": units, "init": "normal", "activation": "linear", **config}
    return {"class_name": "Dense", "config": config}


def test_a_sequential_that_merges_branches():
    branches = [
        {"class_name": "Sequential", "config": [dense("left", 3, batch_input_shape=[None, 4])]},
        {"class_name": "Sequential", "config": [dense("right", 2, batch_input_shape=[None, 5])]},
    ]
    merge = {"name": "merge_1", "mode": "concat", "concat_axis": -1, "layers": branches}
    model = rebuilt(
        {
            "class_name": "Sequential",
            "config": [{"class_name": "Merge", "config": merge}, dense("end", 1)],
        }
    )
    left, right = layers.Input((4,)), layers.Input((5,))
    joined = layers.Concatenate()([layers.Dense(3)(left), layers.Dense(2)(right)])
    twin = kerastorch.Model([left, right], layers.Dense(1)(joined))
    assert model.output_shape == (None, 1)
    assert [layer.name for layer in model.layers if layer.name in ("left", "right", "end")] == [
        "left",
        "right",
        "end",
    ]
    twin.load_state_dict(dict(zip(twin.state_dict(), model.state_dict().values(), strict=True)))
    arrays = parity.random_arrays(model.inputs, batch=2)
    assert np.array_equal(model.predict(arrays), twin.predict(arrays))


def test_what_has_no_counterpart_is_listed():
    stack = [
        dense("first", 3, batch_input_shape=[None, 4]),
        {"class_name": "MaxoutDense", "config": {"name": "maxout", "output_dim": 2}},
        {"class_name": "BatchNormalization", "config": {"name": "norm", "mode": 1, "axis": -1}},
    ]
    with pytest.raises(UnsupportedLayersError) as caught:
        rebuilt({"class_name": "Sequential", "config": stack})
    assert "MaxoutDense" in str(caught.value)
    assert "BatchNormalization(mode=1)" in str(caught.value)


def assert_outputs(model, inputs, expected):
    outputs = model.predict(inputs if len(inputs) > 1 else inputs[0])
    assert parity.relative_error([outputs], expected) <= parity.TOLERANCE


def test_arguments_of_users_layers_stay():
    """Keras 1's names of arguments mean something else in other layers."""

    @kerastorch.register_layer("BlurOfTheTest")
    class BlurOfTheTest(kerastorch.Layer):
        def __init__(self, sigma, p=1, name=None):
            super().__init__(name=name)
            self.sigma, self.p = sigma, p

        def compute_output_shape(self, shape):
            return shape

        def forward(self, x):
            return x * self.sigma

    stack = [
        {"class_name": "InputLayer", "config": {"name": "vector", "batch_shape": [None, 4]}},
        {"class_name": "BlurOfTheTest", "config": {"name": "blur", "sigma": 3, "p": 2}},
    ]
    blur = rebuilt({"class_name": "Sequential", "config": {"layers": stack}}).layers[0]
    assert (blur.sigma, blur.p) == (3, 2)


@pytest.mark.parametrize("branch", ["Model", "Sequential"])
def test_merges_that_mean_something_else(branch):
    branches = [
        {"class_name": branch, "config": [dense("left", 3, batch_input_shape=[None, 4])]},
        {"class_name": branch, "config": [dense("right", 3, batch_input_shape=[None, 4])]},
    ]
    if branch == "Model":
        branches = [{"class_name": "Model", "config": {"layers": []}}] * 2
    merge = {"name": "merge_1", "mode": "cos", "dot_axes": 1, "layers": branches}
    with pytest.raises(UnsupportedLayersError, match="Merge"):
        rebuilt({"class_name": "Sequential", "config": [{"class_name": "Merge", "config": merge}]})
