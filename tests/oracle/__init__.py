"""The oracle: Keras 3 on TensorFlow, answering questions in a process of its own.

`client.py` runs in the tests and knows no Keras. `__main__.py`, `keras_side.py` and, for files of
Keras 2, `keras2_side.py` run in the oracle's process and know no PyTorch. The two talk over a pipe;
only weight files touch the disk.
"""
