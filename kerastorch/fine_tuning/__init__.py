"""Fine-tuning: what is trained, how fast, with which adapters, and in how much memory."""

from .adapters import lora_targets
from .checkpointing import checkpoint_blocks
from .freezing import freeze, unfreeze
from .groups import parameter_groups

__all__ = ["checkpoint_blocks", "freeze", "lora_targets", "parameter_groups", "unfreeze"]
