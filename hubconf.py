"""What `torch.hub` sees: `torch.hub.load("<owner>/kerastorch", "xception", pretrained=True)`.

Where this file stands also tells `kerastorch` that it runs from a checkout.
"""

from importlib.util import find_spec as _find_spec
from warnings import warn as _warn

dependencies = [
    "torch",
    "torchvision",
    "numpy",
    "h5py",
    "safetensors",
    "PIL",
    "rich",
    "pooch",
    "filelock",
    "tqdm",
    "requests",
]

# torch.hub runs this file before it looks whether something is missing, which it says only if the
# file ran through. It does not look at all when it lists the entry points.
_missing = [name for name in dependencies if _find_spec(name) is None]
if _missing:
    _warn(f"kerastorch has no entry points without {', '.join(_missing)}", stacklevel=2)
else:
    from kerastorch.hub.entry_points import (  # noqa: F401
        create_model,
        densenet121,
        densenet169,
        densenet201,
        efficientnet_b0,
        efficientnet_b1,
        efficientnet_b2,
        efficientnet_b3,
        efficientnet_b4,
        efficientnet_b5,
        efficientnet_b6,
        efficientnet_b7,
        efficientnet_v2_b0,
        efficientnet_v2_b1,
        efficientnet_v2_b2,
        efficientnet_v2_b3,
        efficientnet_v2_l,
        efficientnet_v2_m,
        efficientnet_v2_s,
        inception_resnet_v2,
        inception_v3,
        labels,
        list_models,
        mobilenet,
        mobilenet_v2,
        mobilenet_v3_large,
        mobilenet_v3_small,
        nasnet_large,
        nasnet_mobile,
        preprocess,
        resnet50,
        resnet50_v2,
        resnet101,
        resnet101_v2,
        resnet152,
        resnet152_v2,
        vgg16,
        vgg19,
        xception,
    )
