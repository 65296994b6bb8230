"""`kerastorch embed`: the vectors of the model, and the same file however often it is killed."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import kerastorch
from kerastorch import layers, picture_files
from kerastorch.embedding import embed, embedder, read_embeddings
from kerastorch.embedding.parts import open_parts
from kerastorch.picture_files import find_pictures
from kerastorch.preprocessing.image import read_img
from tests.photographs import PHOTOGRAPHS, photograph

PICTURES, BATCH = 500, 8
BROKEN = {"3/broken.jpg": "not a picture in a format that Pillow reads"}

SETTINGS = ["--batch", str(BATCH), "--size", "64", "64", "--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """500 pictures out of photographs, two that are broken, and a model."""
    folder = tmp_path_factory.mktemp("embed")
    photographs = [Image.open(photograph(name)) for name in PHOTOGRAPHS]
    shuffled = random.Random(0)
    for index in range(PICTURES):
        place = folder / "pictures" / str(index % 7)
        place.mkdir(parents=True, exist_ok=True)
        whole = photographs[index % len(photographs)]
        left, top = shuffled.randrange(whole.width - 48), shuffled.randrange(whole.height - 48)
        ending = ("jpg", "png", "bmp")[index % 3]
        whole.crop((left, top, left + 48, top + 48)).save(place / f"{index:03}.{ending}")
    (folder / "pictures" / "3" / "broken.jpg").write_text("hello")
    (folder / "pictures" / "5" / "short.png").write_bytes(
        next((folder / "pictures" / "5").glob("*.png")).read_bytes()[:300]
    )
    torch.manual_seed(0)
    model = kerastorch.create_model("mobilenet", alpha=0.25, input_shape=(64, 64, 3))
    model.save_weights(folder / "mobilenet.safetensors")
    return folder


@pytest.fixture
def run(run_command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    return run_command


@pytest.fixture(scope="module")
def uninterrupted(folder):
    """The file of a run from start to end."""
    output = folder / "uninterrupted.npz"
    model = kerastorch.load_model(folder / "mobilenet.safetensors")
    done = embed(model, folder / "pictures", output, batch_size=BATCH)
    assert (done.pictures, done.features, done.resumed) == (PICTURES, 256, 0)
    return output


def command(folder, output):
    """The arguments of a process that embeds the folder."""
    return [
        *(sys.executable, "-m", "kerastorch", "embed", "pictures", "-o", output),
        *("--model", folder / "mobilenet.safetensors", *SETTINGS, "--workers", "1"),
    ]


def kill_at(folder, output, parts):
    """Embeds in a process that is killed when it has written so many parts."""
    place = folder / f"{output.name}.parts"
    process = subprocess.Popen(command(folder, output), cwd=folder, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(place.glob("*.npz"))) < parts:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    return process.wait()


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_a_run_that_was_killed_goes_on_and_gives_the_same_file(folder, uninterrupted, ending):
    output = folder / f"killed.{ending}"
    moments = sorted(random.Random(ending).sample(range(1, 45), 3 if ending == "npz" else 1))
    for parts in moments:
        assert kill_at(folder, output, parts) == -signal.SIGKILL
        assert not output.exists()
    result = subprocess.run(command(folder, output), cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0
    assert f"{output}: {PICTURES} pictures, 256 features each, " in result.stdout
    resumed = int(result.stdout.split("each, ")[1].split()[0])
    # But for the batch of the broken picture, which is tried again.
    assert (moments[-1] - 1) * BATCH <= resumed < PICTURES
    assert "passed over 3/broken.jpg: not a picture" in result.stderr
    assert not list(folder.glob(f"*{output.name}?*"))
    if ending == "npz":
        assert output.read_bytes() == uninterrupted.read_bytes()
    else:
        model = kerastorch.load_model(folder / "mobilenet.safetensors")
        again = folder / "again.parquet"
        embed(model, folder / "pictures", again, batch_size=BATCH)
        assert output.read_bytes() == again.read_bytes()
    for one, other in zip(read_embeddings(output), read_embeddings(uninterrupted), strict=True):
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def test_the_vectors_are_what_the_classifier_takes(folder, uninterrupted):
    model = kerastorch.load_model(folder / "mobilenet.safetensors")
    paths, vectors, about = read_embeddings(uninterrupted)
    assert about["unreadable"].keys() == {"3/broken.jpg", "5/short.png"}
    assert about["unreadable"]["3/broken.jpg"] == BROKEN["3/broken.jpg"]
    pictures = folder / "pictures"
    assert paths == sorted(
        path.relative_to(pictures).as_posix() for path in pictures.glob("?/???.*")
    )
    chosen = [0, 7, 250, PICTURES - 1]
    x = model.transforms()([Image.open(pictures / paths[index]) for index in chosen])
    cut = kerastorch.Model(model.input, model.get_layer("conv_pw_13_relu").output)
    with torch.inference_mode():
        expected = cut.eval()(x).mean((2, 3)).numpy()
    assert np.allclose(vectors[chosen], expected, 1e-5, 1e-6)
    assert np.ptp(vectors, axis=0).max() > 0


def test_parquet_is_a_table_for_others(run, uninterrupted):
    import pyarrow.parquet

    code, out, err = run(
        *("embed", "pictures", "--model", "mobilenet.safetensors", "-o", "table.parquet"),
        *(*SETTINGS, "--layer", "conv_pw_5_relu", "--json", "--workers", 2),
    )
    assert code == 0
    assert err.count("passed over") == 2
    found = json.loads(out)
    assert (found["file"], found["pictures"], found["features"]) == ("table.parquet", PICTURES, 64)
    assert len(found["unreadable"]) == 2
    table = pyarrow.parquet.read_table("table.parquet")
    assert table.column_names == ["path", "embedding"]
    assert table["path"].to_pylist() == read_embeddings(uninterrupted)[0]
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[64]"


def test_how_many_processes_read_does_not_matter_nor_does_what_stands_beside(
    folder, uninterrupted, tmp_path
):
    model = kerastorch.load_model(folder / "mobilenet.safetensors")
    progress = []
    embed(
        model,
        folder / "pictures",
        tmp_path / "workers.npz",
        batch_size=BATCH,
        workers=2,
        on_progress=lambda *done: progress.append(done),
    )
    assert (tmp_path / "workers.npz").read_bytes() == uninterrupted.read_bytes()
    assert progress[0] == (0, PICTURES + 2)
    assert progress[-1] == (PICTURES + 2, PICTURES + 2)
    embed(model, folder / "pictures", tmp_path / "other.npz", batch_size=50)
    vectors = read_embeddings(uninterrupted)[1]
    others = read_embeddings(tmp_path / "other.npz")[1]
    assert np.abs(others - vectors).max() <= 1e-6 * np.abs(vectors).max()


class Stopped(Exception):
    """What stops a run in these tests."""


def stop_after(pictures):
    def report(done, total):
        if done >= pictures:
            raise Stopped

    return report


@pytest.fixture
def begun(folder, tmp_path):
    """A model, a folder of its own with pictures, and an output that a run was stopped at."""
    own = tmp_path / "own"
    (own / "more").mkdir(parents=True)
    for path in find_pictures(folder / "pictures")[:20]:
        (own / "more" / path.name).write_bytes((folder / "pictures" / path).read_bytes())
    model = kerastorch.load_model(folder / "mobilenet.safetensors")
    output = tmp_path / "begun.npz"
    with pytest.raises(Stopped):
        embed(model, own, output, batch_size=4, on_progress=stop_after(12))
    return model, own, output


def test_parts_of_another_run_are_not_mixed_in(folder, begun):
    model, own, output = begun

    def go_on(**changes):
        return embed(**{"model": model, "folder": own, "output": output, "batch_size": 4} | changes)

    other = kerastorch.load_model(folder / "mobilenet.safetensors")
    with torch.no_grad():
        other.get_layer("conv_pw_13_bn").running_var[7] += 1
    transforms = model.transforms(interpolation="bilinear")
    for changes, named in [
        ({"batch_size": 5}, "batch size"),
        ({"layer": "conv_pw_13_relu"}, "layer and layers and weights"),
        ({"preprocessing": transforms}, "preprocessing"),
        ({"model": other}, "layers and weights"),
    ]:
        with pytest.raises(ValueError, match=f"begun with other {named}; finish that run"):
            go_on(**changes)
    os.utime(next(own.rglob("*.jpg")), (1, 1))
    with pytest.raises(ValueError, match="begun with other pictures;"):
        go_on()
    assert go_on(restart=True).resumed == 0


def test_a_run_that_has_done_nothing_keeps_no_other_from_the_file(begun):
    model, own, output = begun
    output = output.with_name("another.npz")
    with pytest.raises(Stopped):
        embed(model, own, output, batch_size=4, on_progress=stop_after(0))
    assert output.with_name("another.npz.parts").exists()
    assert embed(model, own, output, batch_size=2).pictures == 20


def test_all_of_a_model_is_moved(begun):
    model, own, output = begun
    with pytest.raises(NotImplementedError, match="meta"):  # nothing can be had from there
        embed(model, own, output.with_name("meta.npz"), device="meta")
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_damaged_parts_and_what_a_killed_process_has_left_are_made_again(begun):
    model, own, output = begun
    parts = output.with_name("begun.npz.parts")
    kept = sorted(parts.glob("*.npz"))
    assert [path.stem for path in kept] == ["00000000", "00000001", "00000002"]
    kept[1].write_bytes(kept[1].read_bytes()[:-20])
    (parts / f".00000003.npz.{'0' * 32}").write_bytes(b"half")
    (parts / f".begun.npz.{'1' * 32}").write_bytes(b"half")
    done = embed(model, own, output, batch_size=4)
    assert (done.resumed, done.pictures) == (8, 20)
    assert not parts.exists()
    again = embed(model, own, output.with_name("again.npz"), batch_size=4)
    assert (again.resumed, again.output.read_bytes()) == (0, output.read_bytes())


def test_what_could_not_be_read_is_tried_again(begun, monkeypatch):
    model, own, output = begun

    def failing(path):
        if path.name == failing.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read_img(path)

    failing.name = find_pictures(own)[5].name
    output = output.with_name("again.npz")
    with monkeypatch.context() as patch:
        patch.setattr(picture_files, "read_img", failing)
        with pytest.raises(Stopped):
            embed(model, own, output, batch_size=4, on_progress=stop_after(12))
    done = embed(model, own, output, batch_size=4)
    assert (done.resumed, done.pictures, done.unreadable) == (8, 20, {})


def test_parts_that_are_another_runs_notes_are_thrown_away(begun):
    model, own, output = begun
    (output.with_name("begun.npz.parts") / "run.json").write_text("[]")
    assert embed(model, own, output, batch_size=4).resumed == 0


def test_two_processes_do_not_write_the_same_file(begun):
    model, own, output = begun
    parts = output.with_name("begun.npz.parts")
    run = json.loads((parts / "run.json").read_text())
    with open_parts(parts, run), pytest.raises(ValueError, match="another process is at it"):
        embed(model, own, output, batch_size=4)


def test_names_of_any_bytes_and_pictures_of_odd_kinds(folder, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    Image.new("L", (30, 20), 7).save(own / "grey.png")
    Image.new("I;16", (30, 20), 700).save(own / "deep.png")
    Image.new("P", (30, 20), 3).save(own / "palette.gif")
    Image.new("CMYK", (30, 20)).save(own / "print.JPG")
    Image.new("RGB", (30, 20)).save(os.path.join(os.fsencode(own), b"\xff.png"), format="PNG")
    Image.new("RGB", (30, 20)).save(own / "line\nend.png")
    (own / "nowhere.png").symlink_to(own / "gone.png")
    os.mkfifo(own / "pipe.png")
    (own / "loop").symlink_to(own)
    model = kerastorch.load_model(folder / "mobilenet.safetensors")
    for ending in ("npz", "parquet"):
        done = embed(model, own, tmp_path / f"odd.{ending}")
        assert done.unreadable == {"nowhere.png": "No such file or directory"}
        paths, vectors, _ = read_embeddings(done.output)
        assert paths == [
            *("deep.png", "grey.png", "line\nend.png", "palette.gif", "print.JPG", "\\xff.png")
        ]
        assert np.isfinite(vectors).all()


def test_where_a_model_is_cut():
    def features(model, layer=None):
        cut = embedder(model, layer)
        assert len(cut.output_shape) == 2
        return cut.output_shape[1]

    with torch.device("meta"):
        assert features(kerastorch.create_model("resnet50")) == 2048
        assert features(kerastorch.create_model("resnet50"), "conv3_block4_out") == 512
        vgg = kerastorch.create_model("vgg16")
        assert (features(vgg), features(vgg, "fc1"), features(vgg, "predictions")) == (
            *(4096, 4096, 1000),
        )
        assert features(kerastorch.create_model("xception", include_top=False)) == 2048
        base = kerastorch.create_model("mobilenet", include_top=False, pooling="max")
        assert features(base) == 1024
        image = layers.Input((None, None, 3))
        x = layers.Dropout(0.5)(layers.Dense(7)(base(image)))
        nested = kerastorch.Model(image, layers.Dense(2, activation="softmax")(x))
        assert features(nested) == 7
        image = layers.Input((32, 32, 3))
        whole = kerastorch.create_model("mobilenet", input_shape=(32, 32, 3))
        whole.layers[-1].activation = kerastorch.activations.softmax
        with pytest.raises(ValueError, match="has no layer 'conv_pw_13_rel'.* Did you mean"):
            embedder(whole, "conv_pw_13_rel")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("pictures --model mobilenet.safetensors -o out.csv", "out.csv: embeddings go into a file"),
        ("pictures --model mobilenet.safetensors -o folder.npz", "folder.npz: Is a directory"),
        ("pictures --model mobilenet.safetensors -o nowhere/a.npz", "nowhere/a.npz.parts: No such"),
        ("nowhere --model mobilenet.safetensors -o a.npz", "nowhere: No such file"),
        ("empty --model mobilenet.safetensors -o a.npz", "empty: no picture in it"),
        ("bad --model mobilenet.safetensors -o a.npz", "none of the 1 pictures can be read; x.png"),
        ("pictures --model mobilenet.safetensors -o a.npz --layer conv1_rel", "Did you mean"),
        ("pictures --model mobilenet.safetensors -o a.npz --layer dense", "has no layer 'dense'"),
        ("pictures --model mobilenet.safetensors -o a.npz --alpha 0.5", "--alpha go with"),
        ("pictures --model xcepton -o a.npz", "did you mean xception"),
        ("pictures --model nowhere.keras -o a.npz", "nowhere.keras"),
    ],
)
def test_errors_are_a_line(run, arguments, message):
    for name in ("empty", "bad", "folder.npz"):
        Path(name).mkdir(exist_ok=True)
    Path("bad", "x.png").write_text("hello")
    code, out, err = run("embed", *arguments.split())
    assert (code, out) == (1, "")
    assert err.startswith("kerastorch: ")
    assert len(err.splitlines()) == 1
    assert message in err
    assert not list(Path().glob("*.parts"))


@pytest.mark.parametrize(
    ("module", "option", "extra"),
    [("pyarrow", "-o a.parquet", "parquet"), ("ray", "-o a.npz --ray local", "ray")],
)
def test_what_is_missing_is_named_with_how_to_install_it(run, monkeypatch, module, option, extra):
    loaded = [name for name in sys.modules if name.startswith(f"{module}.")]
    for name in (module, *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    code, out, err = run("embed", "pictures", "--model", "mobilenet.safetensors", *option.split())
    assert (code, out) == (1, "")
    assert err == (f"kerastorch: {module} is not installed: pip install 'kerastorch[{extra}]'\n")


def test_weights_alone_are_opened_with_the_name_of_their_architecture(run, folder):
    model = kerastorch.load_model(folder / "mobilenet.safetensors")
    model.save_weights("mobilenet.weights.h5")
    code, out, _ = run(
        *("embed", "pictures/0", "-o", "weights.npz", "--model", "mobilenet", "--batch", 50),
        *("--weights", "mobilenet.weights.h5", "--alpha", 0.25, "--json"),
    )
    assert code == 0
    assert json.loads(out)["features"] == 256


def test_a_model_of_any_size_sees_pictures_at_its_own(run):
    model = kerastorch.create_model("mobilenet", alpha=0.25, include_top=False)
    assert model.input_shape == (None, None, None, 3)
    model.save_weights("headless.weights.h5")
    code, out, err = run(
        *("embed", "pictures/0", "-o", "headless.npz", "--model", "mobilenet", "--alpha", 0.25),
        *("--weights", "headless.weights.h5", "--no-top", "--batch", 50),
    )
    assert (code, err) == (0, "")
    assert "256 features each" in out
    assert "size=(224, 224)" in read_embeddings("headless.npz")[2]["preprocessing"]


def test_a_cluster_that_does_not_answer_is_said_at_once(run):
    code, _, err = run(
        *("embed", "pictures", "--model", "mobilenet.safetensors", "-o", "nowhere.npz"),
        *("--ray", "127.0.0.1:1"),
    )
    assert (code, err) == (1, "kerastorch: no Ray at '127.0.0.1:1': Connection refused\n")


# In a process of its own: Ray stays in the one it was in, with threads and with a signal handler.
ON_RAY = """
import json, sys
import ray
from kerastorch.cli import main

