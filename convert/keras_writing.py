"""Writing the files of Keras: `.keras`, `.weights.h5`, and legacy `.h5` with or without a model."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kerastorch.engine import InputLayer, Layer, Model, Operation, Sequential
from kerastorch.engine.layer import stored_tensors

from .atomic import replacing
from .call_values import encode
from .config import is_layer, layer_config, to_json
from .hdf5_writing import Array, Group, write_hdf5
from .keras_terms import in_keras_terms
from .matching import in_legacy_order, keras_layers, layers_by_path, places_by_path, tensor_of
from .rules import Rule, rules_for
from .safetensors_files import save_safetensors

Data = dict[str, Any]

KERAS_VERSION = "3.15.1"  # whose dialects these are


def save_converted(
    model: Model, filepath: str | PathLike, source: dict[str, Any] | None = None
) -> None:
    """Saves what came from another file: weights as `.weights.h5`, else the whole model."""
    if _ending(Path(filepath)) == ".weights.h5":
        save_weights(model, filepath)
    else:
        save_model(model, filepath, source)


def save_model(
    model: Model, filepath: str | PathLike, source: dict[str, Any] | None = None
) -> None:
    """Saves a whole model as `.keras`, `.h5` or `.safetensors`; see `Model.save`.

    `source` is what is known of the file that the weights come from; only `.safetensors` keep it.
    """
    path = Path(filepath)
    match _ending(path):
        case ".safetensors":
            save_safetensors(model, path, source)
        case ".keras":
            _write_archive(in_keras_terms(model, whole=True), path)
        case ".h5":
            _write_legacy_model(in_keras_terms(model, whole=True), path)
        case _:
            raise ValueError(
                f"Whole models are saved as .keras, .h5 or .safetensors; {path.name!r} ends "
                "otherwise (.weights.h5 is for save_weights)."
            )


def save_weights(model: Model, filepath: str | PathLike) -> None:
    """Saves weights as `.weights.h5`, `.h5` or `.safetensors`; see `Model.save_weights`."""
    path = Path(filepath)
    match _ending(path):
        case ".safetensors":
            save_safetensors(model, path)
        case ".weights.h5":
            groups = _groups_by_path(in_keras_terms(model, whole=False), once=True)
        case ".h5":
            groups = _legacy_groups(in_keras_terms(model, whole=False), "/", once=True)
        case _:
            raise ValueError(
                f"Weights are saved as .weights.h5, .h5 or .safetensors; {path.name!r} ends "
                "otherwise."
            )
    if path.suffix == ".h5":
        with replacing(path) as file:
            write_hdf5(file, groups)


def _ending(path: Path) -> str:
    return ".weights.h5" if path.name.endswith(".weights.h5") else path.suffix


# Keras 3's archives


def _write_archive(model: Model, path: Path) -> None:
    texts = {
        "metadata.json": to_json({"keras_version": KERAS_VERSION}),
        "config.json": to_json(_whole_config(model)),
    }
    # A layer that also stands in a model within is rebuilt from configs and becomes two.
    groups = _groups_by_path(model, once=False)
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text)
        weights = zipfile.ZipInfo("model.weights.h5")
        with archive.open(weights, "w", force_zip64=True) as member:
            write_hdf5(member, groups)


def _groups_by_path(model: Model, once: bool) -> dict[str, Group]:
    groups = {"layers": Group()}
    for path, layer in layers_by_path(model, once).items():
        for rule, (place, number) in zip(
            rules_for(layer), places_by_path(layer, path), strict=True
        ):
            within = place[len(path) + 1 :].replace("/", ".")
            name = layer.get_submodule(within).name
            group = groups.setdefault(f"{place}/vars", Group({"name": name}))
            array = _array(layer, rule)
            group.arrays[str(number)] = Array(array, array.dtype)
    return groups


def _array(layer: Layer, rule: Rule) -> Tensor:
    return rule.to_keras(tensor_of(layer, rule.key).detach())


# Legacy files


def _write_legacy_model(model: Model, path: Path) -> None:
    description = _in_legacy_dialect(_whole_config(model))
    attributes = {
        "backend": "tensorflow",
        "keras_version": KERAS_VERSION,
        "model_config": to_json(description),
    }
    groups = {"/": Group(attributes), **_legacy_groups(model, "model_weights", once=False)}
    with replacing(path) as file:
        write_hdf5(file, groups)


def _legacy_groups(model: Model, root: str, once: bool) -> dict[str, Group]:
    """A group a layer, those without weights too; a model within is one group."""
    children = list(keras_layers(model))
    attributes: dict[str, str | list[str]] = {
        "layer_names": [layer.name for layer in children],
        "backend": "tensorflow",
        "keras_version": KERAS_VERSION,
    }
    groups = {root: Group(attributes)}
    for layer in children:
        found = list(_legacy_arrays(layer, once))
        arrays = dict(found)
        if len(arrays) < len(found):
            raise ValueError(f"Two weights in {layer.name!r} have one name in legacy files.")
        groups[f"{root}/{layer.name}"] = Group({"weight_names": list(arrays)}, arrays)
    return groups


def _legacy_arrays(layer: Layer, once: bool) -> Iterator[tuple[str, Array]]:
    """A layer's arrays by their paths in its group: those that are trained first."""
    for place, part, rule in in_legacy_order(layer, once):
        array = _array(part, rule)
        # These files know no bfloat16, and float32 holds the same numbers.
        dtype = torch.float32 if array.dtype == torch.bfloat16 else array.dtype
        yield f"{place}/{rule.name}", Array(array, dtype)


