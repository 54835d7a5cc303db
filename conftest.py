"""One BLAS thread for the tests and for every process they start.

Some tests compare runs bit for bit, and the number of threads affects the order of summation in a product. On a busy
machine, waiting threads also make small products many times slower. This file is at the root so that pytest reads it
before any module that imports NumPy, for any selection of tests.
"""

import os

os.environ.update(
    OPENBLAS_NUM_THREADS="1",
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    BLIS_NUM_THREADS="1",
    VECLIB_MAXIMUM_THREADS="1",  # Apple's Accelerate
)
