"""`lora_targets`: PEFT's LoRA on separable and plain networks."""

import copy
import re

import pytest
import torch

import kerastorch
from kerastorch import layers
from kerastorch.fine_tuning import checkpoint_blocks, lora_targets, parameter_groups

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


SIZES = {"xception": 75, "mobilenet_v2": 32, "resnet50": 32, "vgg16": 32}


def make_model(name):
    size = SIZES[name]
    torch.manual_seed(0)
    model = kerastorch.create_model(
        name, classes=5, input_shape=(size, size, 3), include_top=name != "vgg16"
    )
    return model, torch.rand(2, 3, size, size)


def adapt(model, targets):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(target_modules=targets, r=4))


def train(model, images):
    """Two steps: the first moves only the factor that starts at zero."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.normalize(model(images).flatten(1)).sum().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "with_activation", "count"),
    [
        ("xception", False, 41),
        ("mobilenet_v2", False, 36),
        ("resnet50", False, 54),
        ("vgg16", True, 13),
    ],
)
def test_only_adapters_train_and_they_merge(name, with_activation, count):
    model, images = make_model(name)
    kerastorch.freeze(model)
    before = copy.deepcopy(model.state_dict())
    plain = copy.deepcopy(model).double().eval()
    tuned = adapt(model, lora_targets(model, with_activation=with_activation)).train()
    adapted = [key for key, module in model.named_modules() if hasattr(module, "lora_A")]
    assert len(adapted) == count
    assert not any("depthwise" in key for key in adapted)
    train(tuned, images)

    state = {key.replace(".base_layer", ""): x for key, x in model.state_dict().items()}
    changed = {key for key in before if not torch.equal(state[key], before[key])}
    assert changed == set()
    factors = [key for key in state if "lora_B" in key]
    assert len(factors) == count
    assert all(state[key].abs().max() > 0 for key in factors)

    tuned.double().eval()
    images = images.double()
    given = tuned(images)
    assert (given - plain(images)).abs().max() > 1e-6 * given.abs().max()
    merged = tuned.merge_and_unload()
    assert merged is model
    assert model.state_dict().keys() == before.keys()
    error = (model(images) - given).abs().max() / given.abs().max()
    # An update behind an activation is not the update of the weight before it.
    assert (error > 1e-9) if with_activation else (error < 1e-9)


def some_layers():
    image, vector = layers.Input((8, 8, 4)), layers.Input((6,))
    x = layers.Conv2D(8, 3, name="conv.dotted")(image)
    x = layers.Conv2D(8, 3, groups=2, name="grouped")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(8, 1, activation="relu", name="separable")(x)
    x = layers.Dense(2, name="of_images")(x)
    x = layers.Conv2DTranspose(2, 3, name="transposed")(x)
    x = layers.Conv2D(1, 1, activation="relu", name="with_relu")(x)
    x = layers.DepthwiseConv2D(1, name="depthwise_of_one")(x)
    base = kerastorch.Model(image, layers.GlobalAveragePooling2D()(x), name="base")
    x = layers.Concatenate()([base(image), vector])
    return kerastorch.Model([image, vector], layers.Dense(3, name="head")(x), name="outer")


def matches(model, expression):
    keys = (key for key, _ in model.named_modules())
    return [key for key in keys if re.fullmatch(expression, key)]


def test_which_layers():
    model = some_layers()
    exact = ["base.conv__dotted", "base.separable.pointwise", "head"]
    assert matches(model, lora_targets(model)) == exact
    with_activation = lora_targets(model, with_activation=True)
    assert matches(model, with_activation) == [*exact[:2], "base.with_relu", "head"]
    assert matches(model, lora_targets(model, "base")) == exact[:2]
    assert matches(model, lora_targets(model, since="grouped")) == exact[1:]
    tuned = adapt(model, with_activation)
    tuned([torch.rand(2, 4, 8, 8), torch.rand(2, 6)]).sum().backward()  # it fits their shapes


def test_keys_with_a_common_end_are_told_apart():
    image = layers.Input((8, 8, 4))
    base = kerastorch.Model(image, layers.DepthwiseConv2D(3, name="conv")(image), name="base")
    model = kerastorch.Model(image, layers.Conv2D(4, 1, name="conv")(base(image)))
    assert matches(model, lora_targets(model)) == ["conv"]


def test_names_may_have_slashes():
    vector = layers.Input((6,))
    model = kerastorch.Model(vector, layers.Dense(3, name="head/dense")(vector))
    assert matches(model, lora_targets(model)) == ["head/dense"]
    assert matches(model, lora_targets(model, "head/dense")) == ["head/dense"]


def test_modules_of_torch_in_a_layers_place():
    model, _ = make_model("mobilenet_v2")
    model.predictions = torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Linear(1280, 5))
    assert matches(model, lora_targets(model, -1)) == ["predictions.1"]


def test_models_of_open_size_stay_useful_with_adapters():
    model = kerastorch.create_model("mobilenet_v2", include_top=False, pooling="avg", alpha=0.35)
    model.reset_classifier(3)
    groups = parameter_groups(model, 1e-3)
    assert model.transforms().size == (224, 224)
    targets = lora_targets(model, since="block_14_expand")
    model = adapt(model, targets).get_base_model()
    assert model.compute_output_shape((None, 96, 96, 3)) == (None, 3)
    assert model.compute_output_shape((None, None, None, 3)) == (None, 3)
    assert model.transforms().size == (224, 224)
    assert {group["lr"] for group in parameter_groups(model, 1e-3)} == {groups[0]["lr"]}
    checkpoint_blocks(model)
    model.train()(torch.rand(2, 3, 40, 40)).sum().backward()
    assert model.predictions.lora_B.default.weight.grad.any()


def test_nothing_to_adapt_is_refused():
    model, _ = make_model("vgg16")
    with pytest.raises(ValueError, match="LoRA suits none of the chosen layers of 'vgg16'"):
        lora_targets(model)
    with pytest.raises(ValueError, match="no layer 'conv'"):
        lora_targets(model, "conv")


def test_the_classifier_of_lightning_trains_adapters(tmp_path):
    import lightning
    from torch.utils.data import DataLoader, TensorDataset

    from kerastorch.lightning import Classifier

    model, images = make_model("mobilenet_v2")
    kerastorch.freeze(model)
    before = copy.deepcopy(model.state_dict())
    adapt(model, lora_targets(model, since="block_14_expand"))
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = DataLoader(TensorDataset(images, torch.tensor([0, 3])), 2)
    trainer.fit(Classifier(model, lr=0.1), data)
    state = {key.replace(".base_layer", ""): x for key, x in model.state_dict().items()}
    assert all(torch.equal(state[key], before[key]) for key in before)
    assert all(x.abs().max() > 0 for key, x in state.items() if "lora_B" in key)
