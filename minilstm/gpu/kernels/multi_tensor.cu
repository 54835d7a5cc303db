// Multi-tensor apply: the same operation on several arrays in one kernel. A model has about a dozen parameters, most of
// them small; separate launches would cost more than the arithmetic. blockIdx.y is the array, shared by gridDim.x
// blocks, whose threads take every gridDim.x * blockDim.x-th element.
#include "types.cuh"
#include "reduce.cuh"

enum { MAX_ARRAYS = 60 };   // as in gpu/multi_tensor.py

struct Tensor {             // likewise; a kernel uses the members that it needs
    scalar_t *x, *dx;       // a parameter and its gradient
    acc_t *m, *v;           // Adam's moments
    const acc_t* counts;    // of the rows of a sparse gradient, each of row_size elements; otherwise a null pointer
    acc_t* partial;         // (gridDim.x,)
    long long size, row_size;
};

struct Tensors {
    Tensor tensor[MAX_ARRAYS];
};

#define FOR_EACH_ELEMENT(n, size)                                                 \
    for (long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x; n < size; \
         n += (long long)gridDim.x * blockDim.x)

// partial: the sum of squares over each block's part of a gradient; a repeated row counts once
extern "C" __global__ void sum_of_squares(const Tensors tensors)
{
    __shared__ acc_t shared[256];
    Tensor t = tensors.tensor[blockIdx.y];
    acc_t sum = 0;
    FOR_EACH_ELEMENT(n, t.size) {
        acc_t dx = t.dx[n];
        sum += t.counts ? dx * dx / t.counts[n / t.row_size] : dx * dx;
    }
    sum = block_reduce(sum, shared, false);
    if (threadIdx.x == 0) t.partial[blockIdx.x] = sum;
}

// norm () of all gradients from their partial sums (count,), and factor () = max_norm / max(norm, max_norm). One block.
extern "C" __global__ void norm_and_factor(const acc_t* partial, acc_t* norm, acc_t* factor, acc_t max_norm, int count)
{
    __shared__ acc_t shared[256];
    acc_t sum = 0;
    for (int n = threadIdx.x; n < count; n += blockDim.x) sum += partial[n];
    sum = sqrt(block_reduce(sum, shared, false));
    if (threadIdx.x > 0) return;
    *norm = sum;
    *factor = sum <= max_norm ? 1 : max_norm / sum;  // NaN if the norm is NaN
}

// x <- x - learning_rate * factor * dx
extern "C" __global__ void sgd_update(const Tensors tensors, const acc_t* factor, const acc_t* learning_rate)
{
    Tensor t = tensors.tensor[blockIdx.y];
    acc_t rate = *learning_rate * *factor;
    FOR_EACH_ELEMENT(n, t.size) t.x[n] = (acc_t)t.x[n] - rate * (acc_t)t.dx[n];
}

// The same for a sparse gradient: weight (V, D), values (N, D) of the rows ids (N,). One block per row n; of equal ids,
// all with the same values, the first updates the weight; an id outside the vocabulary has no row.
extern "C" __global__ void sparse_sgd_update(scalar_t* weight, const acc_t* values, const long long* ids,
                                             const acc_t* factor, const acc_t* learning_rate, int V, int D)
{
    __shared__ acc_t shared[256];
    long long n = blockIdx.x, id = ids[n];
    acc_t before = 0;  // how often the id occurs before n
    for (long long m = threadIdx.x; m < n; m += blockDim.x) before += ids[m] == id;
    if (block_reduce(before, shared, false) > 0 || id < 0 || id >= V) return;
    acc_t rate = *learning_rate * *factor;
    for (int j = threadIdx.x; j < D; j += blockDim.x)
        weight[id * D + j] = (acc_t)weight[id * D + j] - rate * values[n * D + j];
}

// Adam, as in optim.py, on the gradient factor * dx
extern "C" __global__ void adam_update(const Tensors tensors, const acc_t* factor, const acc_t* learning_rate,
                                       const acc_t* step, double beta1, double beta2, double epsilon)
{
    Tensor t = tensors.tensor[blockIdx.y];
    acc_t bias1 = 1 - pow(beta1, (double)*step), bias2 = 1 - pow(beta2, (double)*step);
    FOR_EACH_ELEMENT(n, t.size) {
        acc_t dx = *factor * (acc_t)t.dx[n];
        acc_t m = t.m[n] + (acc_t)(1 - beta1) * (dx - t.m[n]);
        acc_t v = t.v[n] + (acc_t)(1 - beta2) * (dx * dx - t.v[n]);
        t.m[n] = m;
        t.v[n] = v;
        t.x[n] = (acc_t)t.x[n] - *learning_rate * (m / bias1) / (sqrt(v / bias2) + (acc_t)epsilon);
    }
}
