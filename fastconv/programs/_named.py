"""The candidates for functions in any module."""

from ._columns import Columns
from ._images import Convolution, MaxPooling

IM2COL, COL2IM = Columns(False), Columns(True)
CONVOLUTION, MAX_POOLING = Convolution(), MaxPooling()
