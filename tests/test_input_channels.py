"""Pretrained weights for images with other channels than red, green and blue."""

import pytest
import torch

import kerastorch
from kerastorch.applications.input_channels import normalize, statistics
from kerastorch.applications.registry import get_record
from tests.published.injection import inject
from tests.published.server import PublishedServer

pytestmark = pytest.mark.usefixtures("beside_oracle")

# Mode "tf", "caffe" with a bias, "torch" without one, and "caffe" without padding in front; then
# models that prepare pixels themselves: of three channels only, of others less, and always, or by
# weights. Each with the layer whose output is linear in the pixels, or any where nothing is padded,
# and how far margins reach into it.
NAMES = {
    "mobilenet": ("conv1_bn", 1),
    "resnet50": ("conv1_conv", 2),
    "densenet121": ("conv1_bn", 2),
    "vgg16": ("block1_conv1", 1),
    "efficientnet_b0": ("stem_bn", 1),
    "efficientnet_v2_b0": ("stem_bn", 1),
    "convnext_tiny": ("convnext_tiny_stage_0_block_0_identity", 0),
    "resnet_rs50": ("stem_1_stem_batch_norm_1", 1),
    "regnet_y002": ("regnety002_stem_bn", 1),
}
TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A server with random weights, in whose place real ones would be."""
    folder = tmp_path_factory.mktemp("published")
    for name in NAMES:
        record = get_record(name)
        variants = {"mobilenet": {"alpha": 0.25, "size": 224}, "resnet_rs50": {"size": 160}}
        variant = variants.get(name, {})
        path = folder / record.published_weights(include_top=False, **variant).path
        path.parent.mkdir(exist_ok=True)
        model = small_model(name, (64, 64, 3))
        if name == "efficientnet_b0":
            model.normalization.mean.copy_(torch.tensor([0.485, 0.456, 0.406]))
            model.normalization.variance.copy_(torch.tensor([0.229, 0.224, 0.225]))
        model.save_weights(path)
    with PublishedServer(folder) as server:
        yield server


@pytest.fixture(autouse=True)
def from_server(published, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path_factory.getbasetemp() / "keras"))
    inject(monkeypatch, published)


def small_model(name, shape, **options):
    alpha = {"alpha": 0.25} if name == "mobilenet" else {}
    return kerastorch.create_model(name, include_top=False, input_shape=shape, **alpha, **options)


def pixels(channels, seed=0):
    return 255 * torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(seed))


def prepared(x, model):
    """Pixels as a model's own transforms prepare them."""
    return normalize(x.double(), model.transforms().mode)


def assert_close(given, expected):
    assert (given - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_one_channel_is_a_grey_image(name):
    layer, margin = NAMES[name]
    colour = small_model(name, (64, 64, 3), pretrained=True).eval()
    grey = small_model(name, (64, 64, 1), pretrained=True).eval()
    x = pixels(1)
    with torch.no_grad():
        expected = colour.feature_maps(layer)(prepared(x.expand(-1, 3, -1, -1), colour))[layer]
        given = grey.feature_maps(layer)(prepared(x, grey))[layer]
    inside = slice(margin, -margin or None)
    assert_close(given[..., inside, inside], expected[..., inside, inside])
    # All else is as it was.
    first = next(key for key, _ in grey.named_parameters()).rpartition(".")[0]
    for key, value in grey.state_dict().items():
        if not key.startswith(
            (f"{first}.", f"{layer}.running_mean", "conv1_bn.running_mean", "normalization.")
        ):
            assert torch.equal(value, colour.state_dict()[key]), key


# Their margins are black where those of RGB images have the colours' means.
@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("efficientnet_v2_b0", "resnet_rs50")]
)
def test_channels_that_repeat_an_image_give_what_it_gives(name):
    colour = small_model(name, (64, 64, 3), pretrained=True).eval()
    six = small_model(name, (64, 64, 6), pretrained=True).eval()
    x = pixels(3)
    with torch.no_grad():
        expected = colour(prepared(x, colour))
        given = six(prepared(x.repeat(1, 2, 1, 1), six))
    assert_close(given, expected)


