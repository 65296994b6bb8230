"""Which models stand for their larger siblings, where testing each would take too long."""

import pytest

import kerastorch

# They have more blocks and filters than a smaller model of their family, of the same kinds. `make
# test` compares each layer of theirs with Keras's, on small images, and leaves them out of the
# other tests that go through all models; `make matrix` has them there too.
LARGER = {
    *(f"efficientnet_b{size}" for size in range(1, 8)),
    *(f"efficientnet_v2_{size}" for size in ("b1", "b2", "b3", "s", "m", "l")),
    "mobilenet_v3_large",
}


def models_and_siblings() -> list:
    """The names of all models, to go through in tests; those in `LARGER` are marked `full`."""
    return [
        pytest.param(name, marks=[pytest.mark.full] if name in LARGER else [])
        for name in kerastorch.list_models()
    ]
