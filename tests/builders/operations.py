"""What Keras 3 records of `keras.ops` and of arithmetic, and Keras 2 of TensorFlow's functions."""

import numpy as np


def arithmetic(k):
    """Python's operators and items on inputs of several ranks, with constants and each other."""
    layers = k.layers
    image, other, vector = layers.Input((4, 5, 3)), layers.Input((4, 5, 3)), layers.Input((3,))
    sequence, volume = layers.Input((5, 3)), layers.Input((2, 4, 5, 3))
    colour = np.array([0.1, -0.2, 0.7])
    values = [
        image + other,
        image + 0.5,
        1 - image,
        image - 1,
        image * other,
        2.5 * image,
        image / 127.5 - 1,
        3 / (abs(image) + 1),
        image // 0.25,
        image % 0.3,
        -image,
        image**2,
        2**image,
        abs(image) ** 0.5,
        image + colour,
        image * colour.reshape(1, 1, 3),
        image - np.arange(20).reshape(4, 5, 1) / 7,
        (image / 255 - colour) / colour.reshape(1, 1, 1, 3),
        image * vector[:, None, None, :],
        image + sequence[:, None],
        sequence * 2 + colour,
        volume * image[:, None] + colour,
        volume - colour.reshape(1, 1, 1, 3),
        vector @ np.array([[1.0, -2.0], [3.0, 0.5], [0.0, 2.5]]),
        sequence @ sequence[:, :3],
        image[..., ::-1],
        image[:, 0],
        image[:, -1, 1:4],
        image[:, ::2, 3:0:-2],
        image[:, 1:3, None],
        image[:, :, :, 1],
        image[..., None],
        image[..., 1:, :],
        image[:, None, ..., 2],
        volume[:, 1],
        volume[:, :, ::-1, 1, -2:],
        vector[:, None],
        vector[:, None, None, None],
        sequence[:, ::-1, ::-1],
        image[:, 1:-1, -4:-1],
    ]
    return k.models.Model([image, other, vector, sequence, volume], values)


def comparisons(k):
    """Operators that give booleans, and what chooses by them."""
    image, other = k.layers.Input((4, 5, 3)), k.layers.Input((4, 5, 3))
    conditions = [image > 0.1, image >= other, image < other, image <= 0.2]
    return k.models.Model(
        [image, other],
        [
            *conditions,
            k.ops.where(conditions[0], image, other),
            k.ops.where(image < 0, 0.5, image),
            k.ops.logical_and(conditions[0], conditions[1]),
            k.ops.logical_or(conditions[0], conditions[1]),
            k.ops.logical_not(conditions[2]),
            k.ops.equal(image, other),
            k.ops.not_equal(image, 0),
            k.ops.cast(conditions[0], "float64") * image,
            k.ops.cast(image * 10, "int32"),
            k.ops.argmax(image, axis=-1),
            k.ops.argmin(image, axis=1, keepdims=True),
            k.ops.argmax(image),
        ],
    )


def functions(k):
    """Functions of `keras.ops` of one value or two."""
    ops = k.ops
    image, other, vector = (k.layers.Input(shape) for shape in [(4, 5, 3), (4, 5, 3), (3,)])
    positive = ops.exp(image)
    return k.models.Model(
        [image, other, vector],
        [
            *(getattr(ops, name)(image) for name in FUNCTIONS),
            *(getattr(ops, name)(positive) for name in POSITIVE_FUNCTIONS),
            ops.add(1.5, image),
            ops.subtract(image, other),
            ops.multiply(image, x2=other),
            ops.divide(image, 3),
            ops.true_divide(image, positive),
            ops.divide_no_nan(image, ops.relu(other)),
            ops.power(positive, other),
            ops.maximum(image, 0.1),
            ops.maximum(image, other),
            ops.minimum(0.1, image),
            ops.minimum(image, vector[:, None, None]),
            ops.clip(image, -0.5, 0.25),
            ops.leaky_relu(image, 0.1),
            ops.elu(image, 0.5),
            ops.celu(image, 0.5),
            ops.gelu(image),
            ops.gelu(image, approximate=False),
            ops.softmax(image),
            ops.softmax(image, axis=1),
            ops.log_softmax(vector),
            ops.log_softmax(image, axis=2),
            k.activations.relu(image),
            k.activations.relu(image, max_value=6),
            k.activations.relu(image, negative_slope=0.25, threshold=0.125),
            k.activations.softmax(image),
        ],
    )


