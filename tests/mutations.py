"""Seeded mutations of small valid files: each gives a right model or a `KerasFileError`.

`python -m tests.mutations 50000 --seed 0` prints a table of what came of them, and of each failure
the number that makes it again (`--only NUMBER`). What a model from a mutated file must be:

- from `.keras`, whose checksums cover every byte of the model, the model of the whole file;
- else one whose weights lie in the mutated file, byte for byte, that runs, and whose config makes
  a model of the same weights again.

A failed load must leave the model that was to be filled as it was.
"""

import argparse
import contextlib
import copy
import io
import json
import os
import resource
import runpy
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

SECONDS = 10  # for a file
MEMORY = 2**31  # bytes above what the imports take, for all threads and torch's own
ROOT = Path(__file__).resolve().parents[1]
PARSER = ROOT / "convert" / "parser.py"


@dataclass(frozen=True)
class Original:
    """A valid file, or a folder of several.

    Attributes:
        name: of the format and its writer.
        files: what each file holds.
        opened: which of them is opened.
        builder: of the model that a file of weights fills; None for a whole model.
        members: whether it is taken apart, and put together again after a part was mutated.
    """

    name: str
    files: dict[str, bytes]
    opened: str
    builder: str | None = None
    members: bool = False


# Originals


def write_originals(folder: Path) -> None:
    """Has the real writers write the files, each in a folder named after it."""
    from tests.oracle.client import Oracle  # no part of the process that is measured

    def place(name: str) -> str:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        return str(folder / name)

    with Oracle("keras_side") as keras:
        for builder in ("poolings", "reshapings", "arithmetic", "normalisations", "sequential"):
            keras.ask("build", builder=builder, arguments={}, floatx="float32")
            keras.ask("save", path=place(f"{builder} config/model.keras"))
        keras.ask("build", builder="nested", arguments={}, floatx="float32")
        keras.ask("save", path=place("keras 3 archive/model.keras"))
        keras.ask("save", path=place("keras 3 weights/model.weights.h5"))
        keras.ask("save", path=place("keras 3 legacy/model.h5"))
        keras.ask("save", path=place("keras 3 legacy weights/model.h5"), weights_only=True)
    with Oracle("tensorflowjs_side") as keras:
        keras.ask("build", builder="nested", arguments={}, floatx="float32")
        keras.ask("save", path=place("keras 2 archive/model.keras"))
        keras.ask("save", path=place("keras 2 legacy/model.h5"))
        keras.ask("save", path=place("keras 2 legacy weights/model.h5"), weights_only=True)
        for quantization in (None, "uint8"):
            target = Path(place(f"tensorflow.js {quantization or 'plain'}/model.json"))
            keras.ask(
                "save_tensorflowjs",
                folder=str(target.parent),
                quantization=quantization,
                shard_bytes=4096,
            )
    for name in ("keras 3 legacy", "keras 3 weights"):
        (source,) = (folder / name).iterdir()
        pack(source, Path(place(f"{name} packed/{source.name}")))
    archive = folder / "keras 3 archive" / "model.keras"
    members = parts_of(archive.name, archive.read_bytes())
    Path(place("keras 3 deflated/model.keras")).write_bytes(zipped(members, zipfile.ZIP_DEFLATED))
    target = place("safetensors/model.safetensors")
    convert = [sys.executable, "-m", "kerastorch", "convert", archive, "-o", target]
    subprocess.run(convert, cwd=ROOT, check=True)


