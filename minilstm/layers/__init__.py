"""The layers, forward and backward of each side by side; see each file's first lines for its equations.

Every forward returns its outputs and a cache; the backward below it takes the gradient of the outputs and that
cache and returns the gradient of the inputs and a dict of parameter gradients. A cache serves one backward pass, which
may work in place on it.
"""
