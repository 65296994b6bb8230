"""Freezing and thawing by name, pattern and index, in a model and in those within it."""

import copy
import pickle

import pytest
import torch

import kerastorch
from kerastorch import freeze, layers, unfreeze
from kerastorch.engine.blocks import blocks
from kerastorch.fine_tuning import parameter_groups


@pytest.fixture(scope="module")
def inception():
    return kerastorch.create_model("inception_v3", include_top=False, input_shape=(75, 75, 3))


@pytest.fixture
def model(inception):
    return copy.deepcopy(inception)


def frozen(model):
    return [layer.name for layer in model.layers if not layer.trainable]


@pytest.fixture
def nested():
    """A small base with batch normalisation, and a head on it."""
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(image)
    x = layers.BatchNormalization(name="bn")(x)
    base = kerastorch.Model(image, layers.Conv2D(4, 3, name="last")(x), name="base")
    outer = layers.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D(name="pool")(base(layers.Rescaling(2.0)(outer)))
    return kerastorch.Model(outer, layers.Dense(2, name="head")(x), name="nested")


def test_layers_by_name_and_index(model):
    names = [layer.name for layer in model.layers]
    assert names[248] == "mixed8"  # Keras's recipe freezes the first 249
    assert freeze(model, until="mixed8") == names[:249]
    assert frozen(model) == names[:249]
    assert unfreeze(model, since=200) == names[200:]
    assert frozen(model) == names[:200]
    unfreeze(model)
    assert frozen(model) == []
    assert freeze(model, until=249) == names[:249]
    assert unfreeze(model, since="mixed8") == names[248:]


@pytest.mark.parametrize(("until", "count"), [(0, 0), (1, 1), (-300, 11), (1000, 311)])
def test_until_counts_as_slices_do(model, until, count):
    names = [layer.name for layer in model.layers]
    assert freeze(model, until=until) == names[:until] == names[:count]


def test_since_may_be_the_end(model):
    assert unfreeze(model, since=311) == []
    assert unfreeze(model, since=-1) == ["mixed10"]


def test_patterns_and_names_together(model):
    chosen = freeze(model, "mixed?", "batch_normalization_1*", -1)
    assert chosen == frozen(model)
    assert {name for name in chosen if name.startswith("mixed")} == {
        *(f"mixed{i}" for i in range(10)),
        "mixed10",
    }
    assert "batch_normalization_1" in chosen
    assert "batch_normalization_2" not in chosen


def test_layers_of_models_within(nested):
    assert freeze(nested, "base") == ["base/input_layer", "base/conv", "base/bn", "base/last"]
    assert unfreeze(nested, since="base/last") == ["base/last", "pool", "head"]
    assert freeze(nested, until="bn")[-3:] == ["base/input_layer", "base/conv", "base/bn"]
    assert freeze(nested, "*/conv") == ["base/conv"]
    assert freeze(nested, 2)[0] == "base/input_layer"
    nested.trainable = False
    unfreeze(nested, "last")
    trained = [name for name, p in nested.named_parameters() if p.requires_grad]
    assert trained == ["base.last.weight", "base.last.bias"]
    assert nested.trainable
    assert nested.get_layer("base").trainable
    assert not nested.get_layer("head").trainable


def test_indices_count_the_outer_models_layers_whatever_the_inner_ones_are_called():
    image = layers.Input((8, 8, 3), name="image")
    base = kerastorch.Model(
        image,
        layers.Conv2D(3, 1, name="head")(layers.Conv2D(3, 1, name="conv")(image)),
        name="base",
    )
    x = layers.Conv2D(3, 1, name="conv")(layers.Rescaling(2.0, name="scale")(image))
    model = kerastorch.Model(image, layers.Conv2D(2, 1, name="head")(base(x)))
    assert [layer.name for layer in model.layers] == ["image", "scale", "conv", "base", "head"]
    assert freeze(model, until=1) == ["image"]
    assert freeze(model, until=3) == freeze(model, until=-2) == ["image", "scale", "conv"]
    assert freeze(model, -1) == unfreeze(model, since=4) == ["head"]
    assert freeze(model, 3) == ["base/image", "base/conv", "base/head"]
    assert freeze(model, "head") == ["base/head", "head"]


