"""What `torch.hub` sees: `torch.hub.load("<owner>/kerastorch", "create_model", "xception")`.

Where this file stands also tells `kerastorch` that it runs from a checkout.
"""

from kerastorch import create_model, list_models  # noqa: F401

dependencies = ["torch", "torchvision", "numpy", "h5py", "safetensors"]
