// Softmax and cross-entropy; layers/softmax.py has the same lines in NumPy, with the same numbers.
//
//     (1)  p_n = exp(s_n) / sum_v exp(s_nv)
//     (2)  loss = sum_n w_n * -log p_n[target_n] / B
//
// A block does a row n, each thread every blockDim.x-th word of it. Logits are float32 at least: acc_t.
#include "types.cuh"
#include "reduce.cuh"

// exps (N, V) = exp(s - max(s)), which is p up to a factor of each row, whose sum is sums (N,). target_s (N,) receives
// the target's s - max(s), and NaN for a target outside the vocabulary, so that the loss tells.
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
