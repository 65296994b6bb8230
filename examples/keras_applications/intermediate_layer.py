"""What a layer in the middle of VGG19 makes of a photograph.

    python intermediate_layer.py elephant.jpg

The third example of Keras's applications page; `keras` is `kerastorch` in the imports. The new
model shares its layers with VGG19 and runs only those up to `block4_pool`.
"""

import sys

import numpy as np

from kerastorch.applications.vgg19 import VGG19, preprocess_input
from kerastorch.models import Model
from kerastorch.preprocessing import image

base_model = VGG19(weights="imagenet")
model = Model(inputs=base_model.input, outputs=base_model.get_layer("block4_pool").output)

img = image.load_img(sys.argv[1], target_size=(224, 224))
x = image.img_to_array(img)
x = np.expand_dims(x, axis=0)
x = preprocess_input(x)

block4_pool_features = model.predict(x)
print("Features:", block4_pool_features.shape)  # (1, 14, 14, 512)
