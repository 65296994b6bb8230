"""Pictures become a batch as in Keras, to the bit, whatever holds them."""

import copy
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import kerastorch
from kerastorch import layers, ops
from kerastorch.applications.imagenet_utils import preprocess_input
from kerastorch.applications.recognition import application_in
from kerastorch.applications.registry import get_record
from kerastorch.applications.transforms import MODES_IN_WORDS, Preprocessing, augmented
from kerastorch.preprocessing.image import INTERPOLATIONS, img_to_array, load_img

MODES = list(MODES_IN_WORDS)
SIZES = [(23, 31), (47, 64), (100, 33), (224, 224), (17, 299)]
PICTURES = ["RGB", "L", "RGBA", "P", "I;16", "CMYK"]
COLOURS = np.random.default_rng(2).integers(0, 256, (47, 64, 4), dtype=np.uint8)


def picture_of(mode):
    if mode == "I;16":
        return Image.fromarray(COLOURS[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(COLOURS[..., :3]).convert(mode)


def tensor_of(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def keras_recipe(path, size, mode, interpolation="nearest"):
    """The documentation's recipe; its parts are compared with Keras's own elsewhere."""
    image = load_img(path, target_size=size, interpolation=interpolation)
    x = img_to_array(image)[None]
    if mode == "unit":
        x = x / 255
    elif mode != "none":
        x = preprocess_input(x, mode=mode)
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def assert_same(batch, expected):
    assert batch.dtype == torch.float32
    assert torch.equal(batch, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_give_kerass_batch(tmp_path, kind, mode):
    path = tmp_path / "picture.tiff"
    picture_of(kind).save(path)
    for size in SIZES:
        batch = Preprocessing(size, mode)(Image.open(path))
        assert_same(batch, keras_recipe(path, size, mode))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_uint8_tensors_give_the_batch_of_their_pictures(tmp_path, interpolation):
    path = tmp_path / "picture.png"
    picture_of("RGB").save(path)
    x = tensor_of(Image.open(path))
    for size in SIZES:
        preprocessing = Preprocessing(size, "caffe", interpolation)
        expected = keras_recipe(path, size, "caffe", interpolation)
        assert_same(preprocessing(Image.open(path)), expected)
        assert_same(preprocessing(x), expected)
        assert_same(preprocessing(torch.stack([x, x.flip(2)]))[:1], expected)


@pytest.mark.parametrize("old", [2, 3, 7, 50, 64, 99, 333, 1000])
def test_the_nearest_pixels_are_pillows(old):
    numbers = np.random.default_rng(old).integers(0, 256, (old, 37, 3), dtype=np.uint8)
    picture = Image.fromarray(numbers)
    for new in [*range(1, 30), 71, 224, 299, 331]:
        for size, turned in (((new, 5), False), ((5, new), True)):
            img = picture.transpose(Image.Transpose.TRANSPOSE) if turned else picture
            expected = img_to_array(img.resize(size[::-1], Image.Resampling.NEAREST))
            batch = Preprocessing(size, "tf")(tensor_of(img))
            assert_same(batch[0], torch.from_numpy(expected / 127.5 - 1.0).permute(2, 0, 1))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_floating_tensors_are_resized_without_rounding(interpolation):
    x = tensor_of(picture_of("RGB")) / 3
    filter = Image.Resampling[interpolation.upper()]
    channels = [np.array(Image.fromarray(one).resize((40, 30), filter)) for one in x.numpy()]
    expected = preprocess_input(torch.from_numpy(np.stack(channels)), "channels_first", "tf")[None]
    preprocessing = Preprocessing((30, 40), "tf", interpolation)
    assert_same(preprocessing(x), expected)
    assert_same(preprocessing(x.double()), expected)


def test_lists_hold_pictures_of_any_size_and_kind():
    small, large = picture_of("RGB"), picture_of("RGB").resize((301, 202))
    preprocessing = Preprocessing((96, 80), "torch")
    batch = preprocessing([small, large, tensor_of(large), tensor_of(small).float()])
    assert batch.shape == (4, 3, 96, 80)
    assert_same(batch, torch.cat([preprocessing(img) for img in (small, large, large, small)]))


def test_inputs_are_left_alone():
    x = torch.full((1, 3, 8, 8), 7.0)
    Preprocessing((8, 8), "caffe")(x)
    assert (x == 7).all()


def test_it_says_what_it_is():
    preprocessing = Preprocessing((299, 299), "tf", "bicubic")
    assert repr(preprocessing) == (
        "Preprocessing(size=(299, 299), mode='tf', interpolation='bicubic')"
    )


@pytest.mark.parametrize(
    ("pictures", "error", "message"),
    [
        ([], ValueError, "at least one picture"),
        ("elephant.jpg", TypeError, "got str"),
        (np.zeros((8, 8, 3), np.uint8), TypeError, "got ndarray"),
        ([torch.zeros(1, 3, 8, 8)], ValueError, r"\(channels, height, width\)"),
        (torch.zeros(8, 8), ValueError, r"\(channels, height, width\)"),
        (torch.zeros(8, 8, 3), ValueError, r"got \(8, 8, 3\)"),
        (torch.zeros(2, 1, 8, 8), ValueError, r"got \(2, 1, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), ValueError, "of torch.int64"),
    ],
)
def test_what_is_no_picture_is_refused(pictures, error, message):
    with pytest.raises(error, match=message):
        Preprocessing((8, 8), "tf")(pictures)


def test_what_is_no_picture_is_not_cropped_either():
    with pytest.raises(TypeError, match="got ndarray"):
        Preprocessing((8, 8), "tf", augment=True)(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("arguments", [("TF",), ("tf", "cubic")])
def test_unknown_words_are_refused(arguments):
    with pytest.raises(ValueError, match="is none of"):
        Preprocessing((8, 8), *arguments)


SIZES_OF_NO_PICTURE = [64, 0, (64,), (64, 64, 3), (64, 0), (64, -1), (6.5, 64), (True, True), "ab"]


@pytest.mark.parametrize("size", SIZES_OF_NO_PICTURE)
def test_a_size_is_a_height_and_a_width(base, size):
    with pytest.raises(ValueError, match="size is \\(height, width\\) in pixels, not"):
        Preprocessing(size, "tf")
    with pytest.raises(ValueError, match="size is \\(height, width\\) in pixels, not"):
        base.transforms(size=size)


def of_model(model, **options):
    """The mode and size that a model's own transforms have."""
    own = model.transforms(**options)
    return own.mode, own.size


@pytest.mark.parametrize("name", kerastorch.list_models())
def test_each_model_knows_its_own(name):
    record = get_record(name)
    with torch.device("meta"):
        whole = kerastorch.create_model(name)
        base = record.constructor(include_top=False, weights=None)
        base = kerastorch.Model(base.input, base.output, name="backbone")
    size = (record.default_size,) * 2
    assert of_model(whole) == (record.preprocessing, size)
    if name == "nasnet_large":  # It is built for even sizes where its own is open, as in Keras.
        with pytest.raises(ValueError, match="pictures of 331 x 331 do not fit backbone"):
            base.transforms()
    else:
        assert of_model(base) == (record.preprocessing, size)


@pytest.fixture(scope="module")
def base():
    return kerastorch.create_model("resnet50", include_top=False, input_shape=(64, 64, 3))


def test_models_made_of_an_application_know_it_too(base, tmp_path):
    x = layers.GlobalAveragePooling2D()(base.output)
    flat = kerastorch.Model(base.input, layers.Dense(3)(x))
    image = layers.Input((64, 64, 3))
    nested = kerastorch.Model(image, layers.Flatten()(base(image)))
    cut = kerastorch.Model(base.input, base.get_layer("conv2_block1_out").output, name="cut")
    classifier = copy.deepcopy(base)
    classifier.reset_classifier(3)
    nested.save(tmp_path / "nested.keras")
    for model in [
        flat,
        nested,
        cut,
        classifier,
        copy.deepcopy(flat),
        pickle.loads(pickle.dumps(flat)),
        kerastorch.load_model(tmp_path / "nested.keras"),
    ]:
        assert of_model(model) == ("caffe", (64, 64))


def test_layers_of_the_model_itself_come_first():
    image = layers.Input((64, 64, 3))
    scaled = layers.Rescaling(1 / 127.5, offset=-1)(image)
    model = kerastorch.applications.MobileNet(
        weights=None, include_top=False, input_tensor=scaled, alpha=0.25
    )
    assert of_model(model) == ("none", (64, 64))
    assert of_model(model, mode="tf") == ("tf", (64, 64))


def test_arithmetic_of_the_model_itself_comes_first_too():
    image = layers.Input((64, 64, 3))
    base = kerastorch.applications.MobileNet(
        weights=None, include_top=False, input_shape=(64, 64, 3), alpha=0.25
    )
    assert of_model(kerastorch.Model(image, base(image / 127.5 - 1))) == ("none", (64, 64))
    front = kerastorch.Sequential([layers.Input((64, 64, 3)), layers.Rescaling(1 / 255)])
    assert of_model(kerastorch.Model(image, base(front(image)))) == ("none", (64, 64))
    behind = kerastorch.Model(image, base(image) * 2)
    assert of_model(behind) == ("tf", (64, 64))


@pytest.mark.parametrize(
    "move",
    [
        ops.Resize((96, 96)),
        ops.Cast("float32"),
        ops.StopGradient(),
        ops.Repeat(2, axis=1),
        ops.Flip(axis=2),
        lambda x: x[..., ::-1],
        lambda x: ops.Concatenate(axis=2)([x, x]),
        lambda x: ops.Concatenate()([ops.RGBToGrayscale()(x)] * 3),
    ],
)
def test_what_only_moves_pixels_is_no_preprocessing(move):
    image = layers.Input((64, 64, 3))
    x = move(image)
    base = kerastorch.applications.MobileNet(
        weights=None, include_top=False, input_shape=x.shape[1:], alpha=0.25
    )
    assert of_model(kerastorch.Model(image, base(x))) == ("tf", (64, 64))
    assert of_model(kerastorch.Model(image, base(x / 127.5 - 1))) == ("none", (64, 64))
    assert of_model(kerastorch.Model(image, base(move(image / 255)))) == ("none", (64, 64))


FLAT = ["densenet169", "inception_v3", "mobilenet_v2", "nasnet_mobile", "resnet101", "vgg16"]
FLAT += ["efficientnet_b2", "efficientnet_v2_s", "mobilenet_v3_large"]
FLAT += ["convnext_tiny", "regnet_x002", "resnet_rs101", "resnext50"]


@pytest.mark.parametrize("name", FLAT)
def test_flat_models_in_files_are_told_by_their_layers(name, tmp_path):
    """As a new head on `base.output` makes them: nothing in the file says what they began as."""
    record = get_record(name)
    options = {"alpha": 0.35} if name == "mobilenet_v2" else {}
    base = record.constructor(weights=None, include_top=False, input_shape=(96, 96, 3), **options)
    pooled = layers.GlobalAveragePooling2D()(base.output)
    model = kerastorch.Model(base.input, layers.Dense(3)(pooled), name="mine")
    model.save(tmp_path / "flat.keras")
    opened = kerastorch.load_model(tmp_path / "flat.keras")
    assert application_in(opened) is record
    assert of_model(opened) == (record.preprocessing, (96, 96))


def test_what_is_not_known_is_asked_for(base):
    image = layers.Input((None, None, 3))
    plain = kerastorch.Model(image, layers.Conv2D(2, 3)(image), name="plain")
    with pytest.raises(ValueError, match="prepared for plain cannot be told: give mode"):
        plain.transforms()
    with pytest.raises(ValueError, match="pictures of any size: give size"):
        plain.transforms(mode="tf")
    with pytest.raises(ValueError, match="2 x 2 do not fit plain: .*"):
        plain.transforms(mode="tf", size=(2, 2))
    assert of_model(plain, mode="tf", size=[9, 7]) == ("tf", (9, 7))

    image = layers.Input((64, 64, 3))
    other = kerastorch.applications.MobileNet(
        weights=None, include_top=False, input_tensor=image, alpha=0.25
    )
    both = kerastorch.Model(image, [base(image), other.output])
    with pytest.raises(ValueError, match="cannot be told"):
        both.transforms()
    two = kerastorch.Model([base.input, layers.Input((1,))], base.output, name="two")
    with pytest.raises(ValueError, match="two does not have one image as input"):
        two.transforms()


def test_a_cut_behind_the_first_layer_takes_no_pictures(base):
    behind = kerastorch.Model(base.get_layer("conv2_block1_out").output, base.output, name="behind")
    with pytest.raises(ValueError, match="cannot be told"):
        behind.transforms()


@pytest.mark.parametrize("picture", [picture_of("RGB"), tensor_of(picture_of("RGB"))])
def test_training_crops_and_flips_at_random(base, picture):
    torch.manual_seed(5)
    transform = base.transforms(training=True, mode="none")
    images = torch.cat([transform(picture) for _ in range(20)])
    assert images.shape == (20, 3, 64, 64)
    assert len({image.numpy().tobytes() for image in images}) == 20
    # Nearest pixels of the picture, and of no other place.
    known = {tuple(pixel) for pixel in COLOURS[..., :3].reshape(-1, 3).tolist()}
    assert {tuple(pixel) for pixel in images.movedim(1, -1).reshape(-1, 3).tolist()} <= known
    torch.manual_seed(5)
    assert torch.equal(images[:1], transform(picture))


def test_each_image_of_a_batch_has_its_own_crop(base):
    transform = base.transforms(training=True)
    batch = transform(tensor_of(picture_of("RGB")).expand(2, -1, -1, -1))
    assert batch.shape == (2, 3, 64, 64)
    assert not torch.equal(batch[0], batch[1])


def test_crops_hold_a_quarter_of_the_picture_or_more_and_half_are_flipped():
    ramp = torch.arange(1000.0).expand(3, 1000, 1000)
    torch.manual_seed(0)
    widths, flips = [], 0
    for _ in range(300):
        crop = augmented(ramp)
        assert 0.24 < crop.shape[1] * crop.shape[2] / 1e6 <= 1
        assert 0.74 < crop.shape[2] / crop.shape[1] < 1.34
        widths.append(crop.shape[2])
        flips += bool(crop[0, 0, 0] > crop[0, 0, -1])
    assert min(widths) < 600
    assert max(widths) > 900
    assert 110 < flips < 190


def test_datasets_give_single_images(base, tmp_path):
    for number, label in enumerate(["cat", "dog", "cat", "dog"]):
        (tmp_path / label).mkdir(exist_ok=True)
        picture_of("RGB").resize((50 + number, 40)).save(tmp_path / label / f"{number}.png")
    dataset = ImageFolder(tmp_path, base.transforms(training=True, batch=False))
    images, labels = next(iter(DataLoader(dataset, batch_size=4)))
    assert images.shape == (4, 3, 64, 64)
    assert labels.tolist() == [0, 0, 1, 1]
    one = base.transforms(batch=False)
    assert torch.equal(one(picture_of("RGB")), base.transforms()(picture_of("RGB"))[0])
    assert one([picture_of("RGB")] * 2).shape == (2, 3, 64, 64)


def test_grey_pictures_and_pictures_with_an_alpha_channel():
    for channels, mode in ((1, "L"), (4, "RGBA")):
        batch = Preprocessing((23, 31), "tf", channels=channels)(picture_of("RGBA"))
        image = picture_of("RGBA").convert(mode).resize((31, 23), Image.Resampling.NEAREST)
        expected = torch.from_numpy(img_to_array(image, "channels_first"))[None]
        assert_same(batch, expected / 127.5 - 1)
    with pytest.raises(ValueError, match="PIL images have 1, 3 or 4 channels, not 5"):
        Preprocessing((8, 8), "tf", channels=5)(picture_of("RGB"))
