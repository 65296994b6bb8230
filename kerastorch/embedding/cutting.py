"""From a model to its features."""

from __future__ import annotations

from ..classifier import classifier_input, may_give_scores
from ..engine import Model
from ..engine.images import input_image
from ..layers import GlobalAveragePooling2D


def embedder(model: Model, layer: str | None = None) -> Model:
    """The part of a model that gives a vector for each image; it shares its layers.

    Args:
        model: takes one image.
        layer: the name of the layer whose output is the vector, averaged over all places where it
            is a map; None for what the model's classifier takes, or the output of a model that has
            none.

    Returns:
        A model whose output is `(batch, features)`.

    Raises:
        ValueError: there is no such layer, its output is neither a map nor a vector, the classifier
            is not a layer of this very model, or the model has other inputs than one image.
    """
    input_image(model)  # or it raises
    if layer is not None:
        features = model.get_layer(layer).output
    elif (taken := classifier_input(model)) is not None:
        features = taken
    elif len(model.outputs) == 1 and not may_give_scores(model):
        features = model.output
    else:
        raise ValueError(
            f"{model.name!r} does not end with a classifier of its own, and its output may be "
            "scores: name a layer."
        )
    shape = getattr(features, "shape", ())  # a layer may have several outputs
    if len(shape) not in (2, 4):
        raise ValueError(f"{layer or model.name!r} gives {shape}, neither a map nor a vector.")
    if len(shape) == 4:
        # Under a name of its own: a model that is cut twice would number it on.
        name = f"{features.node.name}_average"
        features = GlobalAveragePooling2D(model.data_format, name=name)(features)
    return Model(model.input, features, name=f"{model.name}_embedder")