def test_what_is_frozen_stays_to_the_bit(nested):
    freeze(nested, until="bn")
    before = copy.deepcopy(nested.state_dict())
    optimizer = torch.optim.Adam([p for p in nested.parameters() if p.requires_grad])
    for model in (nested.train(), nested.eval().train()):
        model(torch.rand(4, 3, 8, 8)).square().sum().backward()
        optimizer.step()
    changed = {key for key, tensor in nested.state_dict().items() if not tensor.equal(before[key])}
    assert changed == {"base.last.weight", "base.last.bias", "head.weight", "head.bias"}


def test_modules_of_torch_are_frozen_too(nested):
    nested.head = torch.nn.Linear(4, 3)
    assert freeze(nested, "head") == ["head"]
    assert not any(p.requires_grad for p in nested.head.parameters())
    unfreeze(nested, since="head")
    assert all(p.requires_grad for p in nested.head.parameters())


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_frozen_batch_normalisation_of_torch_keeps_its_statistics(nested, again):
    base, x = nested.get_layer("base"), torch.rand(4, 3, 8, 8)
    base.bn = torch.nn.Sequential(torch.nn.BatchNorm2d(4), layers.BatchNormalization())
    nested(x)
    freeze(nested, "bn")
    before = copy.deepcopy(base.bn.state_dict())
    for model in (nested, nested.eval().train(), again(nested).train()):
        assert model.training
        model(x)
        within = model.get_layer("base").bn
        assert all(x.equal(before[key]) for key, x in within.state_dict().items())
    unfreeze(nested, "bn")
    nested(x)
    moved = {key for key, x in base.bn.state_dict().items() if not x.equal(before[key])}
    names = ("running_mean", "running_var", "num_batches_tracked")
    assert moved == {f"{number}.{name}" for number in (0, 1) for name in names}
    freeze(nested.eval())
    unfreeze(nested)
    assert not base.bn[0].training


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lightnings_switching_of_modes_leaves_them_frozen(nested, tmp_path):
    import lightning
    from torch.utils.data import DataLoader, TensorDataset

    from kerastorch.lightning import Classifier

    norm = nested.get_layer("base").bn = torch.nn.BatchNorm2d(4)
    images = DataLoader(TensorDataset(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 1, 0])), 2)
    options = {"max_epochs": 2, "accelerator": "cpu", "default_root_dir": tmp_path}
    silent = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    for change, steps in ((freeze, 0), (unfreeze, 4)):
        change(nested, "bn")
        trainer = lightning.Trainer(**options, **dict.fromkeys(silent, False))
        trainer.fit(Classifier(nested), images, images)
        assert norm.num_batches_tracked == steps


def test_unknown_layers_are_refused(nested):
    with pytest.raises(ValueError, match="nested has no layer 'haed'. Did you mean 'head'"):
        freeze(nested, "haed")
    with pytest.raises(ValueError, match="no layer 'block_\\*'"):
        unfreeze(nested, since="block_*")
    with pytest.raises(ValueError, match="there is no index 9"):
        freeze(nested, 9)


# Blocks


def ends(name):
    """The last layer of each block of an application without its top."""
    with torch.device("meta"):
        model = kerastorch.create_model(name, include_top=False)
    found = blocks(model)
    assert sorted(sum(found, [])) == sorted(layer.name for layer in model.layers[1:])
    return [names[-1] for names in found]


def test_blocks_are_those_of_the_papers():
    assert ends("vgg16")[:-1] == [
        "block1_conv2",
        "block2_conv2",
        "block3_conv3",
        "block4_conv3",
    ]
    assert ends("resnet50") == [
        "pool1_pool",
        *(f"conv2_block{i}_out" for i in (1, 2, 3)),
        *(f"conv3_block{i}_out" for i in (1, 2, 3, 4)),
        *(f"conv4_block{i}_out" for i in (1, 2, 3, 4, 5, 6)),
        *(f"conv5_block{i}_out" for i in (1, 2, 3)),
    ]
    assert ends("xception")[-3:] == ["add_10", "add_11", "block14_sepconv2_act"]
    assert ends("inception_v3")[-11:] == [f"mixed{i}" for i in range(11)]
    assert ends("mobilenet_v2")[-3:] == ["block_14_add", "block_15_add", "out_relu"]


