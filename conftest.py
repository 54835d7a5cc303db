"""One BLAS thread for the tests and for every process they start.

Some tests compare runs bit for bit, and the number of threads changes the order in which a product is summed. On a busy
machine, threads that wait for one another also make small products many times slower. This file stands at the root
because pytest reads it before any module that imports NumPy, whichever tests it is asked for.
"""

import os

os.environ.update(
    OPENBLAS_NUM_THREADS="1",
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    BLIS_NUM_THREADS="1",
    VECLIB_MAXIMUM_THREADS="1",  # Apple's Accelerate
)
