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
        convnext_base,
        convnext_large,
        convnext_small,
        convnext_tiny,
        convnext_xlarge,
        create_model,
        densenet121,
        densenet169,
        densenet201,
        inception_resnet_v2,
        inception_v3,
        labels,
        list_models,
        mobilenet,
        mobilenet_v2,
        nasnet_large,
        nasnet_mobile,
        preprocess,
        regnet_x002,
        regnet_x004,
        regnet_x006,
        regnet_x008,
        regnet_x016,
        regnet_x032,
        regnet_x040,
        regnet_x064,
        regnet_x080,
        regnet_x120,
        regnet_x160,
        regnet_x320,
        regnet_y002,
        regnet_y004,
        regnet_y006,
        regnet_y008,
        regnet_y016,
        regnet_y032,
        regnet_y040,
        regnet_y064,
        regnet_y080,
        regnet_y120,
        regnet_y160,
        regnet_y320,
        resnet50,
        resnet50_v2,
        resnet101,
        resnet101_v2,
        resnet152,
        resnet152_v2,
        resnet_rs50,
        resnet_rs101,
        resnet_rs152,
        resnet_rs200,
        resnet_rs270,
        resnet_rs350,
        resnet_rs420,
        resnext50,
        resnext101,
        vgg16,
        vgg19,
        xception,
    )
