"""Operations: arithmetic on Symbols, and what Keras's files hold of `keras.ops`."""

import copy
import itertools
import json
import pickle
import re
import time

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch import Input, Model, ops
from kerastorch.config import data_format_scope
from kerastorch.convert.config import model_config, model_from_config
from kerastorch.convert.errors import UnsupportedLayersError
from kerastorch.layers import Conv2D, Dense, InputLayer, ReLU
from tests import parity
from tests.oracle.client import Oracle

pytestmark = pytest.mark.usefixtures("beside_oracle")

CASES = ["arithmetic", "comparisons", "functions", "reductions", "shapings"]


@pytest.mark.parametrize("file", ["twin.keras", "twin.h5"])
@pytest.mark.parametrize("case", CASES)
def test_operations_in_files(oracle, tmp_path, case, file):
    model = parity.make_twins(oracle, case, {}, tmp_path / file, parity.by_load_model)
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=3))


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg16", "densenet"])
def test_preprocessing_in_front(oracle, tmp_path, name):
    """`preprocess_input` in a model: the three kinds of it."""
    case = ("preprocessed", {"name": name})
    model = parity.make_twins(oracle, *case, tmp_path / "twin.keras", parity.by_load_model)
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=2))


def test_resizing_between_pixels(oracle, tmp_path):
    """To the precision of float32, in which TensorFlow does it."""
    case = ("resized_between_pixels", {})
    model = parity.make_twins(oracle, *case, tmp_path / "twin.keras", parity.by_load_model)
    images = parity.random_arrays(model.inputs, batch=3)
    ((_, _, (expected,)),) = oracle.stream("outputs", inputs=images)
    ours, theirs = model([parity.from_keras(x) for x in images]), parity.from_keras(expected)
    parity.assert_close(ours, theirs.to(ours.dtype), "resized image", 1e-6)


def test_arithmetic_on_symbols(oracle, tmp_path):
    """The same source makes the same model, names and order included."""
    path = tmp_path / "twin.weights.h5"
    model = parity.make_twins(oracle, "arithmetic", {}, path)
    inputs = parity.random_arrays(model.inputs, batch=2)
    names = [layer.name for layer in parity.calculating_layers(model)]
    parity.assert_layers_agree(model, oracle, inputs)
    assert len(set(names)) == len(names) > 40


@pytest.mark.parametrize("case", CASES)
def test_keras_opens_our_configs_of_operations(oracle, tmp_path, case):
    """Ours is what Keras wrote, but for what it is told again; and Keras computes the same."""
    description = oracle.ask("build", builder=case, arguments={})
    oracle.ask("save", path=str(tmp_path / "twin.keras"))
    model = kerastorch.load_model(tmp_path / "twin.keras")
    config = json.loads(json.dumps(model_config(model)))
    inputs = parity.random_arrays(model.inputs, batch=2)
    assert oracle.ask("rebuild", config=config) == description
    parity.assert_layers_agree(model, oracle, inputs)


@pytest.mark.parametrize("case", CASES)
def test_operations_come_back(oracle, tmp_path, case):
    """Through our own files, with their constants."""
    oracle.ask("build", builder=case, arguments={})
    oracle.ask("save", path=str(tmp_path / "twin.keras"))
    model = kerastorch.load_model(tmp_path / "twin.keras")
    model.save_weights(tmp_path / "ours.safetensors")
    again = kerastorch.load_model(tmp_path / "ours.safetensors")
    inputs = [parity.from_keras(x) for x in parity.random_arrays(model.inputs, batch=2)]
    for ours, theirs in zip(again(inputs), model(inputs), strict=True):
        assert torch.equal(ours, theirs)
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())


# Files of Keras 2


@pytest.mark.parametrize(
    ("builder", "tolerance"),
    [("tensorflow_functions", parity.TOLERANCE), ("tensorflow_functions_in_float32", 1e-6)],
)
def test_functions_of_keras_2(tmp_path, builder, tolerance):
    """Its layers of TensorFlow's functions become the operations that mean the same."""
    with Oracle("keras2_side") as keras2:
        names = [name for name, _ in keras2.ask("build", builder=builder, arguments={})["layers"]]
        keras2.ask("save", path=str(tmp_path / "twin.h5"))
        model = kerastorch.load_model(tmp_path / "twin.h5")
        assert [operation.name for operation in model.operations] == names
        inputs = parity.random_arrays(model.inputs, batch=2)
        expected = keras2.ask("predict", inputs=inputs)
    outputs = model.predict(inputs)
    for symbol, ours, theirs in zip(model.outputs, outputs, expected, strict=True):
        assert ours.shape == theirs.shape, symbol
        assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max(), symbol


