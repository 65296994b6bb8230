"""The example of a detector: a step of training reaches what is to be trained, and only that."""

import torch

from examples import detection


def test_a_step_of_faster_rcnn():
    torch.manual_seed(0)
    detector = detection.build_detector(image_size=128)
    body = detector.backbone.features.body
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    (loss,) = detection.train(detector, steps=1)
    assert 0 < loss < 100
    without = [
        name
        for name, parameter in detector.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert not without
    changed = {
        key for key, value in detector.state_dict().items() if not torch.equal(value, before[key])
    }
    layers = {key.split(".")[3] for key in changed if key.startswith("backbone.features.body.")}
    trained = {layer.name for layer in body.layers if layer.trainable and list(layer.parameters())}
    assert layers == trained
    assert "conv3_block1_1_conv" in layers
    assert not [layer for layer in layers if layer.startswith("conv2_") or layer.endswith("_bn")]
    assert any(key.startswith("backbone.pyramid.") for key in changed)

    names = [*detection.MAPS, "pool"]
    with torch.inference_mode():
        maps = detector.eval().backbone(torch.zeros(1, 3, 128, 160))
        found = detector([torch.rand(3, 128, 160)])
    assert [tuple(maps[name].shape[1:]) for name in names] == [
        (256, 32, 40),
        (256, 16, 20),
        (256, 8, 10),
        (256, 4, 5),
        (256, 2, 3),
    ]
    assert set(found[0]) == {"boxes", "labels", "scores"}
