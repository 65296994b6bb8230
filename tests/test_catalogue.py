"""The catalogue of published weights is Keras's own."""

import pytest

from kerastorch.applications import get_record
from kerastorch.hub import checkpoints, checkpoints_of
from tests.architectures import side_of
from tests.oracle.client import Oracle


def test_keras_asks_for_the_same_files():
    """File names, addresses and hashes, for every variant of every model."""
    with Oracle("catalogue_side") as keras_3, Oracle("catalogue2_side") as keras_2:
        for checkpoint in checkpoints():
            name, arguments = checkpoint.record.keras_name, checkpoint.arguments
            keras = keras_2 if side_of(name) == "keras2_side" else keras_3
            asked = keras.ask("published", name=name, arguments=arguments)
            weights = checkpoint.weights
            digest = weights.hash and weights.hash.partition(":")[2]
            expected = {"file": weights.file, "address": checkpoint.address, "hash": digest}
            assert asked == expected, checkpoint.title


def test_every_file_has_a_name_and_a_title_of_its_own():
    files = [checkpoint.weights.file for checkpoint in checkpoints()]
    titles = [checkpoint.title for checkpoint in checkpoints()]
    converted = [checkpoint.converted_file for checkpoint in checkpoints()]
    resnet_rs = 1 + 2 + 3 + 1 + 1 + 2 + 1
    assert len(files) == 2 * (16 + 4 * 4 + 6 * 5 + 2 * 3 + 15 + 5 + resnet_rs + 24 + 2)
    for names in (files, titles, converted):
        assert len(set(names)) == len(files)
    assert titles[-2:] == ["xception", "xception, without classifier"]


def test_a_checkpoint_is_built_as_it_was_trained():
    (checkpoint,) = checkpoints_of("mobilenet_5_0_160_tf_no_top.h5")
    model = checkpoint.build()
    assert model.name == "mobilenet_0.50_160"
    assert model.input_shape == (None, 160, 160, 3)
    assert model.output_shape == (None, 5, 5, 512)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_kinds_are_told_apart():
    wanted = {"include_top": False, "alpha": 1.0}
    plain = get_record("mobilenet_v3_large").published_weights(**wanted)
    minimalistic = get_record("mobilenet_v3_large").published_weights(**wanted, minimalistic=True)
    assert plain.file == "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5"
    (checkpoint,) = checkpoints_of(minimalistic.file)
    assert checkpoint.title == "mobilenet_v3_large, minimalistic, alpha 1.0, without classifier"
    assert checkpoint.build().count_params() == 1_437_608
    with pytest.raises(ValueError, match="minimalistic MobileNetV3Large has no published weights"):
        get_record("mobilenet_v3_large").published_weights(True, alpha=0.75, minimalistic=True)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="MobileNet has no published weights for alpha=0.3"):
        get_record("mobilenet").published_weights(include_top=True, alpha=0.3, size=224)
    with pytest.raises(ValueError, match="did you mean xception"):
        checkpoints_of("xcepton")