ray.init(
    "local",
    num_cpus=2,
    include_dashboard=False,
    object_store_memory=100 * 2**20,
    log_to_driver=False,
    logging_level="ERROR",
)
code = main(sys.argv[1:])
ray.shutdown()
sys.exit(code)
"""


def run_on_ray(folder, *arguments):
    """As `run`, on a cluster on this machine that is as small as it gets."""
    command = [sys.executable, "-c", ON_RAY, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_run_on_ray_gives_the_same_file(folder, uninterrupted, tmp_path):
    output = tmp_path / "on_ray.npz"
    model = kerastorch.load_model(folder / "mobilenet.safetensors")
    with pytest.raises(Stopped):  # what was begun here goes on there
        embed(
            model,
            folder / "pictures",
            output,
            batch_size=BATCH,
            on_progress=stop_after(20 * BATCH),
        )
    code, out, err = run_on_ray(
        folder,
        *("embed", "pictures", "--model", "mobilenet.safetensors", "-o", output, *SETTINGS),
        *("--ray", "local", "--workers", 1, "--json"),
    )
    assert code == 0, err
    assert "passed over 3/broken.jpg: not a picture" in err
    assert json.loads(out)["resumed"] == 20 * BATCH
    assert output.read_bytes() == uninterrupted.read_bytes()


def test_a_batch_without_any_picture_that_can_be_read_on_ray(folder, tmp_path):
    own, output = tmp_path / "own", tmp_path / "on_ray.npz"
    own.mkdir()
    Image.new("RGB", (30, 20), "red").save(own / "a.png")
    (own / "b.png").write_text("hello")
    arguments = ["embed", own, "--model", "mobilenet.safetensors", *SETTINGS, "--batch", 1]
    code, _, err = run_on_ray(folder, *arguments, "-o", output, "--ray", "local", "--workers", 1)
    assert code == 0, err
    assert "passed over b.png: not a picture" in err
    assert read_embeddings(output)[0] == ["a.png"]


def test_a_cluster_without_a_gpu_is_said_to_have_none(folder, tmp_path):
    code, _, err = run_on_ray(
        folder,
        *("embed", "pictures", "--model", "mobilenet.safetensors", "-o", tmp_path / "gpu.npz"),
        *("--ray", "local", "--device", "cuda"),
    )
    assert code == 1
    assert "kerastorch: the cluster has no GPU\n" in err
