// scalar_t is the type of arrays, acc_t that of arithmetic: float32 for half-precision arrays, otherwise the same.
// DTYPE, the number of bits of scalar_t, is defined before this file: 16, 32 or 64.
#ifndef DTYPE
#define DTYPE 32
#endif
#if DTYPE == 64
typedef double scalar_t, acc_t;
#elif DTYPE == 32
typedef float scalar_t, acc_t;
#else
#include <cuda_fp16.h>
typedef __half scalar_t;
typedef float acc_t;
#endif
