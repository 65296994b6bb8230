"""Whether two models are the same: a verdict on every layer, and why it is so."""
