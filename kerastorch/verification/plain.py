"""Results as JSON holds them."""

from __future__ import annotations

import math
from typing import Any


def in_json(value: Any) -> Any:
    """The same with the texts `"inf"`, `"-inf"` and `"nan"` for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: in_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [in_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
