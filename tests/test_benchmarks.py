"""The comparison with others runs; what it measures is not asserted."""

from benchmarks.inference.__main__ import compare


def test_contenders_are_called_in_turn():
    found = compare("mobilenet", ["eager", "timm", "torchvision"], 1, rounds=2, keep_memory=True)
    assert list(found) == ["eager", "timm"]  # torchvision has no such model
    assert found["eager"]["speed"] == 1
    assert all(measured["seconds"] > 0 for measured in found.values())
    assert all(measured["peak_mb"] > 100 for measured in found.values())