def _in_legacy_dialect(data: Data) -> Data:
    """The description of a model or layer as Keras 3 writes it into `.h5`.

    Where Keras would read that dialect wrongly (operations, and axes that are lists or None) its
    dialect of today stays, which it reads in these files too.
    """
    config = data["config"]
    if "layers" in config:
        config = {**config, "layers": [_in_legacy_dialect(layer) for layer in config["layers"]]}
    elif data["class_name"] == "GetItem":
        return {
            **data,
            "inbound_nodes": [_without_ellipsis(call) for call in data["inbound_nodes"]],
        }
    elif data["module"] not in ("keras.layers", None) or not isinstance(config.get("axis", 0), int):
        return data
    kept = {key: value for key, value in data.items() if key not in ("module", "registered_name")}
    class_name = data["registered_name"] or data["class_name"]
    return {**kept, "class_name": class_name, "config": config}


def _without_ellipsis(call: Data) -> Data:
    """A call of GetItem with whole slices for an ellipsis, which Keras misreads in these files."""
    tensor, key = call["args"]
    parts = key if isinstance(key, list) else [key]
    counted = [part for part in parts if part is not None and not _is_ellipsis(part)]
    missing = len(tensor["config"]["shape"]) - len(counted)
    spread = [
        whole
        for part in parts
        for whole in ([encode(slice(None))] * missing if _is_ellipsis(part) else [part])
    ]
    return {**call, "args": [tensor, spread]}


def _is_ellipsis(part: Any) -> bool:
    return isinstance(part, dict) and part["class_name"] == "__ellipsis__"


# Configs


def _whole_config(model: Model) -> Data:
    """Keras's description of a model, with the types in which its layers compute."""
    data = layer_config(model)
    _add_types(data["config"], model, _type_of(model) or torch.get_default_dtype())
    return data


def _add_types(config: Data, model: Model, default: torch.dtype) -> None:
    """A layer computes in the type of its weights, one without weights in the model's."""
    inputs = model._input_layer if isinstance(model, Sequential) else []
    for data, layer in zip(config["layers"], [*inputs, *model.operations], strict=True):
        if isinstance(layer, Model):
            _add_types(data["config"], layer, default)
        elif isinstance(layer, InputLayer):
            if "float" in layer.dtype:
                data["config"]["dtype"] = _name(default)
        elif not isinstance(layer, Operation):
            data["config"] = _with_type(data["config"], _name(_type_of(layer) or default))


def _with_type(config: Data, dtype: str) -> Data:
    """A layer's config with its type, also in that of an activation that is a layer."""
    activation = config.get("activation")
    if is_layer(activation):
        typed = _with_type(activation["config"], dtype)
        config = {**config, "activation": {**activation, "config": typed}}
    return {**config, "dtype": dtype}


def _type_of(module: nn.Module) -> torch.dtype | None:
    tensors = stored_tensors(module).values()
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
