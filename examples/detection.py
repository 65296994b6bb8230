"""A detector on a Keras backbone: torchvision's Faster R-CNN with a feature pyramid on ResNet50V2.

    python examples/detection.py  # wants scikit-image, whose photographs it trains on

Four maps of the backbone, a quarter to a thirty-second of the image's size, go into the pyramid.
The boxes were drawn by hand; three photographs show that it trains, not that it detects.
"""

from collections import OrderedDict

import torch
from skimage import data
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

import kerastorch

# Where ResNet50V2 ends its four stages, before each is made smaller.
MAPS = (
    "conv2_block3_preact_relu",
    "conv3_block4_preact_relu",
    "conv4_block6_preact_relu",
    "post_relu",
)
CLASSES = ["background", "face", "cat", "cup"]
STEPS = 5


class Backbone(nn.Module):
    """Feature maps of a Keras model, brought to one number of channels by a pyramid."""

    def __init__(self, model: kerastorch.Model, names: tuple[str, ...], out_channels: int = 256):
        super().__init__()
        self.features = model.feature_maps(*names)
        channels = [self.features.channels[name] for name in names]
        self.pyramid = FeaturePyramidNetwork(channels, out_channels, LastLevelMaxPool())
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        return self.pyramid(self.features(x))


def build_detector(pretrained: bool = False, image_size: int = 256) -> FasterRCNN:
    """The detector; as is usual, the stem and the first stage stay as they are."""
    model = kerastorch.create_model("resnet50_v2", pretrained, include_top=False)
    kerastorch.freeze(model, until="conv2_block3_out")
    kerastorch.freeze(model, "*_bn")  # few images at a time: their statistics would only be noise
    return FasterRCNN(
        Backbone(model, MAPS),
        num_classes=len(CLASSES),
        min_size=image_size,
        max_size=2 * image_size,
        box_roi_pool=MultiScaleRoIAlign(MAPS, output_size=7, sampling_ratio=2),
        image_mean=[0.5] * 3,  # on [0, 1]; it is what ResNetV2's `preprocess_input` does
        image_std=[0.5] * 3,
    )


def read_photographs() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Photographs (3, height, width) in [0, 1], and for each its boxes (x1, y1, x2, y2)."""
    labelled = [
        (data.astronaut(), "face", (172, 55, 284, 205)),
        (data.cat(), "cat", (30, 0, 440, 300)),
        (data.coffee(), "cup", (165, 15, 415, 310)),
    ]
    images = [torch.from_numpy(pixels).movedim(-1, 0) / 255 for pixels, _, _ in labelled]
    targets = [
        {"boxes": torch.tensor([box]).float(), "labels": torch.tensor([CLASSES.index(label)])}
        for _, label, box in labelled
    ]
    return images, targets


def train(detector: FasterRCNN, steps: int = STEPS) -> list[float]:
    """Takes steps on all photographs, and gives the loss of each."""
    images, targets = read_photographs()
    parameters = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.005, momentum=0.9)
    detector.train()
    losses = []
    for _ in range(steps):
        loss = sum(detector(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    torch.manual_seed(0)
    # Without pretrained=True nothing is downloaded, and the layers start from random weights.
    detector = build_detector()
    for step, loss in enumerate(train(detector), 1):
        print(f"step {step}: loss {loss:.3f}")
    images, _ = read_photographs()
    with torch.inference_mode():
        found = detector.eval()(images)
    print("boxes found:", [len(boxes["boxes"]) for boxes in found])


if __name__ == "__main__":
    main()
