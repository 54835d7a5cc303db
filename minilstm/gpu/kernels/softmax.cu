// Softmax and cross-entropy, as in layers/softmax.py, with the same equation numbers.
//
//     (1)  p_n = exp(s_n) / sum_v exp(s_nv)
//     (2)  loss = sum_n w_n * -log p_n[target_n] / B
//
// One block per row n; each thread handles every blockDim.x-th word. Logits are at least float32: acc_t. loss_weights
// (N,) may be a null pointer, for ones.
#include "types.cuh"
#include "reduce.cuh"

// exps (N, V) = exp(s - max(s)), with row sums (N,), so that p = exps / sums. losses (N,): the terms of (2), NaN for a
// target outside the vocabulary, which makes the loss NaN.
extern "C" __global__ void softmax_cross_entropy_forward(const acc_t* logits, const long long* targets,
                                                         const acc_t* loss_weights, acc_t* exps, acc_t* sums,
                                                         acc_t* losses, int B, int V)
{
    __shared__ acc_t shared[256];
    int n = blockIdx.x;
    const acc_t* s = logits + (long long)n * V;
    acc_t largest = s[0], sum = 0;
    for (int v = threadIdx.x; v < V; v += blockDim.x) largest = fmax(largest, s[v]);
    largest = block_reduce(largest, shared, true);
    for (int v = threadIdx.x; v < V; v += blockDim.x) sum += exps[(long long)n * V + v] = exp(s[v] - largest);  // (1)
    sum = block_reduce(sum, shared, false);
    if (threadIdx.x > 0) return;
    sums[n] = sum;
    long long target = targets[n];
    acc_t target_s = 0 <= target && target < V ? s[target] - largest : (acc_t)nan("");
    losses[n] = (loss_weights ? loss_weights[n] : 1) * (log(sum) - target_s) / B;  // (2) -log p = log(sum) - s
}

// ds (N, V) = (p - onehot(target)) * w / B
extern "C" __global__ void softmax_cross_entropy_backward(const acc_t* exps, const acc_t* sums,
                                                          const long long* targets, const acc_t* loss_weights,
                                                          acc_t* ds, int B, int V)
{
    int n = blockIdx.x;
    const acc_t* row = exps + (long long)n * V;
    acc_t sum = sums[n], w = (loss_weights ? loss_weights[n] : 1) / B;
    long long target = targets[n];
    for (int v = threadIdx.x; v < V; v += blockDim.x)
        ds[(long long)n * V + v] = (row[v] / sum - (v == target)) * w;  // (1) (2)
}
