import subprocess
import sys

import numpy as np
import pytest

from helpers.gang.mesh_peers import each, joined
from tally.gang.mesh.mesh import Mesh

pytestmark = pytest.mark.exact

DTYPES = ["float32", "float64", "int32", "int64"]


@pytest.fixture
def meshes():
    made: list[Mesh] = []

    def make(world: int) -> list[Mesh]:
        made.extend(joined(world))
        return made

    yield make
    for mesh in made:
        mesh.close()


def numbers(seed, shape, dtype):
    chance = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "i":
        return chance.integers(-1000, 1000, shape).astype(dtype)
    # of very different sizes, so that another order of additions gives other bytes
    return (chance.standard_normal(shape) * 10.0 ** chance.integers(-6, 6, shape)).astype(dtype)


def left_fold(rows):
    total = rows[0].copy()
    for row in rows[1:]:
        total += row
    return total


def alike(results, expected):
    for result in results:
        if isinstance(result, Exception):
            raise result
        assert result.dtype == expected.dtype
        assert result.tobytes() == expected.tobytes()


@pytest.mark.parametrize("world", [1, 2, 3, 4, 5])
def test_all_reduce_is_the_fold_in_rank_order_on_every_rank(world, meshes):
    ranks = meshes(world)
    chance = np.random.default_rng(world)
    sizes = [0, 1, 7, 65_536, *(int(10**x) for x in chance.uniform(1, 6.3, 8))]
    for number, size in enumerate(sizes):
        dtype = DTYPES[number % 4]
        rows = [numbers([number, rank], size, dtype) for rank in range(world)]
        results = each([lambda m=m, v=v: m.all_reduce(v) for m, v in zip(ranks, rows, strict=True)])
        alike(results, left_fold(rows))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 3, 5_000, 300_001])
def test_fold_has_the_same_bytes_however_rows_are_split(dtype, size, meshes):
    rows = numbers(1, (12, size), dtype)
    expected = left_fold(rows)
    for split in ([12], [6, 6], [0, 12], [1, 0, 11], [4, 5, 3], [0, 0, 7, 5], [3, 0, 9, 0, 0]):
        ranks = joined(len(split))
        parts = np.split(rows, np.cumsum(split)[:-1])
        results = each([lambda m=m, p=p: m.fold(p) for m, p in zip(ranks, parts, strict=True)])
        alike(results, expected)
        for mesh in ranks:
            mesh.close()


def test_fold_of_no_rows_is_zero(meshes):
    nothing = np.empty((0, 200_000), np.float32)
    results = each([lambda m=m: m.fold(nothing) for m in meshes(3)])
    alike(results, np.zeros(200_000, np.float32))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_broadcast_reaches_all_from_any_root(world, meshes):
    ranks = meshes(world)
    for size in (0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 3_000_003):
        data = np.random.default_rng(size).bytes(size)
        for root in range(world):
            calls = [
                lambda m=m, d=data if rank == root else None, root=root: m.broadcast(d, root)
                for rank, m in enumerate(ranks)
            ]
            assert [bytes(got) for got in each(calls)] == [data] * world


def test_calls_of_all_kinds_follow_each_other(meshes):
    ranks = meshes(3)
    for number in range(30):
        rows = [
            numbers([number, rank], (rank + 1, 1 + number * 997), "float32") for rank in (0, 1, 2)
        ]
        results = each([lambda m=m, p=p: m.fold(p) for m, p in zip(ranks, rows, strict=True)])
        alike(results, left_fold(np.concatenate(rows)))
        first = [part[0] for part in rows]
        results = each(
            [lambda m=m, v=v: m.all_reduce(v) for m, v in zip(ranks, first, strict=True)]
        )
        alike(results, left_fold(first))


def test_a_result_is_kept_as_long_as_someone_holds_it(meshes):
    ranks = meshes(2)
    held = []
    for number in range(8):
        ones = np.full(100_000, number, np.int64)
        held.append(each([lambda m=m, v=ones: m.all_reduce(v) for m in ranks])[0][5:])
    assert [int(part[0]) for part in held] == [2 * number for number in range(8)]
    assert all((part == part[0]).all() for part in held)


def test_memory_is_used_again_once_nobody_holds_it(meshes):
    ranks = meshes(2)
    places = set()
    for _ in range(6):
        results = each([lambda m=m: m.all_reduce(np.ones(100_000, np.float32)) for m in ranks])
        places.add(results[0].ctypes.data)
        del results
    assert len(places) <= 2


def test_a_tensor_is_read_and_made_without_a_copy(meshes):
    import tensorflow as tf

    ranks = meshes(2)
    tensors = [tf.random.normal((50_000,), seed=rank) for rank in range(2)]
    assert np.shares_memory(np.asarray(tensors[0]), np.asarray(tensors[0]))
    before = [tensor.numpy() for tensor in tensors]
    results = each([lambda m=m, t=t: m.all_reduce(t) for m, t in zip(ranks, tensors, strict=True)])
    assert results[0].ctypes.data % 64 == 0
    tensor = tf.experimental.dlpack.from_dlpack(results[0].__dlpack__())
    place = results[0].ctypes.data
    del results
    others = each([lambda m=m: m.all_reduce(np.ones(50_000, np.float32)) for m in ranks])
    assert others[0].ctypes.data != place  # the tensor still holds the first
    assert (tensor.numpy() == before[0] + before[1]).all()
    assert all((now.numpy() == then).all() for now, then in zip(tensors, before, strict=True))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: m.all_reduce(np.ones(3, np.float16)), "float16"),
        (lambda m: m.all_reduce(np.ones((3, 3), np.float32)), "flatten"),
        (lambda m: m.fold(np.ones(3, np.float32)), "matrix"),
        (lambda m: m.broadcast(None, 0), "only it has data"),
    ],
    ids=["dtype", "matrix", "vector", "no data"],
)
def test_what_the_mesh_cannot_sum_is_refused(call, said, meshes):
    mesh = meshes(1)[0]
    with pytest.raises(ValueError, match=said):
        call(mesh)


def test_the_mesh_needs_no_tensorflow():
    code = "import sys, tally.gang.mesh.mesh; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
