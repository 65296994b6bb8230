"""Models for the parity tests, each written once and built by both sides.

Every function takes the namespace `k` to build with: Keras in the oracle's process, kerastorch in
the tests'. That one text serves both is itself a part of what the tests show.
"""

# ruff: noqa: F403 - all are found here under their names, as the oracle asks for them

from .applications import *
from .fine_tuning import *
from .graphs import *
from .images import *
from .layers import *
from .older import *
from .operations import *
from .own import *
