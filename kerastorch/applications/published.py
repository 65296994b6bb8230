"""The weights that Keras's applications publish, trained on ImageNet: which files there are."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"


@dataclass(frozen=True)
class PublishedWeights:
    """A published file of weights.

    Attributes:
        path: where it lies under `ADDRESS`, or in a mirror.
        hash: the algorithm and digest by which Keras checks it, `"md5:..."`; None where Keras does
            not.
        include_top: whether it holds the classifier.
        size: height and width in pixels of the images it was trained on, where there are files for
            several.
        alpha: width multiplier, where there are files for several.
        minimalistic: whether it is of a minimalistic MobileNetV3.
        address: what stands for `ADDRESS`, where it lies elsewhere.
        cached_as: its name in Keras's cache, where that is not the last part of its path.
    """

    path: str
    hash: str | None
    include_top: bool
    size: int | None = None
    alpha: float | None = None
    minimalistic: bool = False
    address: str | None = None
    cached_as: str | None = None

    @property
    def file(self) -> str:
        """Its name in Keras's cache."""
        return self.cached_as or self.path.rpartition("/")[2]


def with_and_without_top(
    path: str, md5: str, md5_without_top: str
) -> tuple[PublishedWeights, PublishedWeights]:
    """The two files of most models; `path` has no ending."""
    return checked_by(path, (f"md5:{md5}", f"md5:{md5_without_top}"))


def checked_by(
    path: str, hashes: tuple[str, str], size: int | None = None
) -> tuple[PublishedWeights, PublishedWeights]:
    """The files with and without classifier.

    Args:
        path: where they lie, without their endings.
        hashes: of the one with the classifier and of the one without, as in `PublishedWeights`.
        size: of the images, where there are files for several.
    """
    whole, bare = hashes
    return (
        PublishedWeights(f"{path}.h5", whole, include_top=True, size=size),
        PublishedWeights(f"{path}_notop.h5", bare, include_top=False, size=size),
    )


def for_widths_and_sizes(
    path: Callable[[float, int], str], alphas: Iterable[float], sizes: Iterable[int]
) -> tuple[PublishedWeights, ...]:
    """The files of a MobileNet, which Keras checks by no hash.

    Args:
        path: gives the path, without its ending, for a width and a size.
        alphas: the widths.
        sizes: height and width in pixels of the images.
    """
    return tuple(
        PublishedWeights(f"{path(alpha, size)}{ending}", None, include_top, size, alpha)
        for alpha, size in product(alphas, sizes)
        for include_top, ending in ((True, ".h5"), (False, "_no_top.h5"))
    )
