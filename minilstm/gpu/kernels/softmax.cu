// Softmax and cross-entropy, as in layers/softmax.py, with the same equation numbers.
//
//     (1)  p_n = exp(s_n) / sum_v exp(s_nv)
//     (2)  loss = sum_n w_n * -log p_n[target_n] / B
//
// One block per row n; each thread handles every blockDim.x-th word, AT_ONCE of them in a pass of its loop. Their loads
// overlap because none is conditional: beyond the end the last word is computed again. Logits are at least float32:
// acc_t. loss_weights (N,) may be a null pointer, for ones.
#include "types.cuh"
#include "reduce.cuh"

enum { AT_ONCE = 8 };

// exps (N, V) = exp(s - max(s)), with row sums (N,), so that p = exps / sums. losses (N,): the terms of (2), NaN for a
// target outside the vocabulary, which makes the loss NaN.
extern "C" __global__ void softmax_cross_entropy_forward(const acc_t* __restrict__ logits, const long long* targets,
                                                         const acc_t* loss_weights, acc_t* __restrict__ exps,
                                                         acc_t* sums, acc_t* losses, int B, int V)
{
    __shared__ acc_t shared[256];
    int n = blockIdx.x, stride = blockDim.x;
    const acc_t* s = logits + (long long)n * V;
    acc_t* e = exps + (long long)n * V;
    acc_t largest = s[0], sum = 0;
    for (int first = threadIdx.x; first < V; first += AT_ONCE * stride)
        for (int k = 0; k < AT_ONCE; ++k) largest = fmax(largest, s[min(first + k * stride, V - 1)]);
    largest = block_reduce(largest, shared, true);
    for (int first = threadIdx.x; first < V; first += AT_ONCE * stride)
        for (int k = 0; k < AT_ONCE; ++k) {
            int v = min(first + k * stride, V - 1);
            e[v] = exp(s[v] - largest);  // (1)
            sum += first + k * stride < V ? e[v] : 0;
        }
    sum = block_reduce(sum, shared, false);
    if (threadIdx.x > 0) return;
    sums[n] = sum;
    long long target = targets[n];
    acc_t target_s = 0 <= target && target < V ? s[target] - largest : (acc_t)nan("");
    losses[n] = (loss_weights ? loss_weights[n] : 1) * (log(sum) - target_s) / B;  // (2) -log p = log(sum) - s
}

// ds (N, V) = (p - onehot(target)) * w / B
extern "C" __global__ void softmax_cross_entropy_backward(const acc_t* __restrict__ exps, const acc_t* sums,
                                                          const long long* targets, const acc_t* loss_weights,
                                                          acc_t* __restrict__ ds, int B, int V)
{
    int n = blockIdx.x, stride = blockDim.x;
    const acc_t* e = exps + (long long)n * V;
    acc_t w = (loss_weights ? loss_weights[n] : 1) / B, scale = w / sums[n];
    long long target = targets[n];
    for (int first = threadIdx.x; first < V; first += AT_ONCE * stride)
        for (int k = 0; k < AT_ONCE; ++k) {
            int v = min(first + k * stride, V - 1);
            ds[(long long)n * V + v] = e[v] * scale - (v == target ? w : 0);  // p_n w_n / B, less w_n / B at the target
        }
}
