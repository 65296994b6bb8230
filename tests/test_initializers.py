"""Initialisers: distributions, fans from Keras's shapes, layouts, names and configs."""

import math

import pytest
import torch

from kerastorch import initializers

# Keras's shape, torch's shape, fan in, fan out.
DENSE = ((300, 200), (200, 300), 300, 200)
CONV = ((3, 3, 64, 96), (96, 64, 3, 3), 9 * 64, 9 * 96)
# A depthwise kernel is (height, width, in, multiplier): Keras counts all channels as its inputs.
DEPTHWISE = ((5, 5, 512, 4), (2048, 1, 5, 5), 25 * 512, 25 * 4)
VECTOR = ((40_000,), (40_000,), 40_000, 40_000)

SCALED = {
    "glorot_uniform": (1.0, "fan_avg", "uniform"),
    "glorot_normal": (1.0, "fan_avg", "truncated_normal"),
    "he_uniform": (2.0, "fan_in", "uniform"),
    "he_normal": (2.0, "fan_in", "truncated_normal"),
    "lecun_uniform": (1.0, "fan_in", "uniform"),
    "lecun_normal": (1.0, "fan_in", "truncated_normal"),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def filled(initializer, keras_shape, shape=None, dtype=torch.float64, to_torch=None):
    tensor = torch.full(shape or keras_shape, math.nan, dtype=dtype)
    assert initializers.fill_(tensor, initializer, keras_shape, to_torch) is tensor
    return tensor


def assert_moments(values, mean, stddev):
    """Mean and standard deviation within five standard errors."""
    count = values.numel()
    assert abs(values.mean() - mean) < 5 * stddev / math.sqrt(count)
    assert abs(values.std() - stddev) < 5 * stddev / math.sqrt(2 * count)


@pytest.mark.parametrize("kernel", [DENSE, CONV, DEPTHWISE, VECTOR])
@pytest.mark.parametrize("name", SCALED)
def test_scaled_by_the_fans_of_keras_shape(name, kernel):
    keras_shape, shape, fan_in, fan_out = kernel
    scale, mode, distribution = SCALED[name]
    variance = scale / (fan_in if mode == "fan_in" else (fan_in + fan_out) / 2)
    values = filled(name, keras_shape, shape)
    assert_moments(values, 0.0, math.sqrt(variance))
    if distribution == "uniform":
        bound = math.sqrt(3 * variance)
    else:
        bound = 2 * math.sqrt(variance) / 0.87962566103423978
    assert 0.99 * bound < values.abs().max() <= bound


@pytest.mark.parametrize(
    ("shape", "fans"),
    [
        ((), (1, 1)),
        ((7,), (7, 7)),
        ((3, 5), (3, 5)),
        ((2, 3, 4, 5), (24, 30)),
        ((9, 2, 3), (18, 27)),
    ],
)
def test_fans(shape, fans):
    assert initializers.compute_fans(shape) == fans


def test_fans_of_named_axes():
    assert initializers.compute_fans((2, 3, 5, 7), (0, 1), (2, 3)) == (6, 35)
    values = filled(initializers.HeNormal(input_axes=[0, 1], output_axes=[2]), (10, 20, 300))
    assert_moments(values, 0.0, math.sqrt(2 / 200))


@pytest.mark.parametrize(
    ("initializer", "mean", "stddev"),
    [
        (initializers.RandomNormal(0.3, 0.2), 0.3, 0.2),
        (initializers.TruncatedNormal(0.3, 0.2), 0.3, 0.2 * 0.87962566103423978),
        (initializers.RandomUniform(-1.0, 3.0), 1.0, 4 / math.sqrt(12)),
        (
            initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal"),
            0.0,
            math.sqrt(3 / 200),
        ),
        ("random_normal", 0.0, 0.05),
        ("random_uniform", 0.0, 0.1 / math.sqrt(12)),
        ("truncated_normal", 0.0, 0.05 * 0.87962566103423978),
    ],
)
def test_moments(initializer, mean, stddev):
    assert_moments(filled(initializer, (300, 200), (200, 300)), mean, stddev)


def test_truncated_normal_ends_at_two_standard_deviations():
    values = filled(initializers.TruncatedNormal(1.0, 0.5), (300, 200))
    assert 0 <= values.min() < 0.01
    assert 1.99 < values.max() <= 2


def test_constants():
    assert (filled("zeros", (2, 3)) == 0).all()
    assert (filled("Ones", (2, 3)) == 1).all()
    assert (filled(initializers.Constant(2.5), (2, 3)) == 2.5).all()


def test_array_constant_goes_through_the_layout():
    array = torch.arange(6.0).reshape(2, 3)
    constant = initializers.Constant(array)
    config = initializers.serialize(constant)
    for initializer in (constant, config):
        values = filled(initializer, (2, 3), (3, 2), to_torch=torch.Tensor.t)
        assert torch.equal(values, array.double().T)
    assert config["config"]["value"] == {
        "class_name": "__numpy__",
        "config": {"value": array.tolist(), "dtype": "float32"},
    }


def test_identity():
    values = filled(initializers.Identity(gain=2.0), (2, 3), (3, 2), to_torch=torch.Tensor.t)
    assert torch.equal(values, 2 * torch.eye(3, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="matrices"):
        filled("identity", (2, 3, 4))


@pytest.mark.parametrize("keras_shape", [(3, 3, 4, 8), (1, 2, 3, 20)])
def test_orthogonal_in_keras_layout(keras_shape):
    *_, inputs, outputs = keras_shape
    shape = (outputs, inputs, *keras_shape[:2])
    values = filled(
        initializers.Orthogonal(gain=3.0),
        keras_shape,
        shape,
        to_torch=lambda v: v.permute(3, 2, 0, 1),
    )
    matrix = values.permute(2, 3, 1, 0).reshape(-1, outputs) / 3
    gram = matrix.T @ matrix if matrix.shape[0] >= outputs else matrix @ matrix.T
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64))


