"""Inference beside others: contenders in processes of their own, called in turn."""
