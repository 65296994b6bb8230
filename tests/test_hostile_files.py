"""Files made to hurt are refused, within ten seconds and 300 MB, and nothing in them is run."""

import io
import json
import os
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from kerastorch.convert import KerasFileError, unverified
from tests.oracle.client import ROOT

SECONDS = 10
MEGABYTES = 300
# Opens the files that it is told of, one by one, as a user's program would.
OPENER = """
import json, sys, time
import kerastorch, kerastorch.convert
def status(key):
    return int(open("/proc/self/status").read().partition(key + ":")[2].split()[0]) / 1024
for line in sys.stdin:
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
    before, start = status("VmRSS"), time.perf_counter()
    try:
        answer = ["opened", type(kerastorch.load_model(json.loads(line))).__name__]
    except Exception as error:
        answer = [type(error).__mro__[0].__name__, str(error)]
    print(json.dumps([*answer, time.perf_counter() - start, status("VmHWM") - before]))
    sys.stdout.flush()
"""


# A small process around the one that parses, whose peak memory it is then told.
PARSE = """
import resource, subprocess, sys, tempfile
parser, path = sys.argv[1:]
with open(path, "rb") as file, tempfile.TemporaryFile() as output:
    subprocess.run([sys.executable, parser, "10"], stdin=file, stdout=output)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


class Opener:
    """A process that opens files; a crash of it would be seen."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", OPENER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def open(self, path):
        print(json.dumps(str(path)), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, f"the process has died with {self.process.wait()}"
        return json.loads(answer)


@pytest.fixture(scope="module")
def opener():
    opener = Opener()
    yield opener
    opener.process.stdin.close()
    opener.process.wait(timeout=60)


def memory_of_parser(path):
    """The peak in MB, with what Python, NumPy and h5py take."""
    command = [sys.executable, "-c", PARSE, unverified.PARSER, path]
    return float(subprocess.check_output(command))


@pytest.fixture(scope="module")
def originals(oracle, tmp_path_factory):
    """What Keras writes of a small model: a folder with `whole.keras` and `whole.h5`."""
    folder = tmp_path_factory.mktemp("originals")
    arguments = {"classes": 3, "names": ("stem", "norm", "features", "head")}
    oracle.ask("build", builder="with_head", arguments=arguments)
    for name in ("whole.keras", "whole.h5"):
        oracle.ask("save", path=str(folder / name))
    return folder


@pytest.fixture(scope="module")
def usual_memory(originals):
    return memory_of_parser(originals / "whole.keras")


# Whole `.h5` files


def changed_h5(change):
    def make(path, originals):
        path.write_bytes((originals / "whole.h5").read_bytes())
        with h5py.File(path, "r+") as file:
            change(file, file["model_weights/stem"], path)

    return make


def kernel_of(group):
    return next(name for name in group.attrs["weight_names"] if b"kernel" in name_of(name))


def name_of(name):
    return name if isinstance(name, bytes) else name.encode()


def replaced(group, **arguments):
    name = kernel_of(group)
    del group[name]
    return group.create_dataset(name, **arguments)


def external_link(file, group, path):
    group["more"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file, group, path):
    group["more"] = h5py.SoftLink("/model_weights/head")


def hard_link_cycle(file, group, path):
    group["again"] = file["model_weights"]


def external_storage(file, group, path):
    secret = path.with_name("secret")
    secret.write_bytes(bytes(3 * 3 * 3 * 4 * 8))
    name = kernel_of(group)
    del group[name]
    group.create_dataset(name, (3, 3, 3, 4), "f8", external=[(str(secret), 0, 864)])


def virtual_dataset(file, group, path):
    layout = h5py.VirtualLayout((3, 3, 3, 4), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (3, 3, 3, 4))
    name = kernel_of(group)
    del group[name]
    group.create_virtual_dataset(name, layout)


def unallocated_shape(file, group, path):
    replaced(group, shape=(1 << 20, 1 << 20), dtype="f8")


def unallocated_chunks(file, group, path):
    replaced(group, shape=(1 << 30, 1 << 10), dtype="f4", chunks=(64, 64), fillvalue=1)


def compressed_zeros(file, group, path):
    replaced(group, data=np.zeros((1 << 14, 1 << 12), "f4"), chunks=True, compression="gzip")


def one_huge_chunk(file, group, path):
    chunks = (1 << 14, 1 << 13)
    space = h5py.h5s.create_simple(chunks)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(chunks)
    properties.set_deflate(1)
    name = kernel_of(group)
    del group[name]
    h5py.h5d.create(group.id, name_of(name), h5py.h5t.NATIVE_FLOAT, space, properties)


def pickled_objects(file, group, path):
    replaced(
        group, data=[b"cos\nsystem\n(S'touch canary'\ntR."], dtype=h5py.special_dtype(vlen=bytes)
    )


def opaque_numbers(file, group, path):
    replaced(group, data=np.zeros((3, 3, 3, 4), "V8"))


def references(file, group, path):
    del group.attrs["weight_names"]
    group.attrs.create("weight_names", [group.ref, group.ref], dtype=h5py.ref_dtype)


def unknown_filter(file, group, path):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((2, 2))
    properties.set_filter(32023, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((4, 4))
    name = kernel_of(group)
    del group[name]
    h5py.h5d.create(group.id, name_of(name), h5py.h5t.NATIVE_DOUBLE, space, properties)


def layer_names_like_paths(file, group, path):
    file["model_weights"].attrs["layer_names"] = [b"../../etc/passwd", b"/model_weights/head"]


def missing_group(file, group, path):
    del file["model_weights/norm"]


def many_objects(file, group, path):
    for number in range(3):
        wide = file.create_group(f"wide{number}", track_order=False)
        for name in range(40_000):
            wide.id.links.create_soft(str(name).encode(), b"/nowhere")


def config_of_h5(change):
    def change_config(file, group, path):
        config = change(json.loads(file.attrs["model_config"]))
        del file.attrs["model_config"]
        # Behind the 64 KB that fit into an object's header.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file.attrs.create(
                "model_config", config if isinstance(config, str) else json.dumps(config)
            )

    return changed_h5(change_config)


# `.keras` archives


def changed_archive(change):
    """`change` gets the texts and bytes of the members, and writes the new archive."""

    def make(path, originals):
        with zipfile.ZipFile(originals / "whole.keras") as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with warnings.catch_warnings():  # of names that stand twice
            warnings.simplefilter("ignore")
            change(path, members)

    return make


def write_archive(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def config_of_archive(change):
    def change_config(path, members):
        config = change(json.loads(members["config.json"]))
        members["config.json"] = config if isinstance(config, str | bytes) else json.dumps(config)
        write_archive(path, members)

    return changed_archive(change_config)


def zip_bomb(path, members):
    weights = bytes(300 << 20)
    write_archive(path, members | {"model.weights.h5": weights}, zipfile.ZIP_DEFLATED)


def bomb_of_text(path, members):
    write_archive(path, members | {"config.json": b" " * (100 << 20)}, zipfile.ZIP_DEFLATED)


def path_like_member(path, members):
    write_archive(path, {**members, "../../canary": b"x"})


def absolute_member(path, members):
    write_archive(path, {**members, "/tmp/canary": b"x"})


def member_twice(path, members):
    write_archive(path, members)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", b"{}")


def encrypted_member(path, members):
    write_archive(path, members)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def lying_size(path, members):
    write_archive(path, members)
    content = bytearray(path.read_bytes())
    for signature, offset, name_at in ((b"PK\x03\x04", 18, 30), (b"PK\x01\x02", 20, 46)):
        start = content.index(signature)
        while not content[start + name_at :].startswith(b"model.weights.h5"):
            start = content.index(signature, start + 1)
        struct.pack_into("<II", content, start + offset, 1 << 30, 1 << 30)
    path.write_bytes(content)


def wrong_checksum(path, members):
    write_archive(path, members)
    content = bytearray(path.read_bytes())
    content[content.index(b"\x89HDF") + 5000] ^= 1
    path.write_bytes(content)


def huge_hdf5_inside(path, members):
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        file.create_dataset("layers/dense/vars/7", (1 << 40,), "f4", chunks=(1 << 10,))
    write_archive(path, members | {"model.weights.h5": weights.getvalue()})


def number_of_many_digits(path, members):
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        file["layers/dense/vars/" + "1" * 5000] = [0.0]
    write_archive(path, members | {"model.weights.h5": weights.getvalue()})


# Configs


def with_layer(class_name, config, **entries):
    """Puts a layer in the place of the last one."""

    def change(saved):
        last = saved["config"]["layers"][-1]
        last |= {"class_name": class_name, "registered_name": None, **entries}
        last["config"] = {"name": last["config"]["name"], **config}
        return saved

    return change


def with_argument(key, value, index=-1):
    def change(saved):
        saved["config"]["layers"][index]["config"][key] = value
        return saved

    return change


LAMBDA = {"function": ["4wEAAAABAAAAAQAAAEMAAABzCAAA", None, None], "function_type": "lambda"}
FUNCTION = {"class_name": "__lambda__", "config": {"code": "4wEAAAABAAAA", "defaults": None}}


def repeated_layers(saved):
    layers = saved["config"]["layers"]
    entry = layers[1]
    layers += [
        {**entry, "name": f"x{n}", "config": {**entry["config"], "name": f"x{n}"}}
        for n in range(20_000)
    ]
    return saved


def looping_graph(saved):
    layers = saved["config"]["layers"]
    layers[1]["inbound_nodes"], layers[2]["inbound_nodes"] = (
        layers[2]["inbound_nodes"],
        layers[1]["inbound_nodes"],
    )
    layers[1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = layers[2]["name"]
    layers[2]["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = layers[1]["name"]
    return saved


def input_entry(name, shape):
    config = {"name": name, "batch_shape": shape}
    return {"class_name": "InputLayer", "name": name, "config": config, "inbound_nodes": []}


def entry(class_name, name, config, sources, **entries):
    """A layer that is called once on each of its sources: [layer, call, output]."""
    tensors = [
        {"class_name": "__keras_tensor__", "config": {"keras_history": source}}
        for source in sources
    ]
    return {
        "class_name": class_name,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": [{"args": [tensor], "kwargs": {}} for tensor in tensors],
        **entries,
    }


def many_parts(saved):
    """Of a value that the model does not use otherwise."""
    split = {"indices_or_sections": 100_000, "axis": 1}
    saved["config"]["layers"] += [
        input_entry("wide", [None, 100_000]),
        *(
            entry("Split", f"split{n}", split, [["wide", 0, 0]], module="keras.src.ops.numpy")
            for n in range(200)
        ),
    ]
    return saved


def doubled_models(saved):
    """Models in one another, each called twice by the next: 2**50 layers would run."""
    layers = [input_entry("x", [None, 4]), entry("ReLU", "inner", {}, [["x", 0, 0]])]
    end = ["inner", 0, 0]
    for _ in range(50):
        config = {"layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [end]}
        inner = entry("Functional", "inner", config, [["x", 0, 0], ["inner", 0, 0]])
        layers = [input_entry("x", [None, 4]), inner]
        end = ["inner", 2, 0]
    return {"class_name": "Functional", "config": inner["config"]}


def another_layer(saved):
    """A layer more, for which the file has no weights."""
    return with_argument("use_bias", False)(saved)


# Other files


def safetensors(header, length=None):
    def make(path, originals):
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text)

    return make


def cut(name, length):
    def make(path, originals):
        path.write_bytes((originals / name).read_bytes()[:length])

    return make


def named_pipe(path, originals):
    os.mkfifo(path)


def link_to_itself(path, originals):
    path.symlink_to(path)


def shards_outside(path, originals):
    path.write_text(
        json.dumps(
            {
                "modelTopology": {"class_name": "Sequential", "config": []},
                "weightsManifest": [{"paths": ["../../../etc/passwd"], "weights": []}],
            }
        )
    )


HOSTILE = {
    "external link": (changed_h5(external_link), "is a link"),
    "soft link": (changed_h5(soft_link), "is a link"),
    "cycle of hard links": (changed_h5(hard_link_cycle), "second name"),
    "external storage": (changed_h5(external_storage), "stored in another file"),
    "virtual dataset": (changed_h5(virtual_dataset), "virtual dataset"),
    "shape without data": (changed_h5(unallocated_shape), "expand"),
    "chunks without data": (changed_h5(unallocated_chunks), "expand"),
    "compressed zeros": (changed_h5(compressed_zeros), "expand"),
    "one huge chunk": (changed_h5(one_huge_chunk), "expand"),
    "pickled objects": (changed_h5(pickled_objects), "no numbers"),
    "opaque numbers": (changed_h5(opaque_numbers), "no numbers"),
    "references": (changed_h5(references), "holds no text"),
    "unknown filter": (changed_h5(unknown_filter), "unknown filter"),
    "layer names like paths": (changed_h5(layer_names_like_paths), "broken"),
    "group that is missing": (changed_h5(missing_group), "broken"),
    "many objects": (changed_h5(many_objects), ""),
    "huge config": (config_of_h5(lambda saved: " " * (9 << 20)), ""),
    "Lambda in .h5": (config_of_h5(with_layer("Lambda", LAMBDA)), "Lambda"),
    "zip bomb": (changed_archive(zip_bomb), "expand"),
    "bomb of text": (changed_archive(bomb_of_text), "larger than"),
    "member like a path": (changed_archive(path_like_member), "outside"),
    "absolute member": (changed_archive(absolute_member), "outside"),
    "member that stands twice": (changed_archive(member_twice), "two members"),
    "encrypted member": (changed_archive(encrypted_member), "broken"),
    "member that is shorter than it says": (changed_archive(lying_size), "broken"),
    "wrong checksum": (changed_archive(wrong_checksum), "broken"),
    "number of many digits": (changed_archive(number_of_many_digits), "shapes differ"),
    "huge HDF5 in an archive": (changed_archive(huge_hdf5_inside), "expand"),
    "Lambda in .keras": (config_of_archive(with_layer("Lambda", {"function": FUNCTION})), "Lambda"),
    "class to be imported": (
        config_of_archive(with_layer("system", {"command": "touch canary"}, module="os")),
        "system",
    ),
    "registered name": (
        config_of_archive(
            with_layer("run", {}, module="subprocess", registered_name="subprocess>run")
        ),
        "subprocess>run",
    ),
    "function as an activation": (
        config_of_archive(with_argument("activation", FUNCTION)),
        "",
    ),
    "builtin as an activation": (
        config_of_archive(
            with_argument(
                "activation", {"module": "builtins", "class_name": "function", "config": "exec"}
            )
        ),
        "",
    ),
    "deep JSON": (config_of_archive(lambda saved: "[" * 500 + "]" * 500), "nested"),
    "bottomless JSON": (config_of_archive(lambda saved: "[" * 1_000_000), "nested"),
    "huge number in JSON": (config_of_archive(lambda saved: "1" * 1_000_000), "broken"),
    "JSON that is no config": (config_of_archive(lambda saved: "[1, 2]"), "no dictionary"),
    "text that is no UTF-8": (config_of_archive(lambda saved: b"\xff\xfe"), "broken"),
    "huge layer": (config_of_archive(with_argument("units", 10**18)), ""),
    "layer of many units": (config_of_archive(with_argument("units", 10**9)), "shapes differ"),
    "filters beyond 64 bits": (config_of_archive(with_argument("filters", 2**70, 1)), ""),
    "20,000 layers": (config_of_archive(repeated_layers), ""),
    "graph with a loop": (config_of_archive(looping_graph), "loop"),
    "200 times 100,000 parts": (config_of_archive(many_parts), "too many values"),
    "models called twice": (config_of_archive(doubled_models), "too many values"),
    "weights that are not wanted": (config_of_archive(another_layer), "shapes differ"),
    "HDF5 that is cut": (cut("whole.h5", 3000), "broken"),
    "archive that is cut": (cut("whole.keras", 3000), ""),
    "header that is longer than the file": (safetensors({}, 1 << 40), "safetensors"),
    "tensor that is longer than the file": (
        safetensors({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        "safetensors",
    ),
    "named pipe": (named_pipe, "pipe"),
    "link to itself": (link_to_itself, "cannot be opened"),
    "shards outside of the folder": (shards_outside, "no file beside it"),
}


def suffix(name):
    return {"shards outside of the folder": ".json"}.get(name, ".keras")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux tells it")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(opener, originals, usual_memory, tmp_path, name):
    make, reason = HOSTILE[name]
    path = tmp_path / f"hostile{suffix(name)}"
    make(path, originals)
    kind, message, seconds, megabytes = opener.open(path)
    assert kind in ("KerasFileError", "UnsupportedLayersError"), message
    assert reason in message
    assert str(path) in message
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
    if path.is_file() and path.suffix == ".keras":
        assert megabytes + memory_of_parser(path) - usual_memory < MEGABYTES
    assert not list(ROOT.glob("canary*"))
    assert not Path("/tmp/canary").exists()


def wide_normalization(saved):
    """One number for each of many positions, as an input and an output more."""
    config, statistics = saved["config"], {"axis": [-1], "mean": 0.5, "variance": 2.0}
    config["layers"] += [
        input_entry("wide", [None, 10**9]),
        entry("Normalization", "normalization", statistics, [["wide", 0, 0]]),
    ]
    for ends, name in (("input_layers", "wide"), ("output_layers", "normalization")):
        places = config[ends]
        places = [places] if isinstance(places[0], str) else places
        config[ends] = [*places, [name, 0, 0]]
    return saved


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux tells it")
def test_what_is_given_once_is_kept_once(opener, originals, tmp_path):
    path = tmp_path / "wide.keras"
    config_of_archive(wide_normalization)(path, originals)
    kind, message, seconds, megabytes = opener.open(path)
    assert kind == "opened", message
    assert seconds < SECONDS
    assert megabytes < MEGABYTES


def test_the_originals_open(opener, originals):
    for path in originals.iterdir():
        assert opener.open(path)[:2] == ["opened", "Functional"]


def test_the_exception_tells_path_and_reason(tmp_path):
    from kerastorch.convert import load_model

    with pytest.raises(KerasFileError) as caught:
        load_model(tmp_path)
    assert isinstance(caught.value, ValueError)
    assert caught.value.path == tmp_path
    assert "folder" in caught.value.reason
