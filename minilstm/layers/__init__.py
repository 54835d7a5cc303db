"""The layers, forward and backward of each side by side; see each file's first lines for its equations.

Every forward function returns its outputs and a cache; the backward function below it takes the gradient of the outputs
and that cache, and returns the gradient of the inputs and a dict of parameter gradients. No function changes its
arguments. A cache refers to the inputs of its layer: leave them as they are until the backward pass is done.

The code uses NumPy's interface alone. Given CuPy's arrays, NumPy's functions hand over to CuPy's by themselves (NumPy
enhancement proposals 13, 18 and 35), so the same lines run on a GPU. That is the reference which gpu/, a faster set of
the same functions, is tested against.
"""
