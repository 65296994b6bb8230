"""The comparisons with others run; what they measure is not asserted."""

import json
import re

import pytest

from benchmarks import chart, contest, inference, standing
from benchmarks.contest import compare


@pytest.mark.parametrize(
    ("discipline", "contenders"),
    [("inference", ["eager", "timm", "torchvision"]), ("training", ["kerastorch", "timm"])],
)
def test_contenders_are_called_in_turn(discipline, contenders):
    found = compare(discipline, "mobilenet", dict.fromkeys(contenders, True), 2, 224, rounds=2)
    assert list(found) == contenders[:2]  # torchvision has no such model
    assert contest.speed(found, contenders[0], contenders[0]) == 1
    assert contest.speed(found, contenders[0], "torchvision") is None
    for measured in found.values():
        assert len(measured["times"]) == 2
        assert measured["seconds"] > 0
        assert measured["peak_mb"] > 100
        assert measured["start_seconds"] > 0


def test_a_measurement_says_what_it_was_made_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(contest, "WARM_UP", 0)
    path = tmp_path / "speeds.json"
    contenders = ["optimized", "keras-onnxruntime", "multiplication"]
    arguments = ["--contenders", *contenders, "--batch", "1", "--rounds", "1", "--json", str(path)]
    monkeypatch.setattr("sys.argv", ["inference", "mobilenet", *arguments])
    inference.main()
    content = json.loads(path.read_text())
    assert content["machine"]
    assert content["versions"]["torch"]
    assert content["kept_memory"] == "ours"
    found = content["results"]["mobilenet"]
    assert found["optimized"]["share"] > 0
    assert found["multiplication"]["gflops"] > 0
    shown = capsys.readouterr().out
    assert "geometric mean" in shown
    assert "Share of the rate" in shown
    monkeypatch.setattr("sys.argv", ["standing", str(path)])
    standing.main()
    assert re.search(r"optimized.*keras-onnxruntime.* of 1.*mobilenet", capsys.readouterr().out)
    monkeypatch.setattr(chart, "FIGURES", tmp_path)
    monkeypatch.setattr("sys.argv", ["chart", str(path)])
    chart.main()
    assert "Geometric mean of 1 models" in (tmp_path / "speed-dark.svg").read_text()


def test_who_cannot_compute_or_stops_is_left_out(monkeypatch, capfd):
    call, calls = contest.Worker.call, []

    def stop_timm(worker):
        calls.append(worker)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return call(worker)

    monkeypatch.setattr(contest.Worker, "call", stop_timm)
    contenders = dict.fromkeys(["eager", "timm", "torchvision"], False)
    assert list(compare("inference", "mobilenet", contenders, 1, 224, 1)) == ["eager"]
    messages = capfd.readouterr().err
    assert "torchvision does not run mobilenet: torchvision has no mobilenet" in messages
    assert "timm stops at mobilenet: killed" in messages


def test_flops_are_those_of_the_network():
    """MobileNet's table: size, channels and filters of each block, behind a first convolution."""
    blocks = [(112, 32, 64), (56, 64, 128), (56, 128, 128), (28, 128, 256), (28, 256, 256)]
    blocks += [(14, 256, 512), *[(14, 512, 512)] * 5, (7, 512, 1024), (7, 1024, 1024)]
    products = 112**2 * 9 * 3 * 32 + 1024 * 1000
    products += sum(size**2 * channels * (9 + filters) for size, channels, filters in blocks)
    assert inference.flops("mobilenet") == 2 * products  # each with an addition