@pytest.mark.parametrize("channels", [2, 4, 5])
@pytest.mark.parametrize("name", ["mobilenet", "resnet50"])
def test_several_channels_take_the_colours_in_turn(name, channels):
    first = {"mobilenet": "conv1", "resnet50": "conv1_conv"}[name]
    colour = small_model(name, (64, 64, 3), pretrained=True).get_layer(first)
    several = small_model(name, None, pretrained=True, in_channels=channels).get_layer(first)
    red_green_blue = colour.weight.flip(1) if name == "resnet50" else colour.weight
    assert several.weight.shape[1] == channels
    for i in range(channels):
        assert torch.equal(several.weight[:, i], red_green_blue[:, i % 3] * 3 / channels)
    if name == "resnet50":
        assert torch.equal(several.bias, colour.bias)


def test_the_means_go_with_the_colours():
    assert statistics("caffe", 4)[0] == [123.68, 116.779, 103.939, 123.68]
    assert statistics("caffe", 1) == ([(123.68 + 116.779 + 103.939) / 3], [1.0])
    (mean,), (deviation,) = statistics("torch", 1)
    assert mean == pytest.approx(255 * 0.449)
    assert deviation == pytest.approx(255 * 0.226)
    x = pixels(2)
    means = torch.tensor([123.68, 116.779]).reshape(2, 1, 1)
    assert torch.equal(normalize(x, "caffe"), x - means)


@pytest.mark.parametrize("mode", ["tf", "caffe", "torch"])
def test_three_channels_by_their_statistics_are_kerass(mode):
    x = pixels(3).double()
    mean, deviation = (torch.tensor(v).reshape(3, 1, 1) for v in statistics(mode, 3))
    expected = (x - mean) / deviation
    assert_close(normalize(x, mode), expected.flip(1) if mode == "caffe" else expected)


def test_the_classifier_stays_unless_there_are_other_classes(published):
    record = get_record("mobilenet")
    whole = kerastorch.create_model("mobilenet", alpha=0.25)
    path = published.folder / record.published_weights(True, alpha=0.25, size=224).path
    whole.save_weights(path)
    grey = kerastorch.create_model("mobilenet", pretrained=True, alpha=0.25, in_channels=1)
    assert grey.input_shape == (None, 224, 224, 1)
    assert torch.equal(grey.conv_preds.weight, whole.conv_preds.weight)
    seven = {"pretrained": True, "alpha": 0.25, "in_channels": 1, "classes": 7}
    grey = kerastorch.create_model("mobilenet", **seven)
    assert grey.output_shape == (None, 7)
    assert grey.conv_preds.weight.isfinite().all()
    assert torch.equal(grey.conv_pw_13.weight, whole.conv_pw_13.weight)


@pytest.mark.parametrize("name", ["nasnet_mobile", "resnext50"])
def test_sizes_that_are_known_without_the_classifier_are_so_for_any_channels(name):
    with torch.device("meta"):
        model = kerastorch.create_model(name, include_top=False, in_channels=1)
    assert model.input_shape == (None, 224, 224, 1)


def test_cells_that_are_built_for_a_size_get_pretrained_weights(published, monkeypatch):
    whole = kerastorch.create_model("nasnet_mobile", include_top=False)
    path = published.folder / get_record("nasnet_mobile").published_weights(False).path
    path.parent.mkdir(exist_ok=True)
    whole.save_weights(path)
    inject(monkeypatch, published)  # with this file's hash
    options = {"include_top": False, "pretrained": True, "in_channels": 1}
    grey = kerastorch.create_model("nasnet_mobile", **options).state_dict()
    others = [key for key in whole.state_dict() if not key.startswith("stem_")]
    assert others == [key for key in grey if not key.startswith("stem_")]
    assert all(torch.equal(grey[key], whole.state_dict()[key]) for key in others)


def test_transforms_prepare_images_of_the_models_channels():
    grey = small_model("resnet50", (64, 64, 1), pretrained=True)
    x = torch.randint(0, 256, (1, 64, 64), dtype=torch.uint8)
    assert torch.equal(grey.transforms()(x), normalize(x[None].float(), "caffe"))


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="do not agree"):
        small_model("mobilenet", (64, 64, 3), pretrained=True, in_channels=4)
    with pytest.raises(ValueError, match="how many channels an image has, not 0"):
        kerastorch.create_model("mobilenet", in_channels=0)
    with pytest.raises(ValueError, match="takes 3 channels"):
        kerastorch.applications.MobileNet(include_top=False, input_shape=(64, 64, 1))


def test_untrained_models_take_any_channels():
    model = kerastorch.create_model("resnet50", in_channels=5, classes=3)
    assert model.input_shape == (None, 224, 224, 5)
    assert model.conv1_conv.weight.shape[1] == 5
