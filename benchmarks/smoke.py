"""Does everything work on this GPU, and is it right? In seconds, before anything is measured.

    python -m benchmarks.smoke

Writes smoke.json: the machine; products, a kernel and a few training steps, each with its error and the bound; and the
registers and local memory of the kernels with a product. The exit status is 1 if an error exceeds its bound or anything
fails.

Products and kernel are compared with NumPy in float64, relative to the largest element; steps without a graph with the
same steps on the CPU, and the captured graph, with one branch and with two, with the steps without a graph: losses and
parameters after `STEPS` steps; a perplexity from graphs with that of the plain functions. Last are ids outside the
vocabulary, which the kernels must not use as an index.
"""

import subprocess
import sys
import traceback
from dataclasses import replace
from unittest.mock import patch

import numpy as np

from benchmarks.machine import describe, make_parser, require_gpu, write
from minilstm import plain
from minilstm.config import PRESETS
from minilstm.device import to_host
from minilstm.evaluate import evaluate
from minilstm.gpu import cublas, fused, graph, launch, lstm
from minilstm.model import init_params
from minilstm.step import init_train_state, train_step
from minilstm.text.batches import batchify, get_batch
from minilstm.text.corpus import load_corpus
from minilstm.train import compile_step

BOUNDS = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2}
STEP_BOUNDS = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2}
STEPS = 10
LARGE = lstm.MAX_FUSED_HIDDEN_SIZE + 4  # hidden size with the recurrent product in cuBLAS
CASES = (24, "float32", "sgd"), (24, "float64", "adam"), (24, "float16", "sgd"), (LARGE, "float32", "sgd")
FEWEST_REGISTERS = 50  # with fewer, the compiler uses each load before it issues the next


def difference(mine, reference):
    """The largest difference of two arrays, relative to the largest element of the second."""
    mine, reference = (to_host(x).astype(np.float64) for x in (mine, reference))
    return float(abs(mine - reference).max() / abs(reference).max())


def largest_difference(mine, reference):
    """The largest `difference` of two dicts of arrays."""
    return max(difference(mine[name], reference[name]) for name in reference)


def check_products(cupy):
    """Yield name, error and bound of a product of each dtype, with an operand in each order."""
    rng = np.random.default_rng(0)
    for dtype, bound in BOUNDS.items():
        a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((30, 200), (70, 200)))
        product = cublas.matmul(cupy.asarray(a), cupy.asarray(b).T)
        yield f"product, {dtype}", difference(product, a.astype(float) @ b.T.astype(float)), bound


def check_kernels(cupy):
    """Yield name, error and bound of a window of the LSTM of each dtype."""
    rng = np.random.default_rng(0)
    T, B, H = 3, 5, 24
    shapes = {"weight_ih": (4 * H, H), "weight_hh": (4 * H, H), "bias": (4 * H,)}
    for dtype, bound in BOUNDS.items():
        params = {name: rng.uniform(-0.5, 0.5, shape).astype(dtype) for name, shape in shapes.items()}
        inputs, h, c = (rng.standard_normal(shape).astype(dtype) for shape in ((T, B, H), (B, H), (B, H)))
        on_gpu = {name: cupy.asarray(param) for name, param in params.items()}
        mine, _, _ = fused.lstm_forward(cupy.asarray(inputs), (cupy.asarray(h), cupy.asarray(c)), on_gpu)
        exact = {name: param.astype(float) for name, param in params.items()}
        reference, _, _ = plain.lstm_forward(inputs.astype(float), (h.astype(float), c.astype(float)), exact)
        yield f"kernel, {dtype}", difference(mine, reference), bound


def train_some(config, xp, kernels, captured):
    """Losses and parameters, name -> array, of a few steps on the toy corpus."""
    corpus = load_corpus()
    state = init_train_state(config, corpus.vocabulary, xp)
    step = compile_step(state, kernels) if captured else lambda *arguments: train_step(state, *arguments, kernels)
    ids = xp.asarray(batchify(corpus.splits["train"], config.batch_size).astype(np.int64))
    losses = [step(*get_batch(ids, k, config.num_steps), config.learning_rate)[0] for k in range(STEPS)]
    return {"losses": np.array([float(loss) for loss in losses]), **state.params}