def test_outputs_on_the_way_do_not_join_blocks():
    with torch.device("meta"):
        base = kerastorch.create_model("resnet50", include_top=False)
    features = base.feature_maps("conv2_block3_out", "conv4_block6_out", "conv5_block3_out")
    assert blocks(features.body) == blocks(base)


def test_blocks_are_of_models_of_one_image():
    vector = layers.Input((4,))
    with pytest.raises(ValueError, match="one image as input"):
        blocks(kerastorch.Model(vector, layers.Dense(2)(vector)))


def test_groups_fall_with_depth_and_spare_vectors(nested):
    base = nested.get_layer("base")
    groups = parameter_groups(nested, 1e-2, weight_decay=0.1, layer_decay=0.5)
    *_, kernels, vectors = groups
    assert (kernels["lr"], kernels["weight_decay"]) == (1e-2, 0.1)
    assert (vectors["lr"], vectors["weight_decay"]) == (1e-2, 0.0)
    assert kernels["params"] == [nested.get_layer("head").weight]
    assert [group["lr"] for group in groups] == [2.5e-3] * 2 + [5e-3] * 2 + [1e-2] * 2
    first = {id(p) for group in groups[:4] for p in group["params"]}
    assert first == {id(p) for p in base.parameters()}
    assert all(
        (p.ndim > 1) == (group["weight_decay"] > 0) for group in groups for p in group["params"]
    )
    torch.optim.AdamW(groups)


def test_scales_of_features_do_not_decay_whatever_their_shape():
    image = layers.Input((6, 6, 4))
    x = layers.Conv2D(4, 1, name="conv")(image)
    x = layers.LayerNormalization(axis=[1, 2, 3])(x)
    x = layers.LayerScale(1e-6, 4)(layers.PReLU()(layers.GroupNormalization(2)(x)))
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    model = kerastorch.Model(image, layers.Dense(2, name="head")(x))
    groups = parameter_groups(model, 1e-3, weight_decay=0.1)
    decaying = {p for group in groups if group["weight_decay"] for p in group["params"]}
    assert decaying == {model.conv.weight, model.head.weight}
    model.conv = torch.nn.Sequential(torch.nn.LayerNorm([6, 6]), torch.nn.Conv2d(4, 4, 1))
    groups = parameter_groups(model, 1e-3, weight_decay=0.1)
    decaying = {p for group in groups if group["weight_decay"] for p in group["params"]}
    assert decaying == {model.conv[1].weight, model.head.weight}


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_groups_of_a_base_are_those_it_has_in_one_piece(pooling):
    """With what the Keras documentation puts around it: augmentation, scaling and a head."""
    options = {"alpha": 0.35, "include_top": False, "input_shape": (64, 64, 3)}
    with torch.device("meta"):
        base = kerastorch.create_model("mobilenet_v2", pooling=pooling, **options)
        image = layers.Input((64, 64, 3))
        augmentation = kerastorch.Sequential([layers.Input((64, 64, 3)), layers.RandomFlip()])
        x = base(layers.Rescaling(1 / 127.5, -1)(augmentation(image)))
        x = x if pooling else layers.GlobalAveragePooling2D()(x)
        whole = kerastorch.Model(image, layers.Dense(5)(x))
    settings = {"lr": 1.0, "weight_decay": 0.1, "layer_decay": 0.5}
    *of_base, kernels, vectors = parameter_groups(whole, **settings)
    alone = parameter_groups(base, **{**settings, "lr": 0.5})
    assert [group["lr"] for group in of_base] == [group["lr"] for group in alone]
    for ours, theirs in zip(of_base, alone, strict=True):
        assert [id(p) for p in ours["params"]] == [id(p) for p in theirs["params"]]
    assert kernels["lr"] == vectors["lr"] == 1.0


def test_groups_hold_what_is_trained_once(model):
    freeze(model, until="mixed8")
    groups = parameter_groups(model, 1e-3)
    found = [id(p) for group in groups for p in group["params"]]
    assert len(set(found)) == len(found)
    assert set(found) == {id(p) for p in model.parameters() if p.requires_grad}
    assert {group["lr"] for group in groups} == {1e-3}
