"""Weights of networks that had other names and another epsilon load right into those of today."""

import copy

import pytest

import kerastorch
from tests import parity

pytestmark = pytest.mark.usefixtures("beside_oracle")


@pytest.mark.parametrize("include_top", [True, False])
def test_resnet50_before_keras_2_3(oracle, tmp_path, include_top):
    arguments = {"include_top": include_top}
    oracle.ask("build", builder="resnet50_before_keras_2_3", arguments=arguments)
    oracle.ask("save", path=str(tmp_path / "weights.h5"), weights_only=True)
    oracle.ask("save", path=str(tmp_path / "whole.h5"))
    model = kerastorch.applications.ResNet50(
        weights=None, include_top=include_top, input_shape=(45, 38, 3)
    )
    report = model.load_weights(tmp_path / "weights.h5")
    assert report.matched_by == "name"
    assert report.is_complete
    assert "epsilon is now 0.001" in str(report)
    model.save_weights(tmp_path / "again.safetensors")

    whole = kerastorch.load_model(tmp_path / "whole.h5")
    images = parity.random_arrays(whole.inputs, batch=2)
    *_, (_, _, expected) = oracle.stream("outputs", inputs=images)
    for opened in (
        model,
        copy.deepcopy(model),
        kerastorch.load_model(tmp_path / "again.safetensors"),
        whole,
    ):
        error = parity.relative_error([opened.predict(images)], expected)
        assert error <= parity.TOLERANCE