FUNCTIONS = ["abs", "ceil", "cos", "erf", "exp", "expm1", "floor", "hard_sigmoid", "hard_silu"]


FUNCTIONS += ["hard_tanh", "log_sigmoid", "negative", "ones_like", "relu", "relu6", "selu"]


FUNCTIONS += ["sigmoid", "sign", "silu", "sin", "softplus", "softsign", "sparse_plus", "square"]


FUNCTIONS += ["sparse_sigmoid", "stop_gradient", "tan", "tanh", "tanh_shrink", "zeros_like"]


POSITIVE_FUNCTIONS = ["log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sqrt"]


def reductions(k):
    """Functions of `keras.ops` along axes, and products."""
    ops = k.ops
    image, sequence, vector = (k.layers.Input(shape) for shape in [(4, 5, 3), (5, 3), (3,)])
    values = []
    for name in ["mean", "sum", "max", "min", "prod", "std", "var", "logsumexp"]:
        function = getattr(ops, name)
        values += [
            function(image, axis=(1, 2)),
            function(image, axis=-1),
            function(image, axis=1),
            function(image, axis=[1, 2], keepdims=True),
            function(sequence, axis=-1, keepdims=True),
            function(vector, axis=1),
            function(image),
        ]
    values += [
        ops.max(image, axis=1, initial=0.5),
        ops.min(image, axis=1, initial=-0.5),
        ops.norm(image, axis=-1),
        ops.norm(image, axis=-1, ord=1, keepdims=True),
        ops.norm(vector, axis=1, ord=3),
        ops.normalize(image),
        ops.normalize(vector, axis=1),
        ops.normalize(image, axis=(1, 2), epsilon=0.5),
        ops.normalize(sequence, axis=1, order=1),
        vector / ops.sqrt(ops.maximum(ops.sum(vector**2, axis=-1, keepdims=True), 1e-12)),
        ops.matmul(sequence, ops.transpose(sequence, (0, 2, 1))),
        ops.matmul(image, np.arange(12.0).reshape(3, 4)),
        ops.matmul(image, ops.transpose(image, (0, 1, 3, 2))),
        ops.dot(image, np.arange(12.0).reshape(3, 4)),
        ops.dot(sequence, np.array([0.5, 0.25, -1.0])),
        ops.einsum("bij,bkj->bik", sequence, sequence),
        ops.einsum("bhwc,bc->bhw", image, vector),
    ]
    return k.models.Model([image, sequence, vector], values)