@pytest.mark.parametrize("name", ["glorot_uniform", "he_normal", "orthogonal", "random_normal"])
def test_seeds(name):
    torch.manual_seed(1)
    first = filled(name, (30, 20))
    assert not torch.equal(first, filled(name, (30, 20)))
    torch.manual_seed(1)
    assert torch.equal(first, filled(name, (30, 20)))
    seeded = {"class_name": name, "config": {"seed": 5}}
    state = torch.get_rng_state()
    assert torch.equal(filled(seeded, (30, 20)), filled(seeded, (30, 20)))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", ["glorot_normal", "orthogonal", "ones"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name, dtype):
    values = filled(name, (30, 20), dtype=dtype)
    assert values.dtype == dtype
    assert values.isfinite().all()


def test_functions_of_the_shape():
    draw = lambda shape: torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)  # noqa: E731
    values = filled(draw, (2, 3), (3, 2), to_torch=torch.Tensor.t)
    assert torch.equal(values, draw((2, 3)).T)
    with pytest.raises(ValueError, match=r"\(1, 1\).*\(2, 3\)"):
        filled(lambda shape: torch.zeros(1, 1), (2, 3))


def test_parameters_meta_tensors_and_no_initializer():
    parameter = torch.nn.Parameter(torch.zeros(20, 30))
    initializers.fill_(parameter, None, (30, 20))
    assert parameter.is_leaf
    assert parameter.grad_fn is None
    assert parameter.abs().max() > 0
    state = torch.get_rng_state()
    initializers.fill_(torch.empty(20, 30, device="meta"), "he_normal", (30, 20))
    assert torch.equal(state, torch.get_rng_state())


SCALED_CONFIG = {"seed": None, "input_axes": None, "output_axes": None}
# As Keras 3.15.1 writes them.
CONFIGS = {
    "Zeros": {},
    "Ones": {},
    "Constant": {"value": 0.0},
    "Identity": {},
    "RandomNormal": {"seed": None, "mean": 0.0, "stddev": 0.05},
    "RandomUniform": {"seed": None, "minval": -0.05, "maxval": 0.05},
    "TruncatedNormal": {"seed": None, "mean": 0.0, "stddev": 0.05},
    "VarianceScaling": {
        "scale": 1.0,
        "mode": "fan_in",
        "distribution": "truncated_normal",
        **SCALED_CONFIG,
    },
    "Orthogonal": {"seed": None, "gain": 1.0},
    "GlorotUniform": SCALED_CONFIG,
    "GlorotNormal": SCALED_CONFIG,
    "HeUniform": SCALED_CONFIG,
    "HeNormal": SCALED_CONFIG,
    "LecunUniform": SCALED_CONFIG,
    "LecunNormal": SCALED_CONFIG,
}


@pytest.mark.parametrize("class_name", CONFIGS)
def test_configs_round_trip(class_name):
    config = {
        "module": "keras.initializers",
        "class_name": class_name,
        "config": CONFIGS[class_name],
        "registered_name": None,
    }
    assert initializers.serialize(class_name) == config
    assert initializers.serialize(config) == config
    assert initializers.get(config) == initializers.get(class_name)


def test_snake_case_names_and_aliases():
    assert initializers.get("glorot_uniform") == initializers.GlorotUniform()
    assert initializers.get("variance_scaling") == initializers.VarianceScaling()
    assert initializers.get("uniform") == initializers.RandomUniform()
    assert initializers.get(initializers.HeNormal) == initializers.HeNormal()
    assert initializers.get(None) is None
    assert initializers.serialize(None) is None


def test_older_configs_and_seed_generators():
    keras2 = {"class_name": "GlorotUniform", "config": {"seed": 3, "dtype": "float32"}}
    assert initializers.get(keras2) == initializers.GlorotUniform(seed=3)
    generator = {"module": "keras.random", "class_name": "SeedGenerator", "config": {"seed": 4}}
    config = {"class_name": "RandomNormal", "config": {"seed": generator}}
    assert initializers.serialize(config)["config"]["seed"] == generator
    assert_moments(filled(config, (300, 200)), 0.0, 0.05)


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("glorot_unifrom", "glorot_uniform"),
        ({"class_name": "HeNornal", "config": {}}, "HeNormal"),
        ({"class_name": "Ones", "config": {"gain": 1}}, "takes no arguments, not gain"),
        ({"config": {}}, "Not an initializer's Keras config"),
        (3, "a name, a callable or a Keras config"),
        (
            {"class_name": "VarianceScaling", "config": {"mode": "fan"}},
            "fan_in, fan_out or fan_avg",
        ),
        ({"class_name": "VarianceScaling", "config": {"scale": 0}}, "positive"),
        ({"class_name": "VarianceScaling", "config": {"distribution": "x"}}, "uniform"),
    ],
)
def test_errors_say_what_is_allowed(identifier, message):
    with pytest.raises(ValueError, match=message):
        initializers.get(identifier)
