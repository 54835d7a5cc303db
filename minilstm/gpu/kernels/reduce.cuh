// Sums and maxima over the threads of a block or a warp. The order of operations is fixed, so results are reproducible
// bit for bit.

// Tree reduction: in each of log2(blockDim.x) rounds the lower half of the threads takes the values of the upper half.
__device__ acc_t block_reduce(acc_t value, acc_t* shared, bool maximum)
{
    shared[threadIdx.x] = value;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            acc_t other = shared[threadIdx.x + half];
            shared[threadIdx.x] = maximum ? fmax(shared[threadIdx.x], other) : shared[threadIdx.x] + other;
        }
    }
    __syncthreads();
    value = shared[0];
    __syncthreads();
    return value;
}

enum { WARP = 32 };  // threads in a warp

// Butterfly reduction: in each of five rounds every thread adds the value of the thread whose index differs in one bit.
__device__ acc_t warp_sum(acc_t value)
{
    for (int bit = WARP / 2; bit > 0; bit /= 2) value += __shfl_xor_sync(0xFFFFFFFF, value, bit);
    return value;
}
