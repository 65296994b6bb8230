"""The features of a photograph from VGG16: its last feature map, without the classifier.

    python extract_features.py elephant.jpg

The second example of Keras's applications page; `keras` is `kerastorch` in the imports.
"""

import sys

import numpy as np

from kerastorch.applications.vgg16 import VGG16, preprocess_input
from kerastorch.preprocessing import image

model = VGG16(weights="imagenet", include_top=False)

img = image.load_img(sys.argv[1], target_size=(224, 224))
x = image.img_to_array(img)
x = np.expand_dims(x, axis=0)
x = preprocess_input(x)

features = model.predict(x)
print("Features:", features.shape)  # (1, 7, 7, 512)
