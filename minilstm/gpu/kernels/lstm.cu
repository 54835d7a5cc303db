// One time step of the LSTM, as in layers/lstm.py, with the same equation numbers.
//
//     (1)  z_t = W_ih x_t + W_hh h_{t-1} + b
//     (2)  i, f, o = sigmoid(z_i), sigmoid(z_f + forget_bias), sigmoid(z_o)
//     (3)  g = tanh(z_g)
//     (4)  c_t = f * c_{t-1} + i * g
//     (5)  h_t = o * tanh(c_t)
//
// In NumPy every line is a pass through memory. Here a thread computes all lines for one unit in registers. `gates`
// (B, 4H) holds W_ih x_t before the forward step, and i, f, g, o after it.
//
// Each direction has two kernels: one takes the recurrent matrix product as an array, the other computes it too. The
// second saves a launch, which for a small layer is most of the time of a step.
#include "types.cuh"
#include "reduce.cuh"

__device__ acc_t sigmoid(acc_t z) { return (1 + tanh(z / 2)) / 2; }

// Unit j of row b of the batch; r_i, r_f, r_g and r_o are its four elements of W_hh h_{t-1}.
__device__ void unit_forward(int b, int j, acc_t r_i, acc_t r_f, acc_t r_g, acc_t r_o, const scalar_t* bias,
                             scalar_t* gates, const scalar_t* c_prev, scalar_t* c_out, scalar_t* tanh_c_out,
                             scalar_t* h_out, acc_t forget_bias, int H)
{
    int n = b * H + j, k = b * 4 * H + j;           // its index in (B, H) and, for z_i, in (B, 4H); z_f is at k + H
    acc_t z_i = (acc_t)gates[k] + r_i + (acc_t)bias[j];                         // (1)
    acc_t z_f = (acc_t)gates[k + H] + r_f + (acc_t)bias[j + H];
    acc_t z_g = (acc_t)gates[k + 2 * H] + r_g + (acc_t)bias[j + 2 * H];
    acc_t z_o = (acc_t)gates[k + 3 * H] + r_o + (acc_t)bias[j + 3 * H];
    acc_t i = sigmoid(z_i), f = sigmoid(z_f + forget_bias), o = sigmoid(z_o);   // (2)
    acc_t g = tanh(z_g);                                                        // (3)
    acc_t c = f * (acc_t)c_prev[n] + i * g;                                     // (4)
    acc_t tanh_c = tanh(c);
    gates[k] = i;
    gates[k + H] = f;
    gates[k + 2 * H] = g;
    gates[k + 3 * H] = o;
    c_out[n] = c;
    tanh_c_out[n] = tanh_c;
    h_out[n] = o * tanh_c;                                                      // (5)
}

// Unit j of row b of the batch, backward; dh is the total gradient of its h_t.
__device__ void unit_backward(int b, int j, acc_t dh, const scalar_t* dc_next, const scalar_t* gates,
                              const scalar_t* c_prev, const scalar_t* tanh_c_in, scalar_t* dz, scalar_t* dc_prev, int H)
{
    int n = b * H + j, k = b * 4 * H + j;           // as in unit_forward
    acc_t i = gates[k], f = gates[k + H], g = gates[k + 2 * H], o = gates[k + 3 * H], tanh_c = tanh_c_in[n];
    acc_t dc = (dc_next ? (acc_t)dc_next[n] : 0) + dh * o * (1 - tanh_c * tanh_c);  // (5)
    dz[k + 3 * H] = dh * tanh_c * o * (1 - o);                                  // (5) (2)
    dz[k] = dc * g * i * (1 - i);                                               // (4) (2)
    dz[k + H] = dc * (acc_t)c_prev[n] * f * (1 - f);                            // (4) (2)
    dz[k + 2 * H] = dc * i * (1 - g * g);                                       // (4) (3)
    dc_prev[n] = dc * f;                                                        // (4)
}

extern "C" __global__ void lstm_step_forward(const scalar_t* recurrent, const scalar_t* bias, scalar_t* gates,
                                             const scalar_t* c_prev, scalar_t* c, scalar_t* tanh_c, scalar_t* h,
                                             acc_t forget_bias, int B, int H)
{
    int n = blockIdx.x * blockDim.x + threadIdx.x, b = n / H, j = n % H;  // this thread's row and unit
    if (b >= B) return;
    const scalar_t* r = recurrent + b * 4 * H + j;
    unit_forward(b, j, r[0], r[H], r[2 * H], r[3 * H], bias, gates, c_prev, c, tanh_c, h, forget_bias, H);
}

