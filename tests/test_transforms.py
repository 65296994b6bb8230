"""Pictures become a batch as in Keras, to the bit, whatever holds them."""

import numpy as np
import pytest
import torch
from PIL import Image

from kerastorch.applications.imagenet_utils import preprocess_input
from kerastorch.applications.transforms import MODES_IN_WORDS, Preprocessing
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
    x = x if mode == "none" else preprocess_input(x, mode=mode)
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


@pytest.mark.parametrize("arguments", [("TF",), ("tf", "cubic")])
def test_unknown_words_are_refused(arguments):
    with pytest.raises(ValueError, match="is none of"):
        Preprocessing((8, 8), *arguments)