def plain_config(**layer):
    """A model of one layer on an input `x`, as a file of Keras 2 holds it."""
    source = {"class_name": "InputLayer", "name": "x", "inbound_nodes": []}
    source["config"] = {"batch_input_shape": [None, 4], "name": "x"}
    place = ["x", 0, 0, layer.pop("others", {})]
    layer = {"name": layer["config"]["name"], "inbound_nodes": [[place]], **layer}
    graph = {"layers": [source, layer], "input_layers": [["x", 0, 0]]}
    graph["output_layers"] = [[layer["name"], 0, 0]]
    return {"class_name": "Functional", "config": {"name": "model", **graph}}


def function_config(function, **others):
    config = {"name": "f", "function": function}
    return plain_config(class_name="TFOpLambda", config=config, others=others)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (function_config("linalg.inv"), "tf.linalg.inv"),
        (function_config("os.system", command="true"), "tf.os.system"),
        (function_config("math.reduce_sum", axis=["x", 0, 0]), "tf.math.reduce_sum"),
        (function_config("linalg.matmul", b=["x", 0, 0], transpose_b=True), "tf.linalg.matmul"),
        (function_config("nn.bias_add", bias=[1.0], data_format="NCHW"), "tf.nn.bias_add"),
        (
            plain_config(
                class_name="TensorFlowOpLayer",
                config={"name": "mul", "node_def": {"op": "Mul"}, "constants": {}},
            ),
            "TensorFlowOpLayer Mul",
        ),
    ],
)
def test_other_functions_are_named(config, named):
    with pytest.raises(UnsupportedLayersError, match=re.escape(named)) as caught:
        model_from_config(config)
    assert "register_layer" not in str(caught.value)


# Graphs of files


