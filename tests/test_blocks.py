"""Products and passes in blocks: correct, and the same bit for bit for any number of threads."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from minilstm import blocks
from minilstm.blocks import by_rows, cut, deferred_matmul, deferred_products, matmul, start_blocks, use_threads
from minilstm.cli import main
from minilstm.config import Config
from minilstm.evaluate import evaluate
from minilstm.layers.dropout import dropout_mask, dropout_masks
from minilstm.step import init_train_state, train_step

THREADS = 1, 2, 3, 8


@pytest.fixture(autouse=True)
def one_thread_afterwards():
    yield
    use_threads(1)


def with_small_blocks(patch):
    """Have small arrays cut, too."""
    for name, value in {"MIN_SIZE": 64, "MIN_PRODUCT": 500, "MIN_SLICE": 16}.items():
        patch.setattr(blocks, name, value)


@given(st.integers(0, 2000), st.integers(1, 16))
def test_slices_cover_a_range_once_and_in_order(length, count):
    slices = cut(length, count)
    assert len(slices) == count
    assert [k for s in slices for k in range(length)[s]] == list(range(length))
    assert all(s.start % 16 == 0 for s in slices)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from(["float64", "float32", "float16"]),
    st.booleans(),
    st.sampled_from(THREADS),
)
def test_products_in_blocks_are_products(N, K, M, dtype, deferred, threads):
    rng = np.random.default_rng(N + 100 * K + 10_000 * M)
    a, b = rng.standard_normal((N, K)).astype(dtype), rng.standard_normal((M, K)).astype(dtype).T
    use_threads(threads)
    with pytest.MonkeyPatch.context() as patch:
        with_small_blocks(patch)
        with deferred_products():
            product = deferred_matmul(a, b) if deferred else matmul(a, b)
    assert product.dtype == a.dtype
    bound = {"float64": 1e-13, "float32": 1e-4, "float16": 0.5}[dtype]
    np.testing.assert_allclose(product, a.astype(float) @ b.astype(float), rtol=0, atol=bound)


def test_a_pass_over_rows_visits_each_row_once_and_returns_results_in_order():
    x = np.arange(3_000_000, dtype="float64").reshape(3000, 1000)
    for threads in THREADS:
        use_threads(threads)
        visits = np.zeros(len(x), int)

        def visit(x, visits):
            visits += 1
            return x[0, 0]

        firsts = by_rows(visit, x, visits)
        assert firsts == sorted(firsts)
        assert len(firsts) == blocks.MAX_BLOCKS
        assert (visits == 1).all()
    assert by_rows(len, x[:0]) == [0]


def checkpoint_bytes(config, vocab_size, steps=2):
    """The parameters after some steps, and the test perplexity, as bytes."""
    state = init_train_state(config, [str(n) for n in range(vocab_size)])
    rng = np.random.default_rng(0)
    for _ in range(steps):
        inputs, targets = rng.integers(vocab_size, size=(2, config.num_steps, config.batch_size))
        loss, norm = train_step(state, inputs, targets, 1.0)
    perplexity = evaluate(state.params, config, "test", rng.integers(vocab_size, size=500))
    return b"".join(map(bytes, [*state.params.values(), loss, norm])) + repr(perplexity).encode()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("keep_prob", [0.5, 1.0])
def test_training_gives_the_same_bits_for_any_number_of_threads(optimizer, keep_prob, monkeypatch):
    with_small_blocks(monkeypatch)
    config = Config(hidden_size=40, num_layers=2, keep_prob=keep_prob, optimizer=optimizer)
    results = []
    for threads in THREADS:
        use_threads(threads)
        results.append(checkpoint_bytes(config, 300))
    assert len(set(results)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_whose_arrays_are_really_cut_gives_the_same_bits(dtype):
    config = Config(hidden_size=260, num_layers=2, num_steps=35, keep_prob=0.5, dtype=dtype)
    results = []
    for threads in (1, 2, 5):
        use_threads(threads)
        results.append(checkpoint_bytes(config, 6000))
    assert len(set(results)) == 1


def test_masks_drawn_in_blocks_are_those_of_one_stream():
    shape = 3, 35, 20, 640  # each layer's mask takes whole counts of the generator
    whole = dropout_mask(np.random.Generator(np.random.Philox(key=[7, 3])), shape, 0.35, "float32")
    expected, shapes = list(whole), [shape[1:]] * 3
    for threads in THREADS:
        use_threads(threads)
        np.testing.assert_array_equal(dropout_masks(7, 3, shapes, [0.35] * 3, "float32", whole), expected)


def test_a_mask_uses_sixteen_bits_for_each_unit():
    bits = np.random.default_rng(5).integers(65536, size=(7, 9), dtype=np.uint16)
    mask = dropout_mask(np.random.default_rng(5), (7, 9), 0.25, "float64")
    np.testing.assert_array_equal(mask, np.where(bits < 16384, 4.0, 0.0))


@pytest.mark.parametrize("threads", THREADS)
def test_an_error_in_a_block_is_raised_when_no_block_is_being_computed(threads):
    use_threads(threads)
    busy = set()

    def fail(k):
        busy.add(k)
        time.sleep(0.01)
        busy.remove(k)
        if k >= 2:
            raise IndexError(f"block {k}")

    with pytest.raises(IndexError, match="block"):
        start_blocks(fail, [(k,) for k in range(16)])()
    assert not busy
    assert start_blocks(lambda k: k, [(k,) for k in range(16)])() == list(range(16))  # and the threads are still there


def test_blocks_are_computed_by_several_threads_with_the_callers_error_state():
    use_threads(3)
    names, states = set(), set()

    def note(n):
        names.add(threading.current_thread().name)
        states.add(np.geterr()["over"])
        time.sleep(0.01)

    with np.errstate(over="raise"):
        by_rows(note, np.empty((1600, 2000)))
    assert states == {"raise"}
    assert len(names) == 3
    assert threading.main_thread().name in names


def test_the_caller_does_not_wait_for_a_helper_that_is_busy_elsewhere():
    use_threads(2)
    release, started = threading.Event(), threading.Event()
    busy = blocks.threads.pool.submit(lambda: (started.set(), release.wait(20)))
    started.wait(60)
    try:
        assert start_blocks(lambda k: k, [(k,) for k in range(5)])() == list(range(5))
        assert not busy.done()
    finally:
        release.set()


def test_a_deferred_product_is_complete_after_its_context_even_if_an_error_ends_it():
    use_threads(2)
    a, b = np.ones((400, 300)), np.ones((300, 400))
    products = []

    def stop():
        with deferred_products():
            products.append(deferred_matmul(a, b))
            raise KeyError

    with pytest.raises(KeyError):
        stop()
    assert (products[0] == 300).all()
    assert (deferred_matmul(a, b) == 300).all()  # without a context, at once


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_which_has_no_helpers_computes_alone():
    use_threads(3)
    x = np.ones((1600, 2000))
    assert sum(by_rows(len, x)) == 1600  # the helpers are running
    child = os.fork()
    if not child:
        signal.alarm(30)
        os._exit(0 if (matmul(x, x.T) == 2000).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


COUNT = """
import json, sys
import numpy as np
from threadpoolctl import threadpool_info
import minilstm
before = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
count = minilstm.use_threads(*json.loads(sys.argv[1]))
print(json.dumps([before, count, [library["num_threads"] for library in threadpool_info()], minilstm.use_threads()]))
"""


@pytest.mark.parametrize(
    ("arguments", "limits", "count"),
    [([], {}, None), ([3], {}, 3), ([], {"OMP_NUM_THREADS": "1"}, 1), ([2], {"OPENBLAS_NUM_THREADS": "1"}, 2)],
)
def test_the_number_of_threads_is_that_of_the_processors_unless_limited(arguments, limits, count):
    names = {name for name in os.environ if name.endswith("_NUM_THREADS") or name.startswith("VECLIB")}
    environment = {name: value for name, value in os.environ.items() if name not in names} | limits
    output = subprocess.run(
        [sys.executable, "-c", COUNT, json.dumps(arguments)], env=environment, capture_output=True, text=True
    ).stdout
    before, used, after, again = json.loads(output)
    default = min(blocks.available_processors(), *before)
    assert used == (default if count is None else count)
    assert all(threads == 1 for threads in after)
    assert again == default  # not the 1 that use_threads itself has set


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_a_wrong_number_of_threads_changes_nothing(count):
    use_threads(2)
    before = blocks.threads
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        use_threads(count)
    assert blocks.threads is before


def test_more_threads_than_blocks_are_not_started():
    assert use_threads(10**30) == blocks.threads.number == blocks.MAX_BLOCKS
    assert use_threads(None) == blocks.threads.number <= blocks.MAX_BLOCKS


def test_the_number_of_threads_can_change_while_another_thread_computes():
    x, enough = np.ones((1600, 2000)), threading.Event()

    def compute():
        sums = []
        while not enough.is_set():
            sums.append(sum(by_rows(len, x)))
        return sums

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(compute)
        for n in range(100):
            use_threads(2 + n % 2)
        enough.set()
        assert set(future.result()) == {len(x)}


def test_importing_does_not_limit_the_blas():
    code = "import minilstm, threadpoolctl; print([lib['num_threads'] for lib in threadpoolctl.threadpool_info()])"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    plain = code.replace("minilstm", "numpy")
    outputs = {
        subprocess.run([sys.executable, "-c", c], env=environment, capture_output=True, text=True).stdout
        for c in (code, plain)
    }
    assert len(outputs) == 1


def test_checkpoints_of_runs_with_different_threads_are_the_same_file(corpus_dir, tmp_path, capsys, monkeypatch):
    with_small_blocks(monkeypatch)
    flags = ["--data", str(corpus_dir), "--device", "cpu", "--hidden-size", "24", "--max-max-epoch", "2"]
    for threads in (1, 2, 3):
        run = tmp_path / str(threads)
        assert main(["train", *flags, "--threads", str(threads), "--out", str(run)]) == 0
        line = capsys.readouterr().out.splitlines()[0]
        assert line == f"Device: cpu (NumPy); {threads} thread{'s' if threads > 1 else ''}"
        assert json.loads((run / "machine.json").read_text())["threads"] == threads
        assert all(library["num_threads"] == 1 for library in threadpool_info() if library["user_api"] == "blas")
    for name in ("checkpoint.safetensors", "config.json", "vocab.txt"):
        assert len({(tmp_path / str(threads) / name).read_bytes() for threads in (1, 2, 3)}) == 1


def test_a_run_resumed_with_other_threads_ends_as_the_uninterrupted_one(corpus_dir, tmp_path, capsys, monkeypatch):
    with_small_blocks(monkeypatch)
    flags = ["--data", str(corpus_dir), "--device", "cpu", "--hidden-size", "24", "--max-max-epoch", "2"]
    assert main(["train", *flags, "--threads", "2", "--out", str(tmp_path / "whole")]) == 0
    assert main(["train", *flags, "--threads", "3", "--out", str(tmp_path / "parts"), "--max-steps", "30"]) == 0
    assert main(["train", "--resume", "--device", "cpu", "--threads", "1", "--out", str(tmp_path / "parts")]) == 0
    whole, parts = ((tmp_path / name / "checkpoint.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    assert json.loads((tmp_path / "parts" / "machine.json").read_text())["threads"] == 1


@pytest.mark.parametrize("command", ["train", "evaluate run", "generate run", "gradcheck"])
@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_number_of_threads_that_is_none_is_refused_in_one_line(command, value, capsys):
    assert main([*command.split(), "--threads", value]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--threads" in line
    assert "is not a whole number of at least 1" in line


def test_the_lessons_compute_on_one_thread():
    code = (
        "import minilstm_lessons, threadpoolctl; from minilstm.blocks import threads; "
        "print(threads.number, {lib['num_threads'] for lib in threadpoolctl.threadpool_info()})"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.stdout == "1 {1}\n", result.stderr