// dh_next and dc_next may be null pointers, for zeros.
extern "C" __global__ void lstm_step_backward(const scalar_t* dh_next, const scalar_t* doutputs,
                                              const scalar_t* dc_next, const scalar_t* gates, const scalar_t* c_prev,
                                              const scalar_t* tanh_c, scalar_t* dz, scalar_t* dc_prev, int B, int H)
{
    int n = blockIdx.x * blockDim.x + threadIdx.x, b = n / H, j = n % H;
    if (b >= B) return;
    acc_t dh = (acc_t)doutputs[n] + (dh_next ? (acc_t)dh_next[n] : 0);
    unit_backward(b, j, dh, dc_next, gates, c_prev, tanh_c, dz, dc_prev, H);
}

enum { ROWS = 4 };  // of the batch per warp, as in gpu/lstm.py

// A skinny GEMM: ROWS rows of (B, K), starting at row `first`, times `count` columns at a distance of `stride`. Each
// thread of the warp sums every 32nd of the K elements, four at a time so that their loads overlap; elements beyond the
// end count as zero. Thread r then receives the products of row first + r.
template <int count>
__device__ void skinny_gemm(acc_t* products, const scalar_t* rows, const scalar_t* columns, int stride, int first,
                            int B, int K)
{
    int thread = threadIdx.x % WARP;
    acc_t part[count][ROWS] = {};
    for (int start = thread; start < K; start += 4 * WARP)
        for (int n = 0; n < 4; ++n) {
            int k = min(start + n * WARP, K - 1);
            acc_t inside = start + n * WARP < K;
            for (int q = 0; q < count; ++q) {
                acc_t w = inside * (acc_t)columns[q * stride + k];
                for (int r = 0; r < ROWS; ++r) part[q][r] += w * (acc_t)rows[min(first + r, B - 1) * K + k];
            }
        }
    for (int q = 0; q < count; ++q)
        for (int r = 0; r < ROWS; ++r) {
            acc_t sum = warp_sum(part[q][r]);
            if (thread == r) products[q] = sum;
        }
}

// The launch bounds: blocks have 256 threads, and one block per multiprocessor is enough. Without them the compiler
// saves registers by using each load before it issues the next; with them the loads of a pass of skinny_gemm overlap.

extern "C" __global__ void __launch_bounds__(256, 1) lstm_step_forward_with_gemm(
    const scalar_t* h_prev, const scalar_t* W_hh, const scalar_t* bias, scalar_t* gates, const scalar_t* c_prev,
    scalar_t* c, scalar_t* tanh_c, scalar_t* h, acc_t forget_bias, int B, int H)
{
    int warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, j = warp % H, first = warp / H * ROWS;
    if (first >= B) return;
    acc_t r[4];
    skinny_gemm<4>(r, h_prev, W_hh + (long long)j * H, H * H, first, B, H);
    int thread = threadIdx.x % WARP, b = first + thread;
    if (thread >= ROWS || b >= B) return;
    unit_forward(b, j, r[0], r[1], r[2], r[3], bias, gates, c_prev, c, tanh_c, h, forget_bias, H);
}

// W_hh_T is W_hh transposed, (H, 4H), so that a warp reads its rows. dz_next is the dz of step t + 1.
extern "C" __global__ void __launch_bounds__(256, 1) lstm_step_backward_with_gemm(
    const scalar_t* dz_next, const scalar_t* W_hh_T, const scalar_t* doutputs, const scalar_t* dc_next,
    const scalar_t* gates, const scalar_t* c_prev, const scalar_t* tanh_c, scalar_t* dz, scalar_t* dc_prev,
    int B, int H)
{
    int warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, j = warp % H, first = warp / H * ROWS;
    if (first >= B) return;
    acc_t dh_next[1];
    skinny_gemm<1>(dh_next, dz_next, W_hh_T + (long long)j * 4 * H, 0, first, B, 4 * H);
    int thread = threadIdx.x % WARP, b = first + thread;
    if (thread >= ROWS || b >= B) return;
    unit_backward(b, j, (acc_t)doutputs[b * H + j] + dh_next[0], dc_next, gates, c_prev, tanh_c, dz, dc_prev, H);
}
