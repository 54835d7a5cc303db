// Softmax and cross-entropy, as in layers/softmax.py, with the same equation numbers.
//
//     (1)  p_n = exp(s_n) / sum_v exp(s_nv)
//     (2)  loss = sum_n w_n * -log p_n[target_n] / B
//
// One block per row n; each thread handles every blockDim.x-th word. Logits are at least float32: acc_t.
#include "types.cuh"
#include "reduce.cuh"

// exps (N, V) = exp(s - max(s)), with row sums (N,), so that p = exps / sums. target_s (N,) = s - max(s) of the target,
// or NaN for a target outside the vocabulary, which makes the loss NaN.
extern "C" __global__ void softmax_cross_entropy_forward(const acc_t* logits, const long long* targets, acc_t* exps,
                                                         acc_t* sums, acc_t* target_s, int V)
{
    __shared__ acc_t shared[256];
    int n = blockIdx.x;
    const acc_t* s = logits + (long long)n * V;
    acc_t largest = s[0], sum = 0;
    for (int v = threadIdx.x; v < V; v += blockDim.x) largest = fmax(largest, s[v]);
    largest = block_reduce(largest, shared, true);
    for (int v = threadIdx.x; v < V; v += blockDim.x) sum += exps[(long long)n * V + v] = exp(s[v] - largest);  // (1)
    sum = block_reduce(sum, shared, false);
    long long target = targets[n];
    if (threadIdx.x > 0) return;
    sums[n] = sum;
    target_s[n] = 0 <= target && target < V ? s[target] - largest : (acc_t)nan("");
}

// ds (N, V) = (p - onehot(target)) * w, where w is loss_weights / B
extern "C" __global__ void softmax_cross_entropy_backward(const acc_t* exps, const acc_t* sums,
                                                          const long long* targets, const acc_t* w, acc_t* ds, int V)
{
    int n = blockIdx.x;
    const acc_t* row = exps + (long long)n * V;
    for (int v = threadIdx.x; v < V; v += blockDim.x)
        ds[(long long)n * V + v] = (row[v] / sums[n] - (v == targets[n])) * w[n];
}
