"""Published weights: from a model's name to a filled model.

Imported as `kerastorch.hub`. The registry of models knows what is published (`catalogue`). A file
is looked for in Keras's cache (`cache`), downloaded (`downloading`) by one process while others
wait (`locking`), converted once and mapped from then on (`obtaining`). A folder of converted files
can be a mirror (`release`). The environment has a say (`settings`). `entry_points` is what
`torch.hub` sees.
"""

from .catalogue import Checkpoint, checkpoints, checkpoints_of
from .errors import PublishedWeightsError
from .obtaining import fill_cache, load_published

__all__ = [
    "Checkpoint",
    "PublishedWeightsError",
    "checkpoints",
    "checkpoints_of",
    "fill_cache",
    "load_published",
]
