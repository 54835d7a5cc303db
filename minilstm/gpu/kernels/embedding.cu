// Embedding, as in layers/embedding.py. Shapes do not depend on the data, as a CUDA graph requires.
#include "types.cuh"
#include "reduce.cuh"

// outputs (N, D): the rows of weight (V, D) selected by ids (N,); NaN for an id outside the vocabulary, which makes the
// loss NaN. One block per row; each thread handles every blockDim.x-th column.
extern "C" __global__ void embedding_forward(const scalar_t* weight, const long long* ids, scalar_t* outputs, int V,
                                             int D)
{
    long long n = blockIdx.x, id = ids[n];
    for (int j = threadIdx.x; j < D; j += blockDim.x)
        outputs[n * D + j] = 0 <= id && id < V ? weight[id * D + j] : (scalar_t)(acc_t)nan("");
}

// values (N, D): row n is the sum of doutputs (N, D) over all m with the same id, in order of m; counts (N,): how many.
// blockIdx.x is n, and each thread has one column. The threads of a block compare blockDim.x ids at once; a bit for each
// says whether it is the same. Then every thread adds the rows whose bits are set.
extern "C" __global__ void embedding_backward(const scalar_t* doutputs, const long long* ids, acc_t* values,
                                              acc_t* counts, int N, int D)
{
    __shared__ unsigned same[256 / WARP];  // a bit for each of blockDim.x ids
    long long n = blockIdx.x, id = ids[n];
    int j = blockIdx.y * blockDim.x + threadIdx.x, count = 0;
    acc_t sum = 0;
    for (int start = 0; start < N; start += blockDim.x) {
        int own = start + threadIdx.x;
        unsigned bits = __ballot_sync(0xFFFFFFFF, own < N && ids[own] == id);
        if (threadIdx.x % WARP == 0) same[threadIdx.x / WARP] = bits;
        __syncthreads();
        for (int warp = 0; warp < blockDim.x / WARP; ++warp)
            for (bits = same[warp]; bits; bits &= bits - 1) {  // clears the lowest bit
                long long m = start + warp * WARP + __ffs(bits) - 1;
                if (j < D) sum += (acc_t)doutputs[m * D + j];
                ++count;
            }
        __syncthreads();
    }
    if (j < D) values[n * D + j] = sum;
    if (j == 0) counts[n] = count;
}
