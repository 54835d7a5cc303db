"""Dropout on the non-recurrent connections (Zaremba et al., arXiv 1409.2329, section 3.1), inverted.

    y = m * x,  m = 1 / keep_prob with probability keep_prob, else 0          dx = m * dy

so that the expected output is x and nothing changes at evaluation, where the mask is None.
"""


def dropout_mask(rng, shape, keep_prob, dtype):
    """Draw a mask.

    Parameters
    ----------
    rng : random generator of the device's module
    shape : tuple of int
    keep_prob : float in (0, 1]
        1.0 draws nothing.
    dtype : dtype

    Returns
    -------
    mask : array of `shape` holding 0 and 1 / keep_prob, or None where keep_prob is 1
    """
    if keep_prob == 1.0:
        return None
    mask = (rng.random(shape, dtype="float32") < keep_prob).astype(dtype)
    mask *= 1 / keep_prob
    return mask


def dropout_forward(inputs, mask):
    """Inputs, any shape, times the mask of the same shape; a mask of None keeps everything."""
    return inputs if mask is None else inputs * mask


def dropout_backward(doutputs, mask):
    """Gradient of the inputs: the mask again."""
    return doutputs if mask is None else doutputs * mask
