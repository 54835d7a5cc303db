"""Dropout on the non-recurrent connections (Zaremba et al., arXiv 1409.2329, section 3.1), inverted.

    y = m * x,  m = 1 / keep_prob with probability keep_prob, else 0          dx = m * dy

so that the expected output is x and nothing changes at evaluation, where the mask is None. Sixteen random bits decide
on a unit, so keep_prob is meant to the nearest 1 / 65536.

The bits are those of Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): a cipher that
turns a counter and a key into 256 random bits, any block of the stream without those before it. So each thread of a GPU
finds its own, and NumPy and CUDA draw the same masks.
"""

import numpy as np

from minilstm.gpu.launch import THREADS, launch

DROPOUT_MASK = """
extern "C" __global__ void dropout_mask(real* mask, unsigned long long seed, unsigned long long step, int threshold,
                                        wide scale, long long size)
{
    // this thread: the stream's block k + 1, its 4 words of 64 bits, for the units from 16 k on
    unsigned long long k = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    unsigned long long word[4] = {k + 1, 0, 0, 0}, key[2] = {seed, step};
    for (int round = 0; round < 10; ++round) {
        const unsigned long long m0 = 0xD2E7470EE14C6C93, m1 = 0xCA5A826395121157;
        unsigned long long high0 = __umul64hi(m0, word[0]), low0 = m0 * word[0];
        unsigned long long high1 = __umul64hi(m1, word[2]), low1 = m1 * word[2];
        word[0] = high1 ^ word[1] ^ key[0];
        word[2] = high0 ^ word[3] ^ key[1];
        word[1] = low1;
        word[3] = low0;
        key[0] += 0x9E3779B97F4A7C15;
        key[1] += 0xBB67AE8584CAA73B;
    }
    for (int j = 0; j < 16 && 16 * k + j < size; ++j) {
        int bits = word[j / 4] >> (16 * (j % 4)) & 0xFFFF;
        mask[16 * k + j] = bits < threshold ? scale : (wide)0;
    }
}
"""


def dropout_mask(rng, shape, keep_prob, dtype):
    """RandomInputs a mask on the host.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    keep_prob : float in (0, 1]
    dtype : dtype

    Returns
    -------
    mask : array of `shape` holding 0 and 1 / keep_prob
    """
    threshold = threshold_of(keep_prob)
    mask = (rng.integers(65536, size=shape, dtype=np.uint16) < threshold).astype(dtype)
    mask *= 65536 / threshold
    return mask


def dropout_mask_on_gpu(seed, step, shape, keep_prob, dtype, cupy):
    """RandomInputs on the GPU the mask that `dropout_mask` draws with the generator ``Philox(key=[seed, step])``."""
    threshold = threshold_of(keep_prob)
    mask = cupy.empty(shape, dtype=dtype)
    wide = np.float64 if dtype == "float64" else np.float32
    numbers = np.uint64(seed), np.uint64(step), np.int32(threshold), wide(65536 / threshold), np.int64(mask.size)
    launch(DROPOUT_MASK, -(-mask.size // (16 * THREADS)), (mask,), numbers)
    return mask


def threshold_of(keep_prob):
    """How many of the 65536 values of 16 bits keep a unit."""
    return max(1, round(65536 * keep_prob))


def dropout_forward(inputs, mask):
    """Inputs, any shape, times the mask of the same shape; a mask of None keeps everything."""
    return inputs if mask is None else inputs * mask


def dropout_backward(doutputs, mask):
    """Gradient of the inputs: the mask again."""
    return doutputs if mask is None else doutputs * mask
