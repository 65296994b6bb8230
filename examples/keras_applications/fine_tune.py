"""Fine-tune InceptionV3 on 200 new classes, in two phases.

    python fine_tune.py photographs/  # a folder for each class

The fourth example of Keras's applications page; `keras` is `kerastorch` in the imports, and the
optimizers and the training loop are PyTorch's. `kerastorch.lightning` has the same recipe for
Lightning.
"""

import sys

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from kerastorch.applications.inception_v3 import InceptionV3
from kerastorch.layers import Dense, GlobalAveragePooling2D
from kerastorch.models import Model

EPOCHS = 2

# The pretrained model, without its classifier.
base_model = InceptionV3(weights="imagenet", include_top=False)

# A pooling, a fully connected layer and a classifier, say for 200 classes.
x = base_model.output
x = GlobalAveragePooling2D()(x)
x = Dense(1024, activation="relu")(x)
predictions = Dense(200, activation="softmax")(x)
model = Model(inputs=base_model.input, outputs=predictions)

# Photographs at half of InceptionV3's own size, for speed.
transform = model.transforms(training=True, batch=False, size=(150, 150))
photographs = DataLoader(ImageFolder(sys.argv[1], transform), batch_size=8, shuffle=True)


def fit(optimizer: torch.optim.Optimizer) -> None:
    model.train()
    for epoch in range(EPOCHS):
        for images, labels in photographs:
            probabilities = model(images).clamp_min(1e-7)  # as Keras's own crossentropy
            loss = torch.nn.functional.nll_loss(probabilities.log(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}")


def trainable_parameters() -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


# First only the new layers, which are random: all convolutional layers are frozen.
for layer in base_model.layers:
    layer.trainable = False
fit(torch.optim.RMSprop(trainable_parameters(), lr=0.001))

# Which layers to train further? Their names and indices tell.
for i, layer in enumerate(base_model.layers):
    print(i, layer.name)

# The last two Inception blocks: the first 249 layers stay frozen, those after them are thawed.
for layer in model.layers[:249]:
    layer.trainable = False
for layer in model.layers[249:]:
    layer.trainable = True
fit(torch.optim.SGD(trainable_parameters(), lr=0.0001, momentum=0.9))
