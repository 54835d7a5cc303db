// scalar_t is the type of the arrays, acc_t that of the arithmetic, which is wider where arrays are half precision.
// DTYPE, the bits of scalar_t, is set before this file: 16, 32 or 64.
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
