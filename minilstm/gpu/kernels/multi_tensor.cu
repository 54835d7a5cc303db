// Multi-tensor apply: the same pointwise operation on COUNT arrays in one kernel. A model has about a dozen parameters,
// most of them small; separate launches would cost more than the arithmetic. blockIdx.y is the array, shared by
// gridDim.x blocks.
#include "types.cuh"
#include "reduce.cuh"

#ifndef COUNT
#define COUNT 1
#endif

struct Tensors {  // as in gpu/multi_tensor.py
    scalar_t* x[COUNT];
    scalar_t* dx[COUNT];
    long long size[COUNT];
};

// partial (COUNT, gridDim.x): the sum of squares over each block's part of an array
extern "C" __global__ void sum_of_squares(const Tensors tensors, acc_t* partial)
{
    __shared__ acc_t shared[256];
    const scalar_t* x = tensors.x[blockIdx.y];
    long long size = tensors.size[blockIdx.y], stride = (long long)gridDim.x * blockDim.x;
    acc_t sum = 0;
    for (long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x; n < size; n += stride)
        sum += (acc_t)x[n] * (acc_t)x[n];
    sum = block_reduce(sum, shared, false);
    if (threadIdx.x == 0) partial[(long long)blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// x <- factor * x
extern "C" __global__ void scale(const Tensors tensors, const acc_t* factor)
{
    scalar_t* x = tensors.x[blockIdx.y];
    long long size = tensors.size[blockIdx.y], stride = (long long)gridDim.x * blockDim.x;
    for (long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x; n < size; n += stride)
        x[n] = (acc_t)x[n] * *factor;
}

// x <- x - learning_rate * dx
extern "C" __global__ void sgd_update(const Tensors tensors, const acc_t* learning_rate)
{
    scalar_t *x = tensors.x[blockIdx.y], *dx = tensors.dx[blockIdx.y];
    long long size = tensors.size[blockIdx.y], stride = (long long)gridDim.x * blockDim.x;
    for (long long n = (long long)blockIdx.x * blockDim.x + threadIdx.x; n < size; n += stride)
        x[n] = (acc_t)x[n] - *learning_rate * (acc_t)dx[n];
}
