"""The oracle: Keras 3 on TensorFlow, answering questions in a process of its own.

`client.py` runs in the tests and knows no Keras. `__main__.py` and `keras_side.py` run in the
oracle's process and know no PyTorch. The two talk over a pipe; only weight files touch the disk.
"""
