"""InceptionV3 on an input of one's own, which may also be another layer's output.

    python input_tensor.py elephant.jpg

The fifth example of Keras's applications page; `keras` is `kerastorch` in the imports.
"""

import sys

from kerastorch import backend as K
from kerastorch.applications.inception_v3 import InceptionV3, decode_predictions, preprocess_input
from kerastorch.layers import Input
from kerastorch.preprocessing import image

shape = (224, 224, 3) if K.image_data_format() == "channels_last" else (3, 224, 224)
input_tensor = Input(shape=shape)
model = InceptionV3(input_tensor=input_tensor, weights="imagenet", include_top=True)

img = image.load_img(sys.argv[1], target_size=(224, 224))
preds = model.predict(preprocess_input(image.img_to_array(img)[None]))
print("Predicted:", decode_predictions(preds, top=3)[0])
