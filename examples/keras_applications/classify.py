"""Name what is in a photograph with ResNet50.

    python classify.py elephant.jpg

The first example of Keras's applications page; `keras` is `kerastorch` in the imports.
"""

import sys

import numpy as np

from kerastorch.applications.resnet50 import ResNet50, decode_predictions, preprocess_input
from kerastorch.preprocessing import image

model = ResNet50(weights="imagenet")

img = image.load_img(sys.argv[1], target_size=(224, 224))
x = image.img_to_array(img)
x = np.expand_dims(x, axis=0)
x = preprocess_input(x)

preds = model.predict(x)
# A list for each photograph, of (WordNet id, class, probability), the most probable first.
print("Predicted:", decode_predictions(preds, top=3)[0])
