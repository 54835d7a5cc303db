"""The recurrent product, a few rows with a big matrix, which each time step has to wait for.

    forward     W_hh h_{t-1}        backward     W_hh^T dz_{t+1}

On a CPU it is a matrix product like others. On a GPU a step of a small layer takes hardly longer than its kernels take
to start, so the product of a small layer is put off, and the kernel of the gates (kernels.py) does it on its way: one
kernel a step instead of two. A large layer's weights would not come from memory fast enough there; its products are
the library's.
"""

from typing import Any, NamedTuple

from minilstm.device import array_module, on_gpu

SMALL = 512  # the largest hidden size whose products are put off: estimated; benchmarks/recurrence.py measures it
WARP, ROWS = 32, 4  # as in ROW_PRODUCTS

ROW_PRODUCTS = """
enum { WARP = 32, ROWS = 4 };  // 32 threads, which run in step, are a warp; it works on 4 rows at a time

// The sum of what the threads of the warp have: in five rounds every thread adds the number of the one whose place
// differs from its own in one bit. The order is always the same, and so is the sum, bit for bit.
__device__ wide warp_sum(wide part)
{
    for (int bit = WARP / 2; bit > 0; bit /= 2) part += __shfl_xor_sync(0xFFFFFFFF, part, bit);
    return part;
}

// Products of ROWS rows (B, K), the first one given, with `count` columns that begin `stride` apart. Each thread of the
// warp adds up every 32nd of the K elements, four at a time, so that their loads need not wait for one another; those
// beyond the end count as zero. Then thread r gets the products of row first + r.
template <int count>
__device__ void row_products(wide* products, const real* rows, const real* columns, int stride, int first, int B, int K)
{
    int thread = threadIdx.x % WARP;
    wide part[count][ROWS] = {};
    for (int start = thread; start < K; start += 4 * WARP)
        for (int n = 0; n < 4; ++n) {
            int k = min(start + n * WARP, K - 1);
            wide counts = start + n * WARP < K;
            for (int q = 0; q < count; ++q) {
                wide w = counts * (wide)columns[q * stride + k];
                for (int r = 0; r < ROWS; ++r) part[q][r] += w * (wide)rows[min(first + r, B - 1) * K + k];
            }
        }
    for (int q = 0; q < count; ++q)
        for (int r = 0; r < ROWS; ++r) {
            wide sum = warp_sum(part[q][r]);
            if (thread == r) products[q] = sum;
        }
}
"""


class Product(NamedTuple):
    """A product that is put off: rows (B, K) @ columns.T (K, M), both without gaps in memory."""

    rows: Any
    columns: Any

    def threads(self, H):
        """How many threads of a kernel do it: a warp for each of the H units in each ROWS rows."""
        return WARP * H * -(-len(self.rows) // ROWS)


def row_product(rows, matrix):
    """rows (B, K) @ matrix (K, M), a few rows with a big matrix: an array, or a `Product` that is put off.

    On a CPU the rows go in as columns: a BLAS rearranges the big matrix for each small product anew, and does so faster
    for columns than for rows.
    """
    if put_off(matrix):
        return Product(rows, matrix.T)
    return rows @ matrix if on_gpu(rows) else (matrix.T @ rows.T).T


def computed(product):
    """The array (B, M) of a product, put off or not."""
    return product.rows @ product.columns.T if isinstance(product, Product) else product


def put_off(matrix):
    """Whether products with this matrix, of H rows or H columns, are put off."""
    return on_gpu(matrix) and min(matrix.shape) <= SMALL


def by_columns(matrix):
    """The same matrix, its columns without gaps in memory where products with it are put off."""
    return array_module(matrix).ascontiguousarray(matrix.T).T if put_off(matrix) else matrix
