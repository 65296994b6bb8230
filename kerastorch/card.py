"""What is known of a model, in one place: its card."""

from __future__ import annotations

from typing import Any

from . import layers, ops
from .applications.recognition import application_in
from .applications.registry import ModelRecord
from .applications.transforms import MODES_IN_WORDS, preprocessing_of
from .engine import Layer, Model
from .engine.blocks import blocks

_MERGING = (layers.Add, layers.Concatenate, ops.Add, ops.Concatenate)


def card(model: Model) -> dict[str, Any]:
    """What is known of a model, as plain data.

    Where most of it is nested in it, as in fine-tuned models, blocks and cuts are those of the
    nested model.

    Args:
        model: also one on the meta device, since nothing is computed.

    Returns:
        `name`; `application`, the name of the built-in model that it is or has in it; `input_shape`
        and `output_shape` in Keras's layout; `layers`, `parameters`, `trainable_parameters` and
        `bytes`; `preprocessing`, how pixels are prepared, in words; `cuts`, the layers worth taking
        features from, each with its `channels` and its `stride` in pixels; `blocks`, the names of
        the layers in each; and `inside`, the name of the model whose they are. What is not known is
        None, or empty.
    """
    record = application_in(model)
    body = _body(model)
    return {
        "name": model.name,
        "application": None if record is None else record.name,
        "input_shape": model.input_shape,
        "output_shape": model.output_shape,
        "layers": len(model.layers),
        "parameters": model.count_params(),
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "bytes": sum(t.numel() * t.element_size() for t in model.state_dict().values()),
        "preprocessing": _preprocessing(model),
        "inside": body.name,
        **_cuts_and_blocks(body),
    }


def published_card(record: ModelRecord) -> dict[str, Any]:
    """What is published of a built-in model and its weights, as plain data."""
    return {
        "keras_name": record.keras_name,
        "module": record.module,
        "pixels": record.default_size,
        "least_pixels": record.min_size,
        "top1": record.top1,
        "top5": record.top5,
        "depth": record.depth,
        "licence": record.weights_licence,
        "citation": record.citation,
        "paper": record.paper,
        "files": [
            {
                "file": weights.file,
                "hash": weights.hash,
                "with_classifier": weights.include_top,
                "alpha": weights.alpha,
                "pixels": weights.size,
            }
            for weights in record.weights
        ],
    }


def cuts(model: Model) -> list[dict[str, Any]]:
    """The last layer of each resolution that is worth taking features from.

    These are the ends of blocks, and places where branches come together.

    Args:
        model: takes one image.

    Raises:
        ValueError: it takes other inputs, or has modules of torch that do not say what other sizes
            give.
    """
    ends = {_last_but_padding(model, block) for block in blocks(model)}
    names = [
        layer.name
        for layer in model.operations
        if isinstance(layer, Layer)
        and not isinstance(layer, Model)
        and (layer.name in ends or isinstance(layer, _MERGING))
        and len(getattr(layer.output, "shape", ())) == 4
    ]
    if not names:
        return []
    maps = model.feature_maps(*names)
    # The later replaces the earlier; what images of all sizes become one place of has no stride.
    last = {maps.strides[name]: name for name in names if maps.strides[name] is not None}
    return [
        {"layer": name, "channels": maps.channels[name], "stride": stride}
        for stride, name in sorted(last.items())
    ]


def _last_but_padding(model: Model, block: list[str]) -> str | None:
    names = [name for name in block if not isinstance(model.get_layer(name), layers.ZeroPadding2D)]
    return names[-1] if names else None


def _body(model: Model) -> Model:
    """The model, or what most of it is nested in."""
    for layer in model.layers:
        if isinstance(layer, Model) and layer.count_params() > model.count_params() / 2:
            return _body(layer)
    return model


def _cuts_and_blocks(model: Model) -> dict[str, list]:
    try:
        return {"cuts": cuts(model), "blocks": blocks(model)}
    except ValueError:  # not one image, or modules that do not say what other sizes give
        return {"cuts": [], "blocks": []}


def _preprocessing(model: Model) -> str | None:
    known = preprocessing_of(model)
    return None if known is None else f"{MODES_IN_WORDS[known[0]]} ({known[0]}), {known[1]}"
