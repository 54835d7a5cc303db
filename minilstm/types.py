"""Type aliases for signatures.

An array is NumPy's or CuPy's, which have the same interface; docstrings give its shape and dtype.
"""

from types import ModuleType, SimpleNamespace
from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
ArrayModule: TypeAlias = ModuleType  # numpy or cupy
Kernels: TypeAlias = ModuleType | SimpleNamespace  # two sets of the same functions, minilstm.plain, minilstm.gpu.fused
Params: TypeAlias = dict[str, Array]  # name -> array
Grads: TypeAlias = dict[str, Any]  # name -> array of the parameter's shape, or SparseGradient for an embedding
State: TypeAlias = tuple[Array, Array]  # h and c of one LSTM layer, each (B, H)
Cache: TypeAlias = Any  # passed by a forward function to its backward function only
