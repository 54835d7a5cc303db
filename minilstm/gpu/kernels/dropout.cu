// Dropout masks from Philox4x64-10, bit for bit the same as NumPy's: see layers/dropout.py. Each thread computes one
// block of the stream, whose key is (seed, step); the mask begins after `first` blocks.
#include "types.cuh"

extern "C" __global__ void dropout_mask(scalar_t* mask, unsigned long long seed, unsigned long long step,
                                        unsigned long long first, int threshold, acc_t scale, long long size)
{
    // thread k: block first + k + 1 of the stream, 4 words of 64 bits, for units 16 k to 16 k + 15
    unsigned long long k = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    unsigned long long word[4] = {first + k + 1, 0, 0, 0}, key[2] = {seed, step};
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
    for (int j = 0; j < 16; ++j) {
        int bits = word[j / 4] >> (16 * (j % 4)) & 0xFFFF;
        if (16 * k + j < size) mask[16 * k + j] = bits < threshold ? scale : (acc_t)0;
    }
}
