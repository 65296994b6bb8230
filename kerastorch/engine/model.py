"""Model: a graph of layers as one plain `nn.Module`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..config import data_format_scope
from .budget import spend
from .foreign import adapted_layer, output_shapes
from .input import Input, InputLayer
from .layer import Layer, flatten_shapes
from .layout import from_keras_layout, to_keras_layout
from .naming import child_keys, name_layers, near_matches
from .operation import Operation
from .order import sort_graph
from .plan import Step, execute, make_plan
from .structure import flatten, map_structure
from .symbol import Node, Symbol

if TYPE_CHECKING:
    from ..applications.transforms import Preprocessing
    from ..convert import LoadReport
    from ..features import FeatureExtractor


class _SetWhenBuilt:
    """An attribute that a Sequential without a known input does not have yet."""

    def __get__(self, model: Functional | None, owner: type) -> Any:
        if model is None:
            return self
        raise _not_built(model)


def _not_built(model: Functional) -> ValueError:
    return ValueError(f"{model.name!r} is not built yet: give it an Input, or call it once.")


class Functional(Layer):
    """Layers from `inputs` to `outputs`, with Keras's names, order and numbers.

    Its public name is `Model`.

    The children are the layers under their names (`naming.child_keys`), in Keras's order. `forward`
    follows the plan, which refers to children by key: a child that is replaced
    (`model.block1_conv1 = ...`) is used by each call of it, and by models cut from this one
    afterwards. A model is a layer, so models nest.

    Args:
        inputs: a Symbol or a structure (list, tuple, dict) of Symbols; where one is not an `Input`,
            the model gets a new input in its place, as in Keras.
        outputs: a Symbol or a structure of Symbols computed from `inputs`.
        name: the model's name; None for Keras's default, `functional`, numbered where it joins
            another model.
        trainable: False freezes all layers.

    `forward` takes channels-first tensors in the structure of `inputs` and gives the structure of
    `outputs`; a list of one is given as its tensor, as Keras does.
    """

    takes_training = True

    # The child keys by layer name, what `forward` does, the Symbol in each slot, and the calls of
    # each child; the last two are made anew in copies.
    _keys = _SetWhenBuilt()
    _plan = _SetWhenBuilt()
    _symbols = _SetWhenBuilt()
    _calls = _SetWhenBuilt()

    def __init__(
        self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool | None = None
    ):
        super().__init__(name=name, data_format=_data_format_of(inputs))
        self._take_graph(inputs, outputs)
        if trainable is not None:
            self.trainable = trainable

    # The graph

    def _take_graph(self, inputs: Any, outputs: Any) -> None:
        """Makes the plan and the children from the graph between two structures of Symbols.

        Children of a graph before are given up; where the new one is refused, nothing changes.
        """
        _check_symbols([inputs, outputs])
        with data_format_scope(self.data_format):
            stand_ins = {
                symbol: Input(batch_shape=symbol.shape)
                for symbol in flatten(inputs)
                if not symbol.node.is_input
            }
        inputs, outputs = (
            map_structure(lambda symbol: stand_ins.get(symbol, symbol), structure)
            for structure in (inputs, outputs)
        )
        nodes, modules = sort_graph(flatten(inputs), flatten(outputs), stand_ins)
        self._name_counters = name_layers(module for module in modules if isinstance(module, Layer))
        names = {node.module: node.name for node in nodes}
        _check_graph(flatten(inputs), nodes, names.values())

        for key in self.__dict__.get("_calls", ()):
            self._modules.pop(key, None)
        self._keys = child_keys(names[module] for module in modules)
        for module in modules:
            self._modules[self._keys[names[module]]] = module
        symbols = [symbol for node in nodes for symbol in node.outputs]
        slots = {symbol: slot for slot, symbol in enumerate(symbols)}
        self._plan = make_plan(nodes, self._keys, inputs, outputs, slots, stand_ins)
        self._symbols = symbols
        self._calls = {key: [] for key in self._keys.values()}
        for node in nodes:
            self._calls[self._keys[node.name]].append(node)
        if stand_ins:
            self._link()  # calls of its own: those recorded do not start at the new inputs

    def _link(self) -> None:
        """Makes the nodes and Symbols anew from the plan and the children."""
        plan = self._plan
        self._symbols: list[Symbol | None] = [None] * len(plan.shapes)
        self._calls = {key: [] for key in self._keys.values()}
        names = {key: name for name, key in self._keys.items()}

        def call(
            key: str,
            arguments: Any,
            outputs: Sequence[int],
            training: bool | None = None,
            options: dict[str, Any] | None = None,
        ) -> None:
            arguments = map_structure(self._symbols.__getitem__, arguments)
            shapes = [plan.shapes[slot] for slot in outputs]
            node = Node(self._modules[key], arguments, shapes, training, options)
            self._calls[key].append(node)
            if isinstance(node.module, Layer) and node.module.name == names[key]:
                node.module._nodes.add(node)
            else:
                node.replace_module(node.module, names[key])
            for slot, symbol in zip(outputs, node.outputs, strict=True):
                self._symbols[slot] = symbol

        for key, slot in plan.sources:
            module = self._modules[key]
            if isinstance(module, InputLayer) and module._nodes:  # other models start there too
                self._symbols[slot] = module.output
                self._calls[key] = [self._symbols[slot].node]
            else:
                call(key, (), [slot])
        for step in plan.steps:
            call(step.key, step.arguments, step.outputs, step.training, step.options)

    def _keep_steps(self, steps: Sequence[Step], outputs: Any) -> None:
        """Goes on with some of the plan's steps, which may take other values than before.

        Args:
            steps: those that are kept, in order.
            outputs: the structure of slots that the model gives from now on.
        """
        for key, nodes in self._calls.items():
            module = self._modules[key]
            if isinstance(module, Layer) and not isinstance(module, InputLayer):
                module._nodes.discard(nodes)
        sources = self._plan.sources
        kept = [key for key, _ in sources] + [step.key for step in steps]
        self._keys = {name: key for name, key in self._keys.items() if key in kept}
        for key in self._modules.keys() - set(kept):
            del self._modules[key]
        self._plan = self._plan._replace(steps=tuple(steps), outputs=outputs)
        self._link()
        nodes = [self._symbols[slot].node for _, slot in sources]
        nodes += [self._symbols[step.outputs[0]].node for step in steps]
        inputs, outputs = self.input, self.output
        self._symbols = [symbol for symbol in self._symbols if symbol is not None]
        slots = {symbol: slot for slot, symbol in enumerate(self._symbols)}
        self._plan = make_plan(nodes, self._keys, inputs, outputs, slots, {})

    def _replace_child(self, key: str, module: nn.Module) -> None:
        """Lets models that are cut from now on use a module that has taken a layer's place."""
        name = next(name for name, layer_key in self._keys.items() if layer_key == key)
        if isinstance(module, Layer) and not module.is_named:
            module._name = name
        for node in self._calls[key]:
            node.replace_module(module, name)
        if isinstance(module, Layer):
            for node in self._calls[key]:
                module._nodes.add(node)
            self._infer_shapes()

    def _infer_shapes(self) -> None:
        """Brings the shapes of the Symbols up to date; they stay where the layers do not fit.

        Layers are built, so that optimisers and `to` find the parameters of a new one at once.
        """
        plan = self._plan
        sizes = list(plan.shapes)
        try:
            self._fill_shapes(sizes, build=True)
        except ValueError:  # as between two steps of surgery
            return
        self._plan = plan._replace(shapes=tuple(sizes))
        for symbol, shape in zip(self._symbols, sizes, strict=True):
            symbol.node.shapes[symbol.index] = shape

    def _replicate_for_data_parallel(self) -> Functional:
        replica = super()._replicate_for_data_parallel()
        replica._calls = {}  # the graph stays that of the original, whose layers are replicated too
        return replica

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, nn.Module) and name in self.__dict__.get("_calls", ()):
            self._replace_child(name, value)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        super().add_module(name, module)
        if isinstance(module, nn.Module) and name in self.__dict__.get("_calls", ()):
            self._replace_child(name, module)

    @property
    def operations(self) -> list[nn.Module]:
        """The layers and the operations between them, all that runs, in Keras's order."""
        return [self._modules[key] for key in self._keys.values()]

    @property
    def layers(self) -> list[nn.Module]:
        """The layers in Keras's order, the inputs among them.

        As in Keras, operations (`x / 255`, see `kerastorch.ops`) are not counted among the layers.
        """
        return [module for module in self.operations if not isinstance(module, Operation)]

    def get_layer(self, name: str | None = None, index: int | None = None) -> nn.Module:
        """The layer of this name, or at this index of `layers`.

        Raises:
            ValueError: there is none, or not exactly one of `name` and `index` is given.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer takes either a name or an index.")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(
                    f"{self.name} has {len(self.layers)} layers; there is no index {index}."
                )
            return self.layers[index]
        if name not in self._keys:
            raise ValueError(f"{self.name} has no layer {name!r}.{near_matches(name, self._keys)}")
        return self._modules[self._keys[name]]

    @property
    def input(self) -> Any:
        """The structure of Symbols that the model was made with."""
        return map_structure(self._symbols.__getitem__, self._plan.inputs)

    @property
    def output(self) -> Any:
        """The structure of Symbols that the model was made with."""
        return map_structure(self._symbols.__getitem__, self._plan.outputs)

    @property
    def inputs(self) -> list[Symbol]:
        """The input Symbols, flat."""
        return flatten(self.input)

    @property
    def outputs(self) -> list[Symbol]:
        """The output Symbols, flat."""
        return flatten(self.output)

    @property
    def input_names(self) -> list[str]:
        """The names of the input layers, in the order of `inputs`."""
        return [symbol.node.name for symbol in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that make the outputs, in the order of `outputs`."""
        return [symbol.node.name for symbol in self.outputs]

    @property
    def input_shape(self) -> Any:
        """Keras's shape of the input, in the structure of `input`."""
        return unpack_singleton(map_structure(lambda symbol: symbol.shape, self.input))

    @property
    def output_shape(self) -> Any:
        """Keras's shape of the output, in the structure of `output`."""
        return unpack_singleton(map_structure(lambda symbol: symbol.shape, self.output))

    # Computing

    def forward(self, inputs: Any, training: bool | None = None) -> Any:
        """Runs the plan.

        Args:
            inputs: channels-first tensors, in the structure of `self.input`; a dict by input names
                will do for any.
            training: the mode of batch normalisation and dropout, as Keras's `fit` and `predict`
                give it; None leaves it to the calls that have asked for one (`base(x,
                training=False)`), and else to `train()` and `eval()`.
        """
        plan = self._plan
        values: list[Tensor | None] = [None] * len(plan.shapes)
        for slot, value in zip(flatten(plan.inputs), self._arrange(inputs), strict=True):
            values[slot] = value
        execute(plan, self._modules, values, training)
        return unpack_singleton(map_structure(values.__getitem__, plan.outputs))

    def _arrange(self, inputs: Any) -> list:
        """The values for the inputs, flat and in order."""
        values, slots = flatten(self._structured(inputs)), flatten(self._plan.inputs)
        if len(values) != len(slots):
            raise ValueError(f"{self.name} takes {len(slots)} inputs; got {len(values)}.")
        for slot, value in zip(slots, values, strict=True):
            rank = len(self._plan.shapes[slot])
            if isinstance(value, Tensor) and value.ndim != rank:
                raise ValueError(
                    f"{self.name} takes tensors of {rank} dimensions, of which the first is the "
                    f"batch; got one of shape {tuple(value.shape)}."
                )
        return values

    def _structured(self, inputs: Any) -> Any:
        """What is given by the inputs' names, in the structure of the inputs."""
        if not isinstance(inputs, dict) or isinstance(self._plan.inputs, dict):
            return inputs
        missing = [name for name in self.input_names if name not in inputs]
        if missing:
            raise ValueError(f"{self.name} also takes the inputs {missing}.")
        return [inputs[name] for name in self.input_names]

    def feature_maps(self, *names: str, as_list: bool = False) -> FeatureExtractor:
        """The outputs of named layers as a module that runs only what they need.

        Args:
            names: the layers.
            as_list: whether it gives a list of maps, not a dict.

        Returns:
            A module with the `channels` and `strides` of its maps; see `FeatureExtractor`.
        """
        from ..features import FeatureExtractor

        return FeatureExtractor(self, *names, as_list=as_list)

    def transforms(
        self,
        training: bool = False,
        *,
        batch: bool = True,
        size: tuple[int, int] | None = None,
        mode: str | None = None,
        interpolation: str = "nearest",
    ) -> Preprocessing:
        """What turns pictures into the model's input, as it was trained.

            scores = model(model.transforms()(PIL.Image.open("elephant.jpg")))
            dataset = ImageFolder("photographs", model.transforms(training=True, batch=False))

        Args:
            training: whether pictures are cropped and flipped at random.
            batch: False for an image, not a batch of one, of one picture.
            size: height and width in pixels; None for the model's own, or, where it leaves them
                open, those of the images its application was trained on.
            mode: `"tf"`, `"torch"` or `"caffe"` (see `preprocess_input`), `"unit"` (pixels in
                [0, 1]) or `"none"` (pixels as they are); None for that of the application in the
                model, and for `"none"` where the model has a Rescaling or Normalization of its own.
            interpolation: how pictures are resized; Keras's default is `"nearest"`.

        Returns:
            A module that takes a PIL image, a tensor `(channels, height, width)` of values in
            [0, 255] or a list of them, and gives a float32 tensor `(batch, channels, height,
            width)`. See `kerastorch.applications.transforms.Preprocessing`.

        Raises:
            ValueError: the mode or the size is not known and not given, or the size does not fit
                the model.
        """
        from ..applications.transforms import transforms

        return transforms(
            self, training, batch=batch, size=size, mode=mode, interpolation=interpolation
        )

    def reset_classifier(
        self, classes: int, pooling: str | None = None, activation: Any = None
    ) -> None:
        """Puts a new classifier on the model, in place of its own if it has one.

        Args:
            classes: the number of classes.
            pooling: `"avg"` or `"max"`, to pool the last feature map in another way.
            activation: of the classifier; None for logits.

        Raises:
            ValueError: the model cannot be pooled so, has several outputs, or gives what may be
                scores already though no classifier is known in it.
        """
        from ..classifier import reset_classifier

        reset_classifier(self, classes, pooling, activation)

    def compute_output_shape(self, *shapes: Any) -> Any:
        given = flatten_shapes([self._structured(shape) for shape in shapes])
        sizes: list[Any] = [None] * len(self._plan.shapes)
        for slot, shape in zip(flatten(self._plan.inputs), given, strict=True):
            sizes[slot] = tuple(shape)
        self._fill_shapes(sizes)
        return unpack_singleton(map_structure(sizes.__getitem__, self._plan.outputs))

    def _fill_shapes(self, sizes: list[Any], build: bool = False) -> None:
        """Puts the shape of each step's results into their slots."""
        for step in self._plan.steps:
            arguments = [map_structure(sizes.__getitem__, argument) for argument in step.arguments]
            module = self._modules[step.key]
            if build and isinstance(module, Layer) and not module.built:
                module._build_once(flatten_shapes(arguments))
            results = flatten_shapes(self._shape_of_call(step, arguments))
            spend(len(results))
            for slot, shape in zip(step.outputs, results, strict=True):
                sizes[slot] = shape

    def _shape_of_call(self, step: Step, arguments: list) -> Any:
        module = adapted_layer(self._modules[step.key])
        if isinstance(module, Layer):
            return module.compute_output_shape(*arguments)
        known = [map_structure(self._plan.shapes.__getitem__, slots) for slots in step.arguments]
        if flatten_shapes(known) == flatten_shapes(arguments):
            return [self._plan.shapes[slot] for slot in step.outputs]
        with evaluation(module):
            return output_shapes(module, arguments, known, self.data_format)

    def predict(self, x: Any, batch_size: int | None = None, verbose: int | str = 0) -> Any:
        """The outputs for arrays, computed in inference mode and in batches, as Keras does.

        Args:
            x: an array in Keras's layout (for images (batch, height, width, channels) unless the
                data format is channels first), or a structure of arrays as the model's input.
            batch_size: how many samples to compute at once; None for Keras's 32.
            verbose: taken as in Keras; nothing is printed.

        Returns:
            NumPy arrays in Keras's layout, in the structure of the model's output.

        Raises:
            ValueError: an array has another shape than the model's input, or there are no samples,
                or not as many of each input.
        """
        arrays = [np.asarray(array) for array in self._arrange(x)]
        check_arrays(arrays, self.inputs)
        batch_size = batch_size or 32
        like = next(self.parameters(), torch.empty(()))
        batches = []
        with inference(self):
            for start in range(0, len(arrays[0]), batch_size):
                tensors = [
                    from_keras_layout(
                        _tensor_of(array[start : start + batch_size]).to(like), self.data_format
                    )
                    for array in arrays
                ]
                batches.append(self(tensors, training=False))
        return _concatenate(batches, self.data_format)

    # Weights and description

    def summary(
        self, expand_nested: bool = False, print_fn: Callable[[str], None] | None = None
    ) -> None:
        """Prints Keras's table of the layers: type, output shape, parameters and connections.

        Args:
            expand_nested: also list the layers of models within.
            print_fn: takes the text in place of `print`.
        """
        from .summary import summarize

        (print_fn or print)(summarize(self, expand_nested))

    def load_weights(
        self, filepath: str | PathLike, by_name: bool = False, skip_mismatch: bool = False
    ) -> LoadReport:
        """Loads the weights of a model of the same architecture.

        Args:
            filepath: a file of Keras (`.weights.h5`, `.keras` or legacy `.h5`), a `model.json` of
                TensorFlow.js, or a `.safetensors` file.
            by_name: fill the layers that stand in the file under the same name, and only those.
            skip_mismatch: leave the layers that do not fit as they are.

        Returns:
            What was loaded and what was left, which prints as a short table.

        Raises:
            KerasFileError: the file is missing or broken, or does not fit; then nothing has been
                loaded.
            ValueError: the model is not built yet.
        """
        from ..convert import load_weights

        if not self.built:
            raise _not_built(self)
        return load_weights(self, filepath, by_name, skip_mismatch)

    def save_weights(self, filepath: str | PathLike) -> None:
        """Saves the weights in a file that this package and Keras load with their `load_weights`.

        Args:
            filepath: where to, ending in `.weights.h5` (Keras 3), `.h5` (the legacy format, which
                Keras 2 reads too) or `.safetensors` (with what rebuilds the model in the header).
                A file there is replaced when the new one is complete.

        Raises:
            ValueError: the name has another ending, Keras has nothing for some modules in the model
                (which are all named), or the model is not built yet.
            OSError: the file cannot be written.
        """
        from ..convert import save_weights

        if not self.built:
            raise _not_built(self)
        save_weights(self, filepath)

    def save(self, filepath: str | PathLike) -> None:
        """Saves the whole model in a file that this package and Keras open with `load_model`.

        Modules of torch in a layer's place are written as the Keras layer that does the same.

        Args:
            filepath: where to, ending in `.keras`, `.h5` (the legacy format, as Keras 3 writes it)
                or `.safetensors` (which Keras does not open). A file there is replaced when the new
                one is complete.

        Raises:
            ValueError: the name has another ending, Keras has nothing for some modules in the model
                (which are all named), or the model is not built yet.
            OSError: the file cannot be written.
        """
        from ..convert import save_model

        if not self.built:
            raise _not_built(self)
        save_model(self, filepath)

    def get_config(self) -> dict[str, Any]:
        """Keras's config of the model: layers, calls, inputs and outputs, as plain data."""
        from ..convert.config import functional_config

        return functional_config(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Functional:
        """The model of a config from `get_config`, or of Keras's own."""
        from ..convert.config import functional_from_config

        return functional_from_config(config)

    # State

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_symbols": [], "_calls": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._link()


Model = Functional  # what users call it; `type(model).__name__` is Keras's


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a `with` block, and no gradients."""
    with evaluation(model), torch.inference_mode():
        yield


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a `with` block; each module has its own mode again at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check_symbols(structure: Any) -> None:
    for leaf in flatten(structure):
        if not isinstance(leaf, Symbol):
            raise ValueError(
                "A Model's inputs and outputs are Symbols, from Input and from layers called on "
                f"Symbols; got {type(leaf).__name__}."
            )


def _data_format_of(inputs: Any) -> str | None:
    """That of the layers which give the inputs, so that what is cut from a model has its own."""
    modules = [leaf.node.module for leaf in flatten(inputs) if isinstance(leaf, Symbol)]
    return next((module.data_format for module in modules if isinstance(module, Layer)), None)


def _check_graph(inputs: list[Symbol], nodes: list[Node], names: Iterable[str]) -> None:
    given = {symbol.node for symbol in inputs}
    missing = [node.name for node in nodes if node.is_input and node not in given]
    if missing:
        raise ValueError(f"The outputs also depend on inputs that are not given: {missing}.")
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(f"Layer names must be unique in a model; used more than once: {repeated}.")


def unpack_singleton(structure: Any) -> Any:
    """The only item of a list, as Keras gives outputs."""
    if isinstance(structure, list) and len(structure) == 1:
        return structure[0]
    return structure


def check_arrays(arrays: list[np.ndarray], symbols: list[Symbol]) -> None:
    """Raises `ValueError` for arrays that inputs do not take, or that are not as many samples."""
    for array, symbol in zip(arrays, symbols, strict=True):
        fits = array.ndim == symbol.ndim and all(
            size is None or size == given
            for size, given in zip(symbol.shape[1:], array.shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"Input {symbol.node.name!r} takes arrays of shape {symbol.shape}; "
                f"got {array.shape}."
            )
    counts = [len(array) for array in arrays]
    if len(set(counts)) > 1 or not counts[0]:
        raise ValueError(f"There must be as many samples of each input, and some; got {counts}.")


def _tensor_of(array: np.ndarray) -> Tensor:
    """The tensor of any array, also one that is reversed, read-only or of another byte order."""
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))


def _concatenate(batches: list, data_format: str) -> Any:
    """The outputs of the batches as whole NumPy arrays in Keras's layout."""
    if isinstance(batches[0], dict):
        return {
            key: _concatenate([batch[key] for batch in batches], data_format) for key in batches[0]
        }
    if isinstance(batches[0], list | tuple):
        return [_concatenate(list(part), data_format) for part in zip(*batches, strict=True)]
    whole = torch.cat([to_keras_layout(batch, data_format) for batch in batches]).cpu()
    return (whole.float() if whole.dtype == torch.bfloat16 else whole).numpy()
