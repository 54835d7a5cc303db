"""The layers, each with its forward and backward pass side by side and its equations at the top of the file.

Every forward function returns its outputs and a cache. The backward function below it takes the gradient of the outputs
and that cache, and returns the gradient of the inputs and a dict of parameter gradients. No function changes its
arguments, but for one: the backward function of softmax reuses the memory of its cache, which therefore serves once. A
cache refers to the inputs of its layer, so do not change them before the backward pass is done.

The code uses NumPy's interface and, for large arrays, `matmul` and `by_rows` of blocks.py, which do the same on several
threads. NumPy functions called on CuPy arrays dispatch to CuPy (NumPy enhancement proposals 13, 18 and 35), so the same
lines run on a GPU. They are the reference for gpu/, a faster set of the same functions.
"""
