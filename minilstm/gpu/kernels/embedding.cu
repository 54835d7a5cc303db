// Embedding, as in layers/embedding.py. Shapes do not depend on the data, as a CUDA graph requires.
#include "types.cuh"

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
extern "C" __global__ void embedding_backward(const scalar_t* doutputs, const long long* ids, acc_t* values,
                                              acc_t* counts, int N, int D)
{
    long long n = blockIdx.x, id = ids[n];
    for (int j = threadIdx.x; j < D; j += blockDim.x) {
        acc_t sum = 0;
        int count = 0;
        for (long long m = 0; m < N; ++m)
            if (ids[m] == id) {
                sum += (acc_t)doutputs[m * D + j];
                ++count;
            }
        values[n * D + j] = sum;
        if (j == 0) counts[n] = count;
    }
}