def check_steps(cupy):
    """Yield name, error and bound of training without a graph, and with one of one and of two branches."""
    for hidden_size, dtype, optimizer in CASES:
        config = replace(
            PRESETS["toy"], hidden_size=hidden_size, num_layers=2, num_steps=7, batch_size=5, keep_prob=0.7,
            dtype=dtype, optimizer=optimizer, learning_rate={"sgd": 0.1, "adam": 1e-3}[optimizer],
        )  # fmt: skip
        name, bound = f"steps, hidden size {hidden_size}, {dtype}, {optimizer}: ", STEP_BOUNDS[dtype]
        reference = train_some(config, np, plain, captured=False)
        eager = train_some(config, cupy, fused, captured=False)
        yield name + "without a graph", largest_difference(eager, reference), bound
        for branches in (1, 2):
            with patch.object(graph, "SECOND_BRANCH", branches == 2):
                replayed = train_some(config, cupy, fused, captured=True)
            yield name + f"graph, branches: {branches}", largest_difference(replayed, eager), bound


def check_evaluation(cupy):
    """Yield name, error and bound of a perplexity from graphs, against that of the plain functions without one."""
    config, corpus = replace(PRESETS["toy"], hidden_size=24, num_layers=2), load_corpus()
    params = init_params(config, len(corpus.vocabulary), cupy)
    for split in ("valid", "test"):
        ids = corpus.splits[split][:2000]
        captured, reference = (evaluate(params, config, split, ids, kernels) for kernels in (fused, plain))
        yield f"perplexity from graphs, {split}", abs(captured / reference - 1), STEP_BOUNDS["float32"]


def check_ids(cupy):
    """Yield name, error and bound of steps with ids outside the vocabulary: the loss is NaN, and nothing is written."""
    config = replace(PRESETS["toy"], hidden_size=24, num_steps=7, batch_size=5)
    for inputs, targets in ((-1, 0), (1000, 0), (0, 1000)):
        state = init_train_state(config, ["a", "b"], cupy)
        loss, _ = train_step(state, *(cupy.full((7, 5), n, dtype=np.int64) for n in (inputs, targets)), 1.0, fused)
        yield f"NaN for inputs {inputs} and targets {targets} of 2 words", float(np.isfinite(to_host(loss))), 0.0


def registers():
    """Registers and bytes of local memory per thread of the kernels with a product."""
    rows = []
    for dtype in BOUNDS:
        for name in ("lstm_step_forward_with_gemm", "lstm_step_backward_with_gemm"):
            kernel = launch.compile_kernel("lstm", name, dtype)
            sizes = {"registers": kernel.num_regs, "local_bytes": kernel.local_size_bytes}
            rows.append({"kernel": name, "dtype": dtype, **sizes})
    return rows


def clocks():
    """Clocks and power limit as nvidia-smi prints them, or None without it."""
    query = "clocks.sm,clocks.max.sm,clocks.mem,power.limit,memory.used"
    try:
        return subprocess.check_output(["nvidia-smi", f"--query-gpu={query}", "--format=csv"], text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None


def main():
    parser = make_parser("smoke", __doc__)
    parser.add_argument("--no-pool", action="store_true", help="outside graphs, each array in an allocation of its own")
    args = parser.parse_args()
    cupy = require_gpu(parser)
    if args.no_pool:
        cupy.cuda.set_allocator(None)
    path = args.out / "smoke.json"
    result = {"machine": describe("cuda"), "clocks": clocks(), "checks": [], "failed": [], "kernels": []}
    print(*(f"{name}: {value}" for name, value in result["machine"].items()), f"clocks: {result['clocks']}", sep="\n")
    for check in (check_products, check_kernels, check_steps, check_evaluation, check_ids):
        try:
            for name, error, bound in check(cupy):
                passed = error <= bound  # not if it is NaN
                result["checks"].append({"check": name, "error": error, "bound": bound, "passed": passed})
                shown = "exact" if error == 0 else f"error {error:.1e}, bound {bound:.0e}"
                print(f"{'' if passed else 'WRONG: '}{name}: {shown}", flush=True)
                if not passed:
                    result["failed"].append(name)
        except Exception as error:
            traceback.print_exc()
            result["failed"].append(f"{check.__name__}: {error!r}")
        write(result, path)  # whatever the next one does to the process
    result["kernels"] = registers()
    write(result, path)
    for row in result["kernels"]:
        print(*(f"{name} {value}" for name, value in row.items()), sep=", ")
        if row["dtype"] == "float32" and (row["registers"] < FEWEST_REGISTERS or row["local_bytes"] > 0):
            print(f"  slow: it should have at least {FEWEST_REGISTERS} registers and no local memory")
    print(*(f"FAILED: {name}" for name in result["failed"]), f"written: {path}", sep="\n")
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