def tensor(name, number=0):
    config = {"keras_history": [name, number, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def activation(name, *calls):
    return {
        "module": "keras.layers",
        "class_name": "Activation",
        "config": {"name": name, "activation": "relu"},
        "name": name,
        "inbound_nodes": [{"args": [source], "kwargs": {}} for source in calls],
    }


def graph(layers, output, number=0):
    source = {"module": "keras.layers", "class_name": "InputLayer", "name": "x"}
    source |= {"config": {"name": "x", "batch_shape": [None, 4]}, "inbound_nodes": []}
    places = {"input_layers": [["x", 0, 0]], "output_layers": [[output, number, 0]]}
    return {
        "class_name": "Functional",
        "config": {"name": "model", "layers": [*layers, source], **places},
    }


def test_large_graphs_in_any_order():
    """Ten thousand layers from the last to the first, two that call each other, and one sum."""
    count = 10_000
    names = ["x", *(f"layer_{number}" for number in range(count))]
    chain = [activation(name, tensor(before)) for before, name in itertools.pairwise(names)]
    first = [tensor("x"), *(tensor("second", number) for number in range(count // 2))]
    second = [tensor("first", number) for number in range(count // 2)]
    wide = [activation(name, tensor("x")) for name in names[1:]]
    total = {**activation("total"), "class_name": "Add", "config": {"name": "total"}}
    total["config"]["trainable"] = True
    total["inbound_nodes"] = [{"args": [[tensor(name) for name in names[1:]]], "kwargs": {}}]
    start = time.monotonic()
    for config in [
        graph(chain[::-1], names[-1]),
        graph([activation("first", *first), activation("second", *second)], "first", count // 2),
        graph([total, *wide], "total"),
    ]:
        model = model_from_config(config)
        assert len(model._plan.steps) in (count, count + 1)
    assert time.monotonic() - start < 30  # 4 s where nothing else runs


@pytest.mark.parametrize(
    "layers",
    [
        [activation("a", tensor("b")), activation("b", tensor("a"))],
        [activation("a", tensor("a"))],
        [activation("a", tensor("a", 1), tensor("x"))],
        [activation("a", tensor("nowhere"))],
        [activation("a", tensor("x", 1))],
        [activation("a", tensor("x", -1))],
        [activation("a", tensor("x")), activation("a", tensor("x"))],
    ],
    ids=["loop", "itself", "a later call", "nowhere", "no call", "negative", "twice"],
)
def test_broken_graphs_are_refused(layers):
    with pytest.raises(ValueError, match="graph has"):
        model_from_config(graph(layers, "a"))


@pytest.mark.parametrize(
    "arguments",
    [
        [tensor("x"), {"class_name": "__lambda__", "config": {"value": "code"}}],
        [tensor("x"), {"class_name": "__numpy__", "config": {"value": [1], "dtype": "object"}}],
        [tensor("x"), "text"],
        [tensor("x"), [1.0, [2.0]]],
        [tensor("x"), tensor("x"), tensor("x")],
        [tensor("x")],
    ],
)
def test_broken_operands_are_refused(arguments):
    layer = {**activation("a"), "module": "keras.src.ops.numpy", "class_name": "Add"}
    layer["config"] = {"name": "a"}
    layer["inbound_nodes"] = [{"args": arguments, "kwargs": {}}]
    with pytest.raises(ValueError, match=r".+"):
        model_from_config(graph([layer], "a"))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("Split", {"indices_or_sections": 10**12, "axis": 0}),
        ("Unstack", {"num": 10**12, "axis": 0}),
        ("Tile", {"repeats": "x"}),
        ("Transpose", {"axes": [0, 0]}),
        ("Reshape", {"newshape": [-1, -1]}),
        ("Squeeze", {"axis": 1}),
        ("Mean", {"axis": 2}),
        ("Cast", {"dtype": "load"}),
        ("Clip", {"x_min": [0], "x_max": None}),
        ("Norm", {"ord": "nuc", "axis": [0, 1]}),
        ("Einsum", {"subscripts": "..."}),
        ("Resize", {"size": [3, 3], "interpolation": "cubic"}),
        ("Resize", {"size": [3, 3]}),
    ],
)
def test_broken_settings_are_refused(name, config):
    layer = {**activation("a", tensor("x")), "module": "keras.src.ops.numpy", "class_name": name}
    layer["config"] = {"name": "a", **config}
    with pytest.raises(ValueError, match=r".+"):
        model_from_config(graph([layer], "a"))


@pytest.mark.parametrize(
    "key", [[], "x", [0, 0, 0], [{"class_name": "__ellipsis__"}] * 2, [0, 9], [1.5]]
)
def test_broken_keys_are_refused(key):
    layer = {**activation("a"), "module": "keras.src.ops.numpy", "class_name": "GetItem"}
    layer["config"] = {"name": "a"}
    layer["inbound_nodes"] = [{"args": [tensor("x"), key], "kwargs": {}}]
    if key == []:  # NumPy's x[()]
        assert model_from_config(graph([layer], "a")).output_shape == (None, 4)
        return
    with pytest.raises(ValueError, match=r".+"):
        model_from_config(graph([layer], "a"))


# As PyTorch modules


def arithmetic_model():
    image, vector = Input((4, 5, 3)), Input((3,))
    colour = np.array([0.1, -0.2, 0.7])
    x = (image / 127.5 - colour)[..., ::-1] * vector[:, None, None, :]
    y = ops.Mean(axis=(1, 2))(abs(x) ** 2)
    return Model([image, vector], [x, y, *ops.Split(3, axis=-1)(x[:, 1:])])


def test_operations_in_compilers_and_copies():
    model = arithmetic_model()
    inputs = [torch.randn(2, 3, 4, 5), torch.randn(2, 3)]
    expected = model(inputs)
    torch.compiler.reset()
    batches = [{0: torch.export.Dim("batch")}] * 2
    exported = torch.export.export(model, (inputs,), dynamic_shapes=(batches,)).module()
    others = [
        torch.compile(model, fullgraph=True, backend="eager"),
        exported,
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]
    for other in others:
        torch.testing.assert_close(other(inputs), expected, rtol=0, atol=0)
    inputs = [torch.randn(5, 3, 4, 5), torch.randn(5, 3)]
    torch.testing.assert_close(exported(inputs), model(inputs), rtol=0, atol=0)
    half = model.half()([x.half() for x in inputs])
    assert {x.dtype for x in half} == {torch.float16}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_axes_are_those_of_keras(data_format):
    """Held against NumPy on arrays in Keras's layout."""
    x, y = np.random.default_rng(0).normal(size=(2, 2, 3, 4, 5))
    row = np.arange(5.0)
    with data_format_scope(data_format):
        a, b = Input(x.shape[1:]), Input(y.shape[1:])
        vector = ops.Mean(axis=(1, 2))(a)
        model = Model(
            [a, b],
            [
                a * row + b[:, :1],
                a[:, 1:, ::-2, None],
                ops.Concatenate(axis=1)([a, b]),
                ops.Stack(axis=-1)([a, b]),
                ops.Transpose((0, 3, 1, 2))(a),
                ops.Max(axis=2, keepdims=True)(a),
                a - vector[:, None, None],
                ops.Softmax(axis=1)(a),
            ],
        )
        results = model.predict([x, y])
    exponentials = np.exp(x)
    expected = [
        x * row + y[:, :1],
        x[:, 1:, ::-2, None],
        np.concatenate([x, y], 1),
        np.stack([x, y], -1),
        x.transpose(0, 3, 1, 2),
        x.max(2, keepdims=True),
        x - x.mean((1, 2))[:, None, None],
        exponentials / exponentials.sum(1, keepdims=True),
    ]
    # A model without parameters computes in float32.
    for symbol, ours, theirs in zip(model.outputs, results, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=str(symbol))
        assert symbol.shape == (None, *theirs.shape[1:])


@pytest.mark.parametrize(
    "passed_on",
    [
        ops.Einsum("bij->bji"),
        ops.Pad(0, mode="reflect"),
        ops.Pad(0, mode="symmetric"),
        ops.Pad(0),
        ops.Transpose((0, 2, 1)),
    ],
    ids=str,
)
def test_what_an_operation_passes_on_is_not_overwritten(passed_on):
    """Where it gives what it has got, in another form."""
    matrix = Input((4, 4))
    model = Model(matrix, ReLU()(passed_on(matrix))).eval()
    x = torch.randn(2, 4, 4)
    given = x.clone()
    with torch.inference_mode():
        model(x)
    assert torch.equal(x, given)


def test_operations_are_no_layers():
    """As in Keras: not in `layers` nor in its indices, but in `operations` and the summary."""
    image = Input((3,))
    model = Model(image, Dense(2)(image / 255))
    assert [layer.name for layer in model.layers] == ["input_layer", "dense"]
    names = ["input_layer", "true_divide", "dense"]
    assert [operation.name for operation in model.operations] == names
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert "true_divide (TrueDivide)" in lines[0]


def test_errors_of_symbols():
    x, y = Input((3,)), Input((4,))
    with pytest.raises(ValueError, match="cannot be combined"):
        x + y
    with pytest.raises(ValueError, match="numbers and arrays"):
        x + "1"
    with pytest.raises(ValueError, match="takes item 3 of 3"):
        x[:, 3]
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(x > 1)
    with pytest.raises(TypeError, match="counted"):
        list(x)
    add = ops.Add()
    more = add(x, 1)
    with pytest.raises(ValueError, match="other constants"):
        add(x, 2)
    assert more.node.module is add
    assert (np.ones(3) * x).node.name == "multiply"


def test_an_operation_takes_other_constants_when_nobody_has_the_first_result():
    x, subtract = Input((3,)), ops.Subtract()
    subtract(x, np.ones(3))
    model = Model(x, subtract(5, x))
    assert torch.equal(model(torch.tensor([[1.0, 2.0, 3.0]])), torch.tensor([[4.0, 3.0, 2.0]]))
    assert not list(model.buffers())


def test_a_dtype_in_a_config_is_kerass_own():
    """A name or a policy: neither is an argument here."""
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}
    for dtype in ("float32", policy):
        layer = Conv2D.from_config({"filters": 3, "kernel_size": 2, "dtype": dtype})
        assert layer.filters == 3
    assert InputLayer.from_config({"shape": (3,), "dtype": "uint8"}).dtype == "uint8"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_constants_take_the_type_of_what_they_meet(dtype):
    """And its device: on another than the CPU only numbers may be mixed in."""
    x = Input((4,))
    model = Model(x, [x % 2.5, ops.Where()(x > 0.5, x, 0.0)]).to(dtype)
    with torch.device("meta"):
        values = torch.empty(2, 4, dtype=dtype)
    assert [(y.dtype, y.device.type) for y in model(values)] == [(dtype, "meta")] * 2
