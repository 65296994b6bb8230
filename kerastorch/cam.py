"""Grad-CAM: where in a picture a model has seen a class (Selvaraju et al., 2017).

Source: https://arxiv.org/abs/1610.02391
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .engine import Model
from .engine.model import evaluation
from .engine.naming import near_matches
from .scores import logits

if TYPE_CHECKING:
    from PIL.Image import Image


def grad_cam(model: Model, x: Tensor, layer: str, classes: Sequence[int] | None = None) -> Tensor:
    """How much each place of a layer's output speaks for a class.

    A softmax or sigmoid at the model's end is left out, since a sure answer has no slope there.

    Args:
        model: a classifier of images; it computes in evaluation mode.
        x: prepared images (batch, channels, height, width).
        layer: the name of a layer that gives maps (batch, features, rows, columns), of the model or
            of one nested in it.
        classes: for each image the class that is asked about, also as a tensor; None for its best
            one. A single score speaks for class 1, and its negative for class 0.

    Returns:
        Maps (batch, height, width) at the size of the images, from 0 to 1 where anything speaks for
        the class, and 0 everywhere else.

    Raises:
        ValueError: there is no such layer, its output is no map, there is not one class for each
            image, or the model has no such class.
    """
    module = find_layer(model, layer)
    if classes is not None and len(classes) != len(x):
        raise ValueError(f"There are {len(x)} images and {len(classes)} classes.")
    with torch.inference_mode(False), torch.enable_grad(), evaluation(model), logits(model):
        found: list[Tensor] = []
        handle = module.register_forward_hook(lambda _, __, output: found.append(output))
        try:
            # So there is a gradient even where all layers are frozen; and a copy, as what was made
            # in inference mode takes none.
            scores = model(x.detach().clone().requires_grad_())
        finally:
            handle.remove()
        if len(found) != 1 or found[0].ndim != 4:
            raise ValueError(f"Layer {layer!r} does not give one map for each image.")
        if not found[0].requires_grad:  # an optimised copy, say
            raise ValueError(f"{model.name!r} computes without gradients, which Grad-CAM needs.")
        if scores.shape[1] == 1:  # a logit
            scores = torch.cat([-scores, scores], 1)
        best = scores.argmax(1) if classes is None else torch.as_tensor(classes, device=x.device)
        if not ((best >= 0) & (best < scores.shape[1])).all():
            raise ValueError(f"Classes are numbers below {scores.shape[1]}; got {best.tolist()}.")
        chosen = scores.gather(1, best[:, None]).sum()
        (slopes,) = torch.autograd.grad(chosen, found)
    maps = (slopes.mean((2, 3), keepdim=True) * found[0].detach()).sum(1, keepdim=True).relu()
    maps = nn.functional.interpolate(maps, x.shape[2:], mode="bilinear").squeeze(1)
    largest = maps.amax((1, 2), keepdim=True)
    return torch.where(largest > 0, maps / largest, maps)


def find_layer(model: Model, name: str) -> nn.Module:
    """A layer of a model or of the models nested in it.

    Raises:
        ValueError: there is none; the message has the names that look like it.
    """
    models = [module for module in model.modules() if isinstance(module, Model)]
    for found in models:
        if name in found._keys:
            return found.get_layer(name)
    names = [known for found in models for known in found._keys]
    raise ValueError(f"{model.name} has no layer {name!r}.{near_matches(name, names)}")


def overlay(picture: Image, heat: Tensor, opacity: float = 0.5) -> Image:
    """The picture with a map laid over it, from dark blue (0) over red to yellow (1).

    Args:
        picture: a PIL image of any size and mode.
        heat: a map (rows, columns) from 0 to 1.
        opacity: of the map, from 0 to 1.

    Returns:
        An RGB image of the picture's size.
    """
    from PIL import Image, ImageOps

    grey = Image.fromarray((heat.detach().cpu().float() * 255).round().byte().numpy())
    grey = grey.resize(picture.size, Image.Resampling.BILINEAR)
    colours = ImageOps.colorize(grey, black="midnightblue", mid="crimson", white="gold")
    return Image.blend(picture.convert("RGB"), colours, opacity)