def shapings(k):
    """Functions of `keras.ops` that move elements."""
    ops = k.ops
    image, other, vector = (k.layers.Input(shape) for shape in [(4, 6, 3), (4, 6, 3), (24,)])
    deep, sequence = k.layers.Input((4, 6, 8)), k.layers.Input((4, 6))
    return k.models.Model(
        [image, other, vector, deep, sequence],
        [
            ops.reshape(image, (-1, 24, 3)),
            ops.reshape(image, (-1, 72)),
            ops.reshape(vector, (-1, 2, 3, 4)),
            ops.reshape(image, (-1, 3, 4, 6)),
            image.reshape((-1, 2, 12, 3)),
            ops.transpose(image, (0, 3, 1, 2)),
            ops.transpose(image, (0, 2, 1, 3)),
            ops.transpose(sequence, (0, 2, 1)),
            ops.swapaxes(image, 1, -1),
            ops.moveaxis(image, -1, 1),
            ops.moveaxis(image, (1, 2), (2, 3)),
            ops.expand_dims(vector, 1),
            ops.expand_dims(sequence, -1),
            ops.expand_dims(vector, (1, 2)),
            ops.squeeze(ops.expand_dims(sequence, -1), -1),
            ops.squeeze(ops.expand_dims(image, (1, 3)), (1, 3)),
            ops.flip(image, axis=2),
            ops.flip(image, axis=(1, -1)),
            ops.roll(image, 2, axis=1),
            ops.tile(vector, (1, 2)),
            ops.tile(image, (1, 1, 2, 3)),
            ops.repeat(image, 2, axis=-1),
            ops.repeat(vector, 3, axis=1),
            ops.pad(image, [[0, 0], [1, 0], [2, 1], [0, 0]]),
            ops.pad(image, [[0, 0], [1, 2], [2, 2], [0, 0]], constant_values=0.5),
            ops.pad(image, [[0, 0], [1, 3], [2, 2], [0, 0]], mode="reflect"),
            ops.pad(image, [[0, 0], [1, 3], [2, 2], [0, 0]], mode="symmetric"),
            ops.concatenate([image, other], axis=-1),
            ops.concatenate([image, other, image], axis=1),
            ops.stack([image, other], axis=1),
            ops.stack([image, other], axis=-1),
            ops.stack([vector, vector * 2], axis=1),
            *ops.split(image, 2, axis=1),
            *ops.split(image, [1, 3], axis=2),
            *ops.split(image, 3, axis=-1),
            *ops.unstack(image, axis=-1),
            ops.take(image, np.array([2, 0, 1]), axis=-1),
            ops.take(vector, np.array([2, -1]), axis=1),
            ops.broadcast_to(ops.expand_dims(ops.sum(image, axis=0), 0), (3, 4, 6, 3)),
            ops.image.rgb_to_grayscale(image),
            ops.depth_to_space(deep, 2),
            ops.space_to_depth(image, 2),
            ops.image.resize(image, (9, 5), interpolation="nearest"),
        ],
    )


