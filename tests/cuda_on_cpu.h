// CUDA for g++: what kernels need from CUDA's compiler and headers, with a block's threads as coroutines.
//
// A thread runs until it waits for others: for its warp in a shuffle, or for its block in __syncthreads(). Only then
// does the next coroutine start; threads that never wait share one, one after the other.
#pragma once
#undef _FORTIFY_SOURCE  // it forbids _longjmp to another stack
#include <math.h>
#include <setjmp.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <tuple>

#define __device__
#define __global__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static  // blocks run one after the other
using std::isfinite, std::isinf, std::isnan, std::max, std::min;

struct dim3 { unsigned x, y, z; };
static dim3 threadIdx, blockIdx, blockDim, gridDim;
static char* dynamic_shared;

namespace on_cpu {

enum State { idle, waits_for_warp, waits_for_block };
struct Coroutine {
    State state = idle;
    dim3 thread;
    int exchanges = 0;  // shuffles of this thread
    jmp_buf place;
    std::unique_ptr<char[]> stack;
};
enum { STACK_BYTES = 1 << 16, MAX_THREADS = 1024, WARP_SIZE = 32 };
static Coroutine coroutines[MAX_THREADS], *current;
static jmp_buf scheduler;
static std::function<void()> call_kernel;
static unsigned next_thread, num_threads;

static void run_threads()  // the main function of every coroutine
{
    for (;;) {
        while (next_thread < num_threads) {
            unsigned n = next_thread++;
            current->thread = threadIdx = {n % blockDim.x, n / blockDim.x % blockDim.y, n / blockDim.x / blockDim.y};
            current->exchanges = 0;
            call_kernel();
        }
        current->state = idle;
        if (!_setjmp(current->place)) _longjmp(scheduler, 1);
    }
}

// noipa: the compiler must not conclude from the body of a function that switches threads which registers it changes.
__attribute__((noipa)) static void resume(Coroutine& coroutine)
{
    current = &coroutine;
    threadIdx = coroutine.thread;
    if (_setjmp(scheduler)) return;
    if (coroutine.stack) _longjmp(coroutine.place, 1);
    coroutine.stack.reset(new char[STACK_BYTES]);
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = coroutine.stack.get();
    context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&context, run_threads, 0);
    setcontext(&context);
}

__attribute__((noipa)) static void wait(State state)
{
    current->state = state;
    if (!_setjmp(current->place)) _longjmp(scheduler, 1);
}

static void run_block()
{
    next_thread = 0;
    int started = 0;
    while (next_thread < num_threads) resume(coroutines[started++]);
    auto resume_all = [started](State state) {
        bool any = false;
        for (int n = 0; n < started; ++n)
            if (coroutines[n].state == state) {
                any = true;
                resume(coroutines[n]);
            }
        return any;
    };
    while (resume_all(waits_for_warp) || resume_all(waits_for_block)) {}
}

// A launch of a kernel, with a copy of its arguments, to be called any number of times. `shape` (7,) is the grid's x,
// y and z, the block's, and the bytes of dynamic shared memory; `pointers` has one to each argument, as in
// cuLaunchKernel.
template <class... A> std::function<void()> bind(void (*kernel)(A...), const unsigned* shape, void** pointers)
{
    int n = 0;
    std::tuple<A...> arguments{*(A*)pointers[n++]...};  // braces: from left to right
    dim3 grid{shape[0], shape[1], shape[2]}, block{shape[3], shape[4], shape[5]};
    std::shared_ptr<char[]> shared(new char[shape[6] + 1]);
    return [=] {
        gridDim = grid;
        blockDim = block;
        num_threads = block.x * block.y * block.z;
        dynamic_shared = shared.get();
        call_kernel = [&] { std::apply(kernel, arguments); };
        for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
            for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
                for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) run_block();
    };
}

}  // namespace on_cpu

static inline void __syncthreads() { on_cpu::wait(on_cpu::waits_for_block); }
static inline void __syncwarp(unsigned = ~0u) { on_cpu::wait(on_cpu::waits_for_warp); }

template <class T> T __shfl_xor_sync(unsigned, T value, int bit)
{
    static T values[2][on_cpu::MAX_THREADS];  // two, so that a thread that is one shuffle ahead overwrites nothing
    T* round = values[on_cpu::current->exchanges++ % 2];
    unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    round[thread] = value;
    __syncwarp();
    return round[thread ^ bit];
}

static inline unsigned __ballot_sync(unsigned, int condition)  // of a whole warp
{
    unsigned bits = condition ? 1u << threadIdx.x % on_cpu::WARP_SIZE : 0;
    for (int bit = 1; bit < on_cpu::WARP_SIZE; bit *= 2) bits |= __shfl_xor_sync(~0u, bits, bit);
    return bits;
}

// One thread runs at a time, so that every operation is atomic.
template <class T> T atomicCAS(T* address, T expected, T value)
{
    T old = *address;
    if (old == expected) *address = value;
    return old;
}
template <class T> T atomicAdd(T* address, T value)
{
    T old = *address;
    *address += value;
    return old;
}

template <class To, class From> To bits_as(From x)
{
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
static inline int __float_as_int(float x) { return bits_as<int>(x); }
static inline float __int_as_float(int x) { return bits_as<float>(x); }
static inline long long __double_as_longlong(double x) { return bits_as<long long>(x); }
static inline double __longlong_as_double(long long x) { return bits_as<double>(x); }

static inline int __clz(unsigned x) { return x ? __builtin_clz(x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned __int128)a * b >> 64;
}

// Half precision, of cuda_fp16.h, which is then an empty file. Arithmetic is in float.
struct __half_raw { unsigned short x; };
struct __half {
    _Float16 value;
    __half() = default;
    template <class T> __half(T x) : value(x) {}
    __half(__half_raw raw) : value(bits_as<_Float16>(raw)) {}
    operator float() const { return value; }
    operator __half_raw() const { return {bits_as<unsigned short>(value)}; }
};
using half = __half;
static inline unsigned short __half_as_ushort(half x) { return bits_as<unsigned short>(x); }
static inline half __ushort_as_half(unsigned short x) { return bits_as<half>(x); }