def pack(source: Path, target: Path) -> None:
    """The same file with its arrays compressed, in pieces, with every filter that is known."""
    filters = [
        {"compression": "gzip", "shuffle": True},
        {"compression": "lzf"},
        {"fletcher32": True},
        {},
    ]
    with h5py.File(source) as old, h5py.File(target, "w") as new:

        def copy_item(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                chunks = tuple(max(1, size // 2) for size in item.shape) or None
                options = filters[len(name) % len(filters)] if chunks else {}
                new.create_dataset(name, data=item[()], chunks=chunks, **options)
            else:
                new.require_group(name).attrs.update(item.attrs)

        new.attrs.update(old.attrs)
        old.visititems(copy_item)


def parts_of(name: str, data: bytes) -> dict[str, bytes]:
    """What a mutation can change of an archive or of `.safetensors` without breaking all."""
    if name.endswith(".keras"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    (length,) = struct.unpack_from("<Q", data)
    header, data = json.loads(data[8 : 8 + length]), data[8 + length :]
    model = header["__metadata__"].pop("kerastorch")
    return {"header.json": json.dumps(header).encode(), "model.json": model.encode(), "data": data}


def together(name: str, parts: dict[str, bytes]) -> bytes:
    if name.endswith(".keras"):
        return zipped(parts)
    header = parts["header.json"]
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
        content = json.loads(header)  # else it is too broken to hold the model's config
        content["__metadata__"]["kerastorch"] = parts["model.json"].decode(errors="replace")
        header = json.dumps(content).encode()
    return struct.pack("<Q", len(header)) + header + parts["data"]


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read_originals(folder: Path) -> list[Original]:
    originals = []
    for place in sorted(folder.iterdir()):
        files = {path.name: path.read_bytes() for path in sorted(place.iterdir())}
        opened = "model.json" if "model.json" in files else next(iter(files))
        builder = "nested" if "weights" in place.name else None
        if not place.name.endswith("config"):
            originals.append(Original(place.name, files, opened, builder))
        if opened.endswith((".keras", ".safetensors")) and "deflated" not in place.name:
            name = f"{place.name}, inside"
            originals.append(Original(name, files, opened, members=True))
    return originals


# Mutations


Bytes = bytearray
Random = np.random.Generator


def flip(data: Bytes, random: Random) -> None:
    for _ in range(random.integers(1, 9)):
        data[random.integers(len(data))] ^= 1 << random.integers(8)


def change(data: Bytes, random: Random) -> None:
    for _ in range(random.integers(1, 9)):
        data[random.integers(len(data))] = random.choice(
            [0, 1, 0x7F, 0x80, 0xFF, random.integers(256)]
        )


def truncate(data: Bytes, random: Random) -> None:
    del data[random.integers(len(data)) :]


def stretch(data: Bytes, random: Random) -> slice:
    start = int(random.integers(len(data)))
    return slice(start, start + int(2 ** random.uniform(0, 12)))


def splice(data: Bytes, random: Random) -> None:
    source, target = stretch(data, random), int(random.integers(len(data)))
    piece = data[source]
    data[target : target + len(piece)] = piece


def swap(data: Bytes, random: Random) -> None:
    size = int(2 ** random.uniform(0, 10))
    first, second = sorted(int(random.integers(max(1, len(data) - size))) for _ in range(2))
    if second - first >= size:
        one, other = data[first : first + size], data[second : second + size]
        data[first : first + size], data[second : second + size] = other, one


def insert(data: Bytes, random: Random) -> None:
    place = int(random.integers(len(data)))
    data[place:place] = random.bytes(int(2 ** random.uniform(0, 10)))


def delete(data: Bytes, random: Random) -> None:
    del data[stretch(data, random)]


def zero(data: Bytes, random: Random) -> None:
    place = stretch(data, random)
    data[place] = bytes(len(data[place]))


def enlarge(data: Bytes, random: Random) -> None:
    """A number of 2, 4 or 8 bytes becomes one at a limit."""
    width = int(random.choice([2, 4, 8]))
    place = int(random.integers(max(1, len(data) - width)))
    top = 2 ** (8 * width)
    value = [0, 1, top // 2 - 1, top // 2, top - 1][random.integers(5)]
    data[place : place + width] = value.to_bytes(width, "little")


BYTE_MUTATIONS = [flip, change, truncate, splice, swap, insert, delete, zero, enlarge]
VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 2**31, 2**63, 10**18, 10**30, 0.5, -1e308, 1e400,
    float("nan"), "", "same", "x" * 300, "../a", "Lambda", "float16", "channels_first", "axis",
    [], [1], [0, 0], [-1, -1], [1, 2, 3], [[1, 1], [1, 1]], [None], [None, 1], {},
    {"class_name": "Dense"},
    {"class_name": "__keras_tensor__", "config": {}}, ["input", 0, 0],
]  # fmt: skip


def change_value(data: Bytes, random: Random) -> None:
    """Another value, key or order somewhere in a JSON text."""
    content = json.loads(data)
    places = list(places_in(content))
    for _ in range(random.integers(1, 4)):
        parent, key = places[random.integers(len(places))]
        other, other_key = places[random.integers(len(places))]
        with contextlib.suppress(LookupError):  # a mutation before has taken it away
            match random.integers(5):
                case 0:
                    del parent[key]
                case 1:
                    parent[key] = copy.deepcopy(other[other_key])
                case 2 if isinstance(parent, list):
                    parent.insert(key, copy.deepcopy(parent[key]))
                case _:
                    parent[key] = VALUES[random.integers(len(VALUES))]
    data[:] = json.dumps(content).encode()


def places_in(content: object) -> Iterator[tuple]:
    keys = range(len(content)) if isinstance(content, list) else list(content)
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list):
            yield from places_in(content[key])


def mutated(original: Original, random: Random) -> tuple[str, dict[str, bytes]]:
    """The kind of the mutation, and the files."""
    files = dict(original.files)
    if original.members:
        files = parts_of(original.opened, files[original.opened])
    weights = np.array(
        [4.0 if name == "model.weights.h5" or "config" in name else 1 for name in files]
    )
    if not original.members:
        weights[:] = 1
    name = list(files)[random.choice(len(files), p=weights / weights.sum())]
    data = bytearray(files[name])
    is_json = name.endswith(".json")
    mutation: Callable = BYTE_MUTATIONS[random.integers(len(BYTE_MUTATIONS))]
    if is_json and random.random() < 0.7:
        mutation = change_value
    mutation(data, random)
    files[name] = bytes(data)
    if original.members:
        files = {original.opened: together(original.opened, files)}
    return mutation.__name__, files


# The parser without the cost of starting it


class Zygote:
    """A process that has imported the parser and becomes it, in a child, for file after file.

    Instead of `unverified._run_parser`: the same parser under the same limits.
    """

    def __init__(self):
        self.socket, theirs = socket.socketpair()
        self.peak = 0  # bytes, of the hungriest child
        if os.fork() == 0:
            self.socket.close()
            try:
                serve_parsers(theirs)
            finally:
                os._exit(0)
        theirs.close()

    def run_parser(self, file, output, seconds: int) -> None:
        from kerastorch.convert.errors import KerasFileError

        # Answers for this file alone: one that is given up leaves none for the next.
        answers, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as errors, answers:
            descriptors = [file.fileno(), output.fileno(), errors.fileno(), theirs.fileno()]
            socket.send_fds(self.socket, [str(seconds).encode()], descriptors)
            theirs.close()
            pid = int(answers.recv(20))
            answers.settimeout(seconds)
            try:
                answer = answers.recv(40)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                if not isinstance(error, TimeoutError):
                    raise
                raise KerasFileError(
                    f"The file is refused: reading it takes more than {seconds} seconds."
                ) from None
            status, peak = map(int, answer.split())
            self.peak = max(self.peak, peak * 1024)
            code = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            if code < 0:
                raise KerasFileError(
                    f"The file is refused: it made the process that read it crash (signal {-code})."
                )
            if code:
                raise KerasFileError(
                    f"The process that reads files failed: {errors.read().decode()[-500:]}"
                )


def serve_parsers(pipe: socket.socket) -> None:
    parser = runpy.run_path(str(PARSER))
    while True:
        message, descriptors, _, _ = socket.recv_fds(pipe, 20, 4)
        if not message:
            return
        answers = socket.socket(fileno=descriptors.pop())
        pid = os.fork()
        if pid == 0:
            for number, descriptor in enumerate(descriptors):
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.dup2(descriptor, number)
            try:
                parser["main"](int(message))
            except BaseException:
                os.write(2, traceback.format_exc().encode())
                os._exit(1)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        with answers, contextlib.suppress(BrokenPipeError):  # the file was given up
            answers.send(str(pid).encode().ljust(20))
            _, status, usage = os.wait4(pid, 0)
            answers.send(f"{status} {usage.ru_maxrss}".encode().ljust(40))


# Trying files


class Hang(BaseException):
    """A file takes too long."""


class Wrong(Exception):
    """A model is not what the file says."""


class Trial:
    """Opens mutated files and judges what comes of them."""

    def __init__(self, originals: list[Original]):
        import torch

        import kerastorch

        torch.set_num_threads(1)
        self.kerastorch, self.torch = kerastorch, torch
        self.folder = Path(tempfile.mkdtemp(prefix="mutations"))
        self.originals = originals
        self.whole = [self._open_whole(original) for original in originals]

    def close(self) -> None:
        shutil.rmtree(self.folder)

    def _write(self, files: dict[str, bytes]) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        for name, data in files.items():
            (self.folder / name).write_bytes(data)

    def _open_whole(self, original: Original):
        from tests import builders

        self._write(original.files)
        path = self.folder / original.opened
        if original.builder is None:
            return self.kerastorch.load_model(path)
        model = getattr(builders, original.builder)(self.kerastorch)
        model.load_weights(path)
        return model

    def run(self, number: int, seed: int) -> tuple[str, str]:
        """The name of the file and what came of its mutation: `refused`, `right` or a failure."""
        original = self.originals[number % len(self.originals)]
        whole = self.whole[number % len(self.originals)]
        kind, files = mutated(original, np.random.default_rng([seed, number]))
        self._write(files)
        is_exact = original.opened.endswith(".keras") and not original.members
        path = self.folder / original.opened
        signal.alarm(SECONDS)
        try:
            outcome = self._try(original, whole, path, files, is_exact)
        except Hang:
            outcome = "failed: it hangs"
        except Exception:
            outcome = f"failed: {traceback.format_exc()}"
        finally:
            signal.alarm(0)
        return original.name, f"{outcome} ({kind})" if "failed" in outcome else outcome

    def _try(self, original, whole, path, files, is_exact) -> str:
        from kerastorch.convert import KerasFileError

        before = None if original.builder is None else self._copy(whole)
        try:
            if original.builder is None:
                model = self.kerastorch.load_model(path)
            else:
                whole.load_weights(path)
                model = whole
        except KerasFileError as error:
            if "process that reads files failed" in error.reason:
                raise Wrong(error.reason) from error
            if error.path is None or error.path.parent != path.parent:
                raise Wrong(f"the error does not name the file: {error}") from error
            if before is not None and not self._same(before, whole.state_dict()):
                raise Wrong("a failed load has changed the model") from error
            return "refused"
        try:
            self._judge(model, whole, original, files, is_exact)
        finally:
            if before is not None:
                whole.load_state_dict(before)
        return "right"

    def _copy(self, model) -> dict:
        return {key: tensor.clone() for key, tensor in model.state_dict().items()}

    def _same(self, state: dict, other: dict) -> bool:
        return state.keys() == other.keys() and all(
            tensor.dtype == other[key].dtype
            and tensor.numpy().tobytes() == other[key].numpy().tobytes()
            for key, tensor in state.items()
        )

    def _judge(
        self, model, whole, original: Original, files: dict[str, bytes], is_exact: bool
    ) -> None:
        if is_exact:
            if model.get_config() != whole.get_config():
                raise Wrong("the config is not the file's")
            if not self._same(model.state_dict(), whole.state_dict()):
                raise Wrong("the weights are not the file's")
        elif "packed" not in original.name and "uint8" not in original.name:
            data = b"".join(files.values())
            is_torch = original.opened.endswith(".safetensors")
            for key, array in tensors_of(model) if is_torch else arrays_of(model):
                if not lies_in(array, data):
                    raise Wrong(f"the file does not have the values of {key}")
        if original.builder is None:
            again = self._rebuilt(model)
            shapes, expected = (
                {k: t.shape for k, t in m.state_dict().items()} for m in (again, model)
            )
            if shapes != expected:
                raise Wrong(f"the config makes another model: {shapes} instead of {expected}")
        self._run_model(model)

    def _rebuilt(self, model):
        from kerastorch.convert.config import model_config, model_from_config

        with self.torch.device("meta"):
            return model_from_config(json.loads(json.dumps(model_config(model))))

    def _run_model(self, model) -> None:
        if any(size(shape) > 10**6 for shape in shapes_within(model)):
            return  # As the config says; it would take long.
        dtypes = {p.dtype for p in model.parameters()}
        if len(dtypes) > 1 or not all(dtype.is_floating_point for dtype in dtypes):
            return  # Weights of a type that torch has no convolution for.
        inputs = [
            np.ones([1, *(extent or 13 for extent in symbol.shape[1:])], np.float32)
            for symbol in model.inputs
        ]
        try:
            model.to(self.torch.float32).predict(inputs)
        except (RuntimeError, IndexError) as error:
            # As in Keras, sizes that are left open, the batch's among them, can turn out not to
            # fit in the run.
            is_open = any(None in shape[1:] for shape in shapes_within(model))
            if not is_open and not isinstance(error, IndexError):
                raise


def arrays_of(model) -> Iterator[tuple[str, np.ndarray]]:
    """The weights in Keras's layout."""
    from kerastorch.convert.matching import layers_by_path, tensor_of
    from kerastorch.convert.rules import rules_for

    for layer in layers_by_path(model).values():
        for rule in rules_for(layer):
            yield (
                f"{layer.name}.{rule.key}",
                rule.to_keras(tensor_of(layer, rule.key)).detach().numpy(),
            )


def tensors_of(model) -> Iterator[tuple[str, np.ndarray]]:
    for key, tensor in model.state_dict().items():
        yield key, tensor.numpy()


KINDS = ("f4", "f2", "f8", "i4", "u4", "i2", "u2", "i1", "u1", "i8", "u8")


def lies_in(array: np.ndarray, data: bytes) -> bool:
    """Whether the data have an array's values, in either order of bytes and in any type.

    Arrays of one value may be HDF5's fill value, which the file does not spell out.
    """
    if array.size < 2 or len(np.unique(array)) == 1:
        return True
    kinds = [
        order + kind for kind in dict.fromkeys((array.dtype.str[1:], *KINDS)) for order in "<>"
    ]
    with np.errstate(all="ignore"):
        return any(lies_exactly(array, data, np.dtype(kind)) for kind in kinds) or any(
            lies_rounded(array, data, np.dtype(kind)) for kind in kinds
        )


def lies_exactly(array: np.ndarray, data: bytes, dtype: np.dtype) -> bool:
    cast = array.astype(dtype)
    return (
        np.array_equal(cast.astype(array.dtype), array, equal_nan=True) and cast.tobytes() in data
    )


def lies_rounded(array: np.ndarray, data: bytes, dtype: np.dtype) -> bool:
    """Whether there are numbers of a wider type that the array's type rounds to its values."""
    wanted = array.tobytes()
    return any(
        wanted in np.frombuffer(data, dtype, count, start).astype(array.dtype).tobytes()
        for start in range(dtype.itemsize)
        if (count := (len(data) - start) // dtype.itemsize) > 0
    )


def shapes_within(model) -> Iterator[tuple]:
    from kerastorch.engine import Model

    for module in model.modules():
        if isinstance(module, Model):
            yield from module._plan.shapes


def size(shape: tuple) -> int:
    return int(np.prod([extent or 13 for extent in shape[1:]], dtype=object))


# The command


def run_trials(folder: Path, shares: range, seed: int, launcher: bool, seconds: float) -> None:
    """Tries mutations by their numbers and writes a line of JSON for each."""
    end = time.monotonic() + seconds
    zygote = None if launcher else Zygote()  # before torch is there: its children stay small
    from kerastorch.convert import unverified

    if zygote:
        unverified._run_parser = zygote.run_parser

    def hang(*_) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, hang)
    trial = Trial(read_originals(folder))
    with open("/proc/self/statm") as status:
        now = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    start = memory()
    try:
        for number in shares:
            if time.monotonic() > end:
                break
            print(json.dumps({"starts": number}), flush=True)
            name, outcome = trial.run(number, seed)
            print(json.dumps({"number": number, "name": name, "outcome": outcome}), flush=True)
        peaks = {"opener": memory() - start, "parser": zygote.peak if zygote else 0}
        print(json.dumps({"peaks": peaks}), flush=True)
    finally:
        trial.close()


def memory() -> int:
    """The most bytes that this process has had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_all(folder: Path, count: int, jobs: int, seed: int, launcher: bool, seconds: float) -> bool:
    """Tries mutations in processes of their own, and prints what came of them."""
    started = time.monotonic()
    command = [sys.executable, "-m", "tests.mutations", str(count), "--seed", str(seed)]
    command += ["--originals", str(folder), "--seconds", str(seconds)]
    command += ["--launcher"] * launcher
    processes = [
        subprocess.Popen(
            [*command, "--share", f"{job}/{jobs}"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for job in range(jobs)
    ]
    outcomes: dict[str, Counter] = {}
    failures: dict[int, str] = {}
    for process in processes:
        current = None
        for line in process.stdout:
            record = json.loads(line)
            if "starts" in record:
                current = record["starts"]
            elif "peaks" in record:
                peaks = ", ".join(f"{k} {v >> 20} MB" for k, v in record["peaks"].items())
                print(f"memory above the imports: {peaks}")
            else:
                kind = record["outcome"].partition(":")[0]
                outcomes.setdefault(record["name"], Counter())[kind] += 1
                if kind == "failed":
                    failures[record["number"]] = record["outcome"]
        if process.wait():
            failures[current] = f"failed: the process ended with {process.returncode}"
    print(f"{'file':32}{'refused':>10}{'right':>10}{'failed':>10}")
    for name, counter in sorted(outcomes.items()):
        print(f"{name:32}" + "".join(f"{counter[k]:10,}" for k in ("refused", "right", "failed")))
    total = sum(outcomes.values(), Counter())
    print(f"{'all':32}" + "".join(f"{total[k]:10,}" for k in ("refused", "right", "failed")))
    print(f"{total.total():,} mutations of seed {seed} in {time.monotonic() - started:.0f} s")
    for number, failure in sorted(failures.items()):
        print(f"--only {number} --seed {seed}: {failure}")
    return not failures and (total.total() == count or seconds < float("inf"))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("count", type=int)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--originals", type=Path, help="where they are, or are to be written")
    arguments.add_argument("--launcher", action="store_true", help="start the parser as users do")
    arguments.add_argument("--only", type=int, help="the number of one mutation")
    arguments.add_argument("--seconds", type=float, help="stop then", default=float("inf"))
    arguments.add_argument("--share", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.originals or Path(scratch)
        if not folder.is_dir() or not any(folder.iterdir()):
            write_originals(folder)
        how = (options.seed, options.launcher, options.seconds)
        if options.only is not None:
            number = options.only
            run_trials(folder, range(number, number + 1), *how)
        elif options.share:
            first, step = map(int, options.share.split("/"))
            run_trials(folder, range(first, options.count, step), *how)
        elif not run_all(folder, options.count, options.jobs, *how):
            sys.exit(1)


if __name__ == "__main__":
    main()