def tensorflow_functions(k):
    """What Keras 2 records as layers of functions; only its own process can build it."""
    import tensorflow as tf

    image, other, vector = (k.layers.Input(shape) for shape in [(4, 6, 3), (4, 6, 3), (12,)])
    sequence, deep = k.layers.Input((4, 6)), k.layers.Input((4, 6, 8))
    colour = np.array([0.1, -0.2, 0.7])
    positive = tf.exp(image)
    math, nn, backend = tf.math, tf.nn, k.backend
    values = [
        image + other,
        image * 0.5,
        image / 127.5 - 1.0,
        image + colour,
        image - tf.constant(colour),
        image**2,
        image // 0.25,
        image % 0.25,
        -image,
        abs(image),
        image[..., ::-1],
        image[:, 0],
        image[:, 1:3, tf.newaxis],
        image[:, ::2, 1:-1],
        vector[:, tf.newaxis],
        tf.add(x=image, y=other),
        tf.multiply(image, 2.0),
        tf.divide(image, positive),
        math.divide_no_nan(image, nn.relu(other)),
        tf.maximum(image, 0.125),
        tf.minimum(image, other),
        tf.pow(positive, other),
        tf.clip_by_value(image, -0.5, 0.25),
        tf.where(image > 0, image, other),
        tf.where(math.logical_and(image > 0, other <= 0.25), image, 0.0),
        tf.cast(image > 0, tf.float64),
        tf.cast(tf.argmax(image, axis=-1), tf.float64),
        *(getattr(math, name)(image) for name in ["ceil", "cos", "erf", "expm1", "floor"]),
        *(getattr(math, name)(image) for name in ["sigmoid", "sign", "sin", "softplus", "square"]),
        *(getattr(math, name)(image) for name in ["tan", "tanh"]),
        *(getattr(math, name)(positive) for name in ["log", "log1p", "reciprocal", "rsqrt"]),
        math.sqrt(positive),
        *(getattr(nn, name)(image) for name in ["elu", "gelu", "leaky_relu", "log_softmax"]),
        *(getattr(nn, name)(image) for name in ["relu", "relu6", "selu", "softmax", "softsign"]),
        nn.gelu(image, approximate=True),
        nn.leaky_relu(image, alpha=0.1),
        nn.softmax(image, axis=1),
        nn.swish(image),
        nn.bias_add(image, colour),
        *(
            getattr(math, f"reduce_{name}")(image, axis=[1, 2], keepdims=keepdims)
            for name in ["mean", "sum", "max", "min", "prod", "std", "variance", "logsumexp"]
            for keepdims in [False, True]
        ),
        tf.reduce_mean(vector, -1),
        tf.norm(vector, axis=-1, keepdims=True),
        tf.norm(image, axis=3),
        math.l2_normalize(vector, axis=1),
        math.l2_normalize(image, axis=[1, 2], epsilon=0.25),
        tf.matmul(sequence, tf.transpose(sequence, [0, 2, 1])),
        tf.reshape(image, (-1, 24, 3)),
        tf.reshape(vector, [-1, 2, 2, 3]),
        tf.transpose(image, perm=(0, 3, 1, 2)),
        tf.expand_dims(sequence, -1),
        tf.squeeze(tf.expand_dims(vector, 1), [1]),
        tf.squeeze(tf.expand_dims(vector, 1), axis=1),
        tf.concat([image, other], axis=-1),
        tf.concat([image, other, image], 1),
        tf.stack([image, other], axis=1),
        *tf.unstack(image, axis=-1),
        *tf.split(image, 2, axis=1),
        *tf.split(image, [1, 3, 2], axis=2),
        tf.reverse(image, axis=[-1]),
        tf.tile(vector, [1, 2]),
        tf.gather(image, [2, 1, 0], axis=-1),
        tf.slice(image, [0, 1, 2, 0], [-1, 2, 3, 2]),
        tf.pad(image, [[0, 0], [1, 0], [2, 1], [0, 0]]),
        tf.pad(image, [[0, 0], [1, 3], [2, 2], [0, 0]], mode="REFLECT"),
        tf.pad(vector, [[0, 0], [1, 3]], constant_values=0.5),
        tf.identity(image),
        tf.stop_gradient(image),
        math.add_n([image, other]),
        tf.ones_like(image),
        nn.depth_to_space(deep, 2),
        nn.space_to_depth(image, 2),
        tf.image.resize(image, (9, 5), method="nearest"),
        backend.mean(image, axis=-1),
        backend.concatenate([image, other], axis=-1),
        backend.sqrt(backend.sum(backend.square(vector), axis=-1, keepdims=True)),
        backend.permute_dimensions(image, (0, 2, 1, 3)),
        k.activations.relu(image, max_value=6.0),
        k.applications.vgg16.preprocess_input(image),
        k.applications.densenet.preprocess_input(image),
    ]
    values = [value if value.dtype.is_floating else tf.cast(value, tf.float64) for value in values]
    return k.models.Model([image, other, vector, sequence, deep], values)


def tensorflow_functions_in_float32(k):
    """Those that compute in float32 whatever they take."""
    import tensorflow as tf

    image = k.layers.Input((4, 6, 3))
    return k.models.Model(
        image,
        [
            tf.cast(tf.image.rgb_to_grayscale(image), tf.float64),
            tf.cast(tf.image.resize(image, (9, 5)), tf.float64),
            tf.cast(tf.image.resize(image, (3, 7), "bicubic", antialias=True), tf.float64),
            tf.cast(tf.image.resize(image, (3, 7), method="area"), tf.float64),
        ],
    )


def resized_between_pixels(k):
    """`keras.ops.image.resize`, which TensorFlow does in float32."""
    image = k.layers.Input((4, 6, 3))
    return k.models.Model(image, k.ops.image.resize(image, (9, 5)))
