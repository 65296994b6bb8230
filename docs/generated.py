"""What the pages take from the program itself, so that it cannot go stale.

A page names one of `PARTS` in a comment of its own line, `<!-- generated: models -->`.
"""

import argparse
import inspect
import os
import re
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType

import kerastorch
from kerastorch import cli
from kerastorch.applications.registry import ModelRecord, get_record
from kerastorch.applications.transforms import MODES_IN_WORDS
from kerastorch.cli.listing import published_rows
from kerastorch.cli.tables import markdown_table


def fill_in(app, docname: str, source: list[str]) -> None:
    """Puts the parts that a page names in the place of the comments."""
    comment = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
    source[0] = comment.sub(lambda found: PARTS[found[1]](), source[0])


def models() -> str:
    return "{.figures}\n" + markdown_table(published_rows())


def families() -> str:
    """A section for each paper."""
    records = [get_record(name) for name in kerastorch.list_models()]
    records.sort(key=lambda record: (record.constructor.__module__, record.params))
    papers = dict.fromkeys(record.paper for record in records)
    return "\n\n".join(_family([r for r in records if r.paper == paper]) for paper in papers)


def _family(records: list[ModelRecord]) -> str:
    first = records[0]
    modules = dict.fromkeys(f"`{record.module}`" for record in records)
    pixels = {f"{record.default_size} x {record.default_size}" for record in records}
    lines = [
        f"## {', '.join(record.keras_name for record in records)}",
        ", ".join(f"`{record.name}`" for record in records)
        + " in PyTorch's terms; in Keras's "
        + ", ".join(f"{{py:func}}`~kerastorch.applications.{r.keras_name}`" for r in records)
        + f". `preprocess_input` and `decode_predictions` are in {', '.join(modules)}.",
        f"- Paper: {first.citation} <{first.paper}>",
        f"- Licence of the weights: {first.weights_licence}",
        f"- Images: {' or '.join(sorted(pixels))} pixels, at least "
        f"{first.min_size} x {first.min_size}",
        f"- Pixels: {MODES_IN_WORDS[first.preprocessing]} (mode `{first.preprocessing}`)",
    ]
    if first.own_preprocessing:
        own = dict.fromkeys(MODES_IN_WORDS[record.own_preprocessing] for record in records)
        lines[-1] += f"; the model makes of them: {', or '.join(own)}"
    alphas = sorted({file.alpha for r in records for file in r.weights if file.alpha})
    sizes = sorted({size for record in records for size in record.weights_sizes})
    variants = [
        f"`alpha` {', '.join(map(str, alphas))}" if alphas else "",
        f"images of {', '.join(map(str, sizes))} pixels" if sizes else "",
        "minimalistic models" if any(f.minimalistic for r in records for f in r.weights) else "",
    ]
    if any(variants):
        lines.append(f"- Published for {' and '.join(filter(None, variants))}")
    return f"{lines[0]}\n\n{lines[1]}\n\n" + "\n".join(lines[2:])


def constructors() -> str:
    """With the values of defaults, which are variables in functions that make constructors."""
    constructors = [get_record(name).constructor for name in kerastorch.list_models()]
    return "".join(
        _rst(
            f".. autofunction:: kerastorch.applications.{one.__name__}{inspect.signature(one)}"
            for one in constructors
        )
    )


def layers() -> str:
    return _by_module(kerastorch.layers, _LAYERS_OF_THE_ENGINE)


def operations() -> str:
    return _by_module(kerastorch.ops, {"Operation"})


_LAYERS_OF_THE_ENGINE = {"Input", "InputLayer", "Layer"}


def _by_module(package: ModuleType, without: set[str]) -> str:
    """A section for each module of a package, with the classes that the package gives."""
    classes = [getattr(package, name) for name in package.__all__ if name not in without]
    return "\n\n".join(
        _module_section(module, [cls for cls in classes if cls.__module__ == module.__name__])
        for module in vars(package).values()
        if isinstance(module, ModuleType) and any(c.__module__ == module.__name__ for c in classes)
    )


def _module_section(module: ModuleType, classes: list[type]) -> str:
    """The classes in their order there; those without a docstring by name alone."""
    classes = sorted(classes, key=list(vars(module).values()).index)
    plain = ", ".join(f"`{cls.__name__}`" for cls in classes if not cls.__doc__)
    told = (f".. autoclass:: {_public(cls)}" for cls in classes if cls.__doc__)
    title = module.__doc__.partition("\n")[0].partition(":")[0].rstrip(".")
    parts = [f"## {title}", f"As in Keras: {plain}." if plain else "", *_rst(told)]
    return "\n\n".join(filter(None, parts))


def _public(cls: type) -> str:
    return f"{cls.__module__.rpartition('.')[0]}.{cls.__name__}"


def _rst(directives: Iterable[str]) -> list[str]:
    text = "\n\n".join(directives)
    return [f"```{{eval-rst}}\n{text}\n```"] if text else []


def command_line() -> str:
    """The help of each command, as it prints it."""
    os.environ["COLUMNS"] = "88"  # whatever the terminal of the build
    sections = []
    for name, parser in _commands(cli.parser()):
        help_text = parser.format_help().rstrip()
        sections.append(f"## {name}\n\n```text\n{help_text}\n```")
    return "\n\n".join(sections)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The commands that do something, each by its whole name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _commands(command)
            return
    yield parser.prog, parser


PARTS: dict[str, Callable[[], str]] = {
    "constructors": constructors,
    "models": models,
    "layers": layers,
    "operations": operations,
    "families": families,
    "command_line": command_line,
}


def mark_examples(app, kind: str, name: str, obj, options, lines: list[str]) -> None:
    """Makes an indented block behind a blank line, outside of sections, a block of code.

    That is how docstrings are read in a terminal; reStructuredText wants it marked.
    """
    marked, before = [], ""
    is_in_block = False
    for number, line in enumerate(lines):
        if line.strip():
            indented = line.startswith("    ")
            follows_blank = number > 0 and not lines[number - 1].strip()
            if indented and follows_blank and not is_in_block and not before.endswith("::"):
                marked += ["::", ""]
            is_in_block = indented
            before = line if not indented else before
        marked.append(line)
    lines[:] = marked
