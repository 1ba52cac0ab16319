"""What large data come in: Parquet, HDF5 and zarr, and PyTorch's loaders."""

from __future__ import annotations

import copy
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from networks import Killed, bits, killed_in

import fastnn
from fastnn import BatchNorm, Layer, NeuralNetwork, Standardize, StandardizeTargets
from fastnn.data import parquet as parquet_module, sources, stored

ROWS, BATCH = 300, 16
rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, 3)).astype(np.float32)
Y = (X[:, 0] - 0.5 * X[:, 2]).astype(np.float32)
LABELS = (Y > 0).astype(np.int64)


@pytest.fixture
def small(monkeypatch):
    """Chunks of a few batches, and a buffer of some 60 samples."""
    monkeypatch.setattr(sources, "CHUNK_BYTES", 4 * (3 + 1) * BATCH * 8)
    monkeypatch.setattr(stored, "BLOCK_BYTES", 300)
    monkeypatch.setattr(parquet_module, "PIECE_BYTES", 8 * 4 * 7)


def network(outs=1, loss="mse", dtype="float32", stages=()):
    rng = np.random.default_rng(1)
    layers = [Layer(3, 8, "tanh", seed=rng), Layer(8, outs, "identity", seed=rng)]
    return NeuralNetwork([*stages[:1], *layers, *stages[1:]], loss, 0.01, "adam", dtype=dtype)


def frame(rows=slice(None), **more):
    return {"a": X[rows, 0], "b": X[rows, 1], "c": X[rows, 2], "target": Y[rows], **more}


def fitted(*data, net=None, **settings):
    net = net or network()
    history = net.fit(*data, **{"epochs": 3, "batch_size": BATCH, "seed": 5, "verbose": 0, **settings})
    return bits(net), dict(history), net


# --- Parquet -----------------------------------------------------------------------------------


@pytest.fixture
def pq():
    return pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def folder(pq, tmp_path):
    """Three files in a folder, in row groups of 40."""
    write(pq, tmp_path / "table")
    return tmp_path / "table"


def write(pq, folder, **more):
    import pyarrow as pa

    folder.mkdir()
    for part in range(3):
        rows = slice(100 * part, 100 * part + 100)
        columns = {name: values[rows] for name, values in frame(**more).items()}
        pq.write_table(pa.table(columns), folder / f"part-{part}.parquet", row_group_size=40)


def test_parquet_in_its_order_is_the_array(small, folder):
    mine, its, net = fitted(fastnn.parquet(folder, "target"), shuffle=False)
    other, expected, _ = fitted(X, Y, shuffle=False)
    assert mine == other
    assert its["loss"] == pytest.approx(expected["loss"])
    assert net.feature_names == ("a", "b", "c")


def test_parquet_is_mixed_by_the_seed(small, folder):
    table = fastnn.parquet(folder, "target")
    one, again, other = (fitted(table, seed=seed)[0] for seed in (5, 5, 6))
    assert one == again
    assert one != other
    source = sources.opened(table, None, None, 1, BATCH, True, network().engine.form).source
    orders = [np.concatenate([chunk.y for chunk in source.chunks(epoch, 5)]) for epoch in (0, 1)]
    assert not np.array_equal(*orders)
    for order in orders:  # each sample once, and neighbours of files are no neighbours now
        assert np.array_equal(np.sort(order), np.sort(Y))
        places = {value: k for k, value in enumerate(Y.tolist())}
        came = np.array([places[value] for value in order.tolist()])
        assert np.mean(np.abs(np.diff(came)) == 1) < 0.1
        assert len({place // 40 for place in came[:BATCH].tolist()}) > 1


@pytest.mark.parametrize("seed", [None, 3])
def test_what_is_held_out_of_parquet_is_that_of_the_array(small, folder, seed):
    settings = {"validation_split": 0.2, "validation_shuffle": seed is not None, "shuffle": False, "metrics": ["r2"]}
    mine, its, _ = fitted(fastnn.parquet(folder, "target"), **settings)
    other, expected, _ = fitted(X, Y, **settings)
    assert mine == other
    assert its["val_r2"] == expected["val_r2"]


def test_parquet_with_standardising_weights_and_two_targets(small, pq, tmp_path):
    weight = np.linspace(0, 2, ROWS)
    write(pq, tmp_path / "table", weight=weight, other=2 * Y)
    table = fastnn.parquet(tmp_path / "table", ["target", "other"], columns=["a", "b", "c"], sample_weight="weight")
    stages = [Standardize(), StandardizeTargets()]
    mine, _, _ = fitted(table, net=network(2, stages=copy.deepcopy(stages)), shuffle=False)
    two = np.stack([Y, 2 * Y], axis=1)
    other, _, _ = fitted(X, two, net=network(2, stages=stages), shuffle=False, sample_weight=weight)
    assert mine == other


def test_parquet_of_classes_balanced(small, pq, tmp_path):
    write(pq, tmp_path / "table", label=LABELS)
    table = fastnn.parquet(tmp_path / "table", "label", columns=["a", "b", "c"])
    settings = {"class_weight": "balanced", "metrics": ["accuracy"], "shuffle": False}
    mine, its, _ = fitted(table, net=network(2, "cross_entropy"), **settings)
    other, expected, _ = fitted(X, LABELS, net=network(2, "cross_entropy"), **settings)
    assert mine == other
    assert its["accuracy"] == pytest.approx(expected["accuracy"])


@pytest.mark.parametrize("seed", [None, *range(4)])
@pytest.mark.parametrize("later", [Y, 300 * LABELS, LABELS.astype("uint64")], ids=["float", "longer", "unsigned"])
def test_targets_of_files_of_other_dtypes_are_those_of_all(small, pq, folder, later, seed):
    rewritten(pq, folder, "part-0.parquet", **frame(target=LABELS.astype(np.int8)))
    rewritten(pq, folder, "part-1.parquet", **frame(target=later))
    source = sources.opened(fastnn.parquet(folder, "target"), None, None, 1, BATCH, True, network().engine.form).source
    came = np.concatenate([chunk.y for chunk in source.chunks(0, seed)])
    assert np.array_equal(np.sort(came), np.sort(np.concatenate([LABELS, later, Y[200:]])))


@pytest.mark.parametrize("settings", [{}, {"validation_split": 0.2}, {"class_weight": "balanced"}], ids=str)
def test_row_groups_without_rows_are_passed_over(small, pq, tmp_path, settings):
    import pyarrow as pa

    write(pq, tmp_path / "full", target=LABELS)
    write(pq, tmp_path / "gaps", target=LABELS)
    none = pa.table(frame(slice(0), target=LABELS[:0]))
    pq.write_table(none, tmp_path / "gaps" / "day-0.parquet")
    with pq.ParquetWriter(tmp_path / "gaps" / "part-3.parquet", none.schema) as file:
        file.write_table(none)
    given = (fitted(fastnn.parquet(tmp_path / name, "target"), net=network(2, "cross_entropy"), **settings)
             for name in ("full", "gaps"))  # fmt: skip
    assert next(given)[0] == next(given)[0]


def test_small_parquet_is_an_array(folder):
    mine, its, net = fitted(fastnn.parquet(folder, "target"), validation_split=0.1)
    other, expected, _ = fitted(X, Y, validation_split=0.1)
    assert (mine, its) == (other, expected)
    assert net.feature_names == ("a", "b", "c")


def test_sources_of_parquet(pq, folder, tmp_path):
    import pyarrow.dataset as ds

    files = [str(folder / f"part-{part}.parquet") for part in range(3)]
    expected = fitted(fastnn.parquet(folder, "target"))[0]
    for source in (str(folder), files, ds.dataset(folder)):
        assert fitted(fastnn.parquet(source, "target"))[0] == expected
    assert fastnn.parquet(pq.ParquetFile(files[0]), "target").sizes == [40, 40, 20]
    years = tmp_path / "years"
    for year in (2023, 2024):
        (years / f"year={year}").mkdir(parents=True)
        os.link(files[0], years / f"year={year}" / "part.parquet")
    table = fastnn.parquet(years, "target", columns=["a", "year"])
    assert [piece.X[0, 1] for piece in (next(table.pieces(0)), next(table.pieces(3)))] == [2023, 2024]


def test_predict_and_evaluate_parquet(small, folder):
    table = fastnn.parquet(folder, "target")
    _, _, net = fitted(table)
    assert np.array_equal(net.predict(table), net.predict(X))
    assert net.evaluate(table, metrics=["r2", "mae"]) == net.evaluate(X, Y, metrics=["r2", "mae"])
    history = net.fit(table, validation_data=table, batch_size=BATCH, metrics=["r2"], verbose=0)
    assert history["val_r2"][-1] == net.evaluate(X, Y, metrics="r2")["r2"]


def test_a_killed_fit_of_parquet_goes_on(small, folder, tmp_path):
    expected = fitted(fastnn.parquet(folder, "target"), epochs=4)[0]
    checkpoint, table = fastnn.Checkpoint(tmp_path / "run.safetensors"), fastnn.parquet(folder, "target")
    with pytest.raises(Killed):
        fitted(table, epochs=4, callbacks=[killed_in(2), checkpoint])
    assert fitted(table, epochs=4, callbacks=[fastnn.LambdaCallback(), checkpoint])[0] == expected


def rewritten(pq, folder, name, **columns):
    import pyarrow as pa

    pq.write_table(pa.table(columns), folder / name, row_group_size=40)


BAD = {
    "no such column": (lambda **_: None, {"target": "prize"}, "there is no column 'prize' in .*part-0"),
    "no such input": (lambda **_: None, {"columns": ["a", "z"]}, "columns: there is no column 'z'"),
    "other schema": (
        lambda pq, folder: rewritten(pq, folder, "part-1.parquet", a=X[:, 0], target=Y), {},
        "there is no column 'b' in .*part-1",
    ),
    "one column more in a later file": (
        lambda pq, folder: rewritten(pq, folder, "part-1.parquet", **frame(), late=X[:, 0]), {},
        "part-1.* has the column 'late', which .*part-0.* has not",
    ),
    "text in one file": (
        lambda pq, folder: rewritten(pq, folder, "part-2.parquet", **{**frame(), "b": ["x"] * ROWS}), {},
        "column 'b' of .*part-2.* is of type string; expected numbers: leave it out.*Tabular",
    ),
    "text as target": (
        lambda pq, folder: rewritten(pq, folder, "part-0.parquet", **{**frame(), "target": ["x"] * ROWS}), {},
        "column 'target' of .*write the number of each class.*Tabular",
    ),
    "null": (
        lambda pq, folder: rewritten(pq, folder, "part-1.parquet", **{**frame(), "b": [1.0] * 299 + [None]}), {},
        "column 'b' has 1 missing values in row group 7 of .*part-1",
    ),
    "NaN": (
        lambda pq, folder: rewritten(pq, folder, "part-1.parquet", **{**frame(), "b": [1.0] * 299 + [np.nan]}), {},
        "column 'b' holds nan in row group 7 of .*part-1",
    ),
    "no Parquet": (
        lambda pq, folder: (folder / "part-1.parquet").write_bytes(b"nonsense" * 9), {}, "part-1.*cannot be read",
    ),
    "too many columns": (lambda **_: None, {"target": "a"}, None),
    "no target": (lambda **_: None, {"target": None}, "without a target; expected parquet"),
    "weights as input": (lambda **_: None, {"columns": ["a", "target"]}, "columns holds 'target', which is target"),
    "a number": (lambda **_: None, {"target": 3}, "target is 3; expected the name"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_parquet_is_named(small, pq, folder, kind):
    spoil, settings, message = BAD[kind]
    spoil(pq=pq, folder=folder)
    if message is None:
        fitted(fastnn.parquet(folder, **settings))  # a is as good a target
        return
    with pytest.raises((ValueError, TypeError, OSError), match=message):
        fitted(fastnn.parquet(folder, **{"target": "target", **settings}))


def test_other_bad_parquet(pq, folder, tmp_path):
    import pyarrow as pa
    import pyarrow.dataset as ds

    with pytest.raises(FileNotFoundError, match="nowhere"):
        fastnn.parquet(tmp_path / "nowhere", "target")
    with pytest.raises(TypeError, match="source is 3; expected the path"):
        fastnn.parquet(3, "target")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no Parquet files"):
        fastnn.parquet(tmp_path / "empty", "target")
    pq.write_table(pa.table(frame(slice(0))), tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="has no rows"):
        fastnn.parquet(tmp_path / "none.parquet", "target")
    with pytest.raises(ValueError, match="with a filter"):
        fastnn.parquet(ds.dataset(folder).filter(ds.field("a") > 0), "target")
    table = fastnn.parquet(folder, "target")
    with pytest.raises(ValueError, match="y is given but X is a ParquetTable, whose column is its targets"):
        network().fit(table, Y)
    with pytest.raises(ValueError, match=r"3 columns for inputs \('a', 'b', 'c'\) but the first layer takes 2"):
        fastnn.mlp([2, 1]).fit(table)
    for raw in (pq.ParquetFile(folder / "part-0.parquet"), ds.dataset(folder)):
        with pytest.raises(TypeError, match=r"of pyarrow; expected fastnn.parquet\(X"):
            network().fit(raw)
    with pytest.raises(TypeError, match=r"fastnn.parquet\("):
        network().fit(str(folder))


def test_what_pyarrow_refuses_or_takes_for_another_column_is_named(pq, folder, tmp_path):
    import pyarrow as pa

    twice = pa.table([X[:, 0], X[:, 1], X[:, 2], Y], names=["a", "a", "c", "target"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    several = [folder / "part-0.parquet", tmp_path / "twice.parquet"]
    for source in (pq.ParquetFile(tmp_path / "twice.parquet"), several):
        with pytest.raises(ValueError, match="has the column 'a' 2 times"):
            fastnn.parquet(source, "target", columns=["a", "c"])
    assert fastnn.parquet(several, "target", columns=["c"]).names == ("c",)
    with pytest.raises(OSError, match=r"twice.parquet', which cannot be read as Parquet: .*duplicate"):
        fastnn.parquet(tmp_path / "twice.parquet", "target")
    (folder / "part-0.parquet").write_bytes(b"nonsense" * 9)
    with pytest.raises(OSError, match=r"cannot be read as Parquet: .*part-0"):
        fastnn.parquet(folder, "target")


@pytest.mark.parametrize("value", ["Kyiv", "1.5"])
def test_what_a_folder_says_that_is_no_number_is_named(pq, tmp_path, value):
    write(pq, tmp_path / f"city={value}")
    (tmp_path / "all").mkdir()
    (tmp_path / f"city={value}").rename(tmp_path / "all" / f"city={value}")
    with pytest.raises(TypeError, match=f"'city' of .* is '{value}' by the name of its folder; expected numbers"):
        fastnn.parquet(tmp_path / "all", "target")


@pytest.mark.parametrize("name", [None, "id"])
def test_the_index_of_pandas_is_no_input(pq, tmp_path, name):
    pandas = pytest.importorskip("pandas")
    rows = pandas.DataFrame(frame(), index=pandas.Index(np.arange(ROWS)[::-1], name=name))
    rows.to_parquet(path := tmp_path / "indexed.parquet")
    stored_as = name or "__index_level_0__"
    assert stored_as in pq.read_schema(path).names
    assert fastnn.parquet(path, target="target").names == ("a", "b", "c")
    assert fastnn.parquet(path, target="target", columns=["a", stored_as]).names == ("a", stored_as)
    assert fastnn.parquet(path, target=stored_as).names == ("a", "b", "c", "target")


def test_parquet_that_changes_during_the_fit(small, pq, folder):
    table, before = fastnn.parquet(folder, "target"), network()

    def change(epoch, logs):
        if epoch == 2:
            rewritten(pq, folder, "part-1.parquet", **frame())

    with pytest.raises(ValueError, match=r"part-1.parquet' has changed since it was opened"):
        fitted(table, net=before, callbacks=[fastnn.LambdaCallback(on_epoch_end=change)])
    table = fastnn.parquet(folder / "part-2.parquet", "target")
    (folder / "part-2.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="part-2"):
        fitted(table)
    before.fit(X, Y, verbose=0)


# --- HDF5 and zarr -----------------------------------------------------------------------------


def in_hdf5(path, chunks=(37, 3), X=X, Y=Y):
    h5py = pytest.importorskip("h5py")
    file = h5py.File(path / "data.h5", "a")
    file.create_dataset(
        "X", data=X, chunks=chunks, compression="gzip" if chunks else None, maxshape=(None, 3) if chunks else None
    )
    file.create_dataset("y", data=Y)
    return file


def in_zarr(path, chunks=(37, 3), X=X, Y=Y):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path / "data.zarr"), mode="w")
    for name, array, sizes in (("X", X, chunks), ("y", Y, (50,))):
        made = group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=sizes)
        made[:] = array
    return group


STORES = {"HDF5": in_hdf5, "zarr": in_zarr}


@pytest.mark.parametrize("kind", STORES)
def test_stored_chunks_in_their_order_are_the_array(small, tmp_path, kind):
    store = STORES[kind](tmp_path)
    for y in (Y, store["y"]):
        mine, its, net = fitted(store["X"], y, shuffle=False, validation_split=0.1, metrics=["r2"])
        other, expected, _ = fitted(X, Y, shuffle=False, validation_split=0.1, metrics=["r2"])
        assert mine == other
        assert its["val_r2"] == expected["val_r2"]
    assert np.array_equal(net.predict(store["X"]), net.predict(X))


@pytest.mark.parametrize("kind", [*STORES, "memmap"])
@pytest.mark.parametrize("in_parts", [True, False])
def test_rows_outside_memory_of_more_dimensions_are_flat(tmp_path, request, kind, in_parts):
    """Images: as those of a loader's batches are."""
    if in_parts:
        request.getfixturevalue("small")
    images = X.reshape(ROWS, 1, 3, 1)
    if kind == "memmap":
        images.tofile(tmp_path / "X")
        data = np.memmap(tmp_path / "X", np.float32, "r", shape=images.shape)
    else:
        store = STORES[kind](tmp_path, **({"X": images, "chunks": (37, 1, 3, 1)} if kind == "zarr" else {}))
        data = store["X"] if kind == "zarr" else store.create_dataset("images", data=images, chunks=(37, 1, 3, 1))
    for settings in ({"shuffle": False}, {"shuffle": False, "validation_split": 0.1}):
        mine, its, net = fitted(data, Y, net=network(stages=[Standardize()]), **settings)
        other, expected, _ = fitted(X, Y, net=network(stages=[Standardize()]), **settings)
        assert mine == other
        np.testing.assert_allclose(its.get("val_loss", 0), expected.get("val_loss", 0), rtol=1e-6)
    assert np.array_equal(net.predict(data), net.predict(X))
    assert net.evaluate(data, Y) == net.evaluate(X, Y)
    fitted(data, Y, validation_data=(data, Y))
    two = Layer(2, 1, "identity", seed=0)
    for call in (lambda net: net.predict(data), lambda net: net.fit(data, Y), lambda net: net.evaluate(data, Y)):
        with pytest.raises(ValueError, match="X has 3 columns but the first layer takes 2 inputs"):
            call(NeuralNetwork([two], "mse", 0.01))


def test_broken_images_are_named_by_what_holds_them(small, tmp_path):
    file = in_hdf5(tmp_path)
    data = file.create_dataset("images", data=X.reshape(ROWS, 3, 1), chunks=(37, 3, 1))
    close = fastnn.LambdaCallback(on_epoch_end=lambda epoch, logs: file.close())
    with pytest.raises(OSError, match=r"\[\d+:\d+\] cannot be read from the h5py array"):
        fitted(data, Y, callbacks=[close])


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("settings", [{}, {"validation_split": 0.2}, {"shuffle": False}], ids=str)
def test_what_is_not_finite_in_storage_is_named_by_its_own_row(small, tmp_path, kind, settings):
    x, y = X.copy(), Y.copy()
    x[271, 2], y[113] = np.nan, np.inf
    store = STORES[kind](tmp_path, X=x, Y=y)
    with pytest.raises(ValueError, match="X holds nan at row 271, column 2"):
        fitted(store["X"], Y, **settings)
    store["X"][271, 2] = 0.0
    with pytest.raises(ValueError, match="y holds inf at row 113, column 0"):
        fitted(store["X"], store["y"], **settings)


def test_records_on_disk_are_named_by_their_dtype(tmp_path):
    records = np.memmap(tmp_path / "X.dat", [("a", "f4"), ("b", "f4"), ("c", "f4")], "w+", shape=(ROWS,))
    for call in (network().predict, lambda data: network().fit(data, Y)):
        with pytest.raises(TypeError, match=r"X has dtype \[\('a', '<f4'\).*expected real numbers"):
            call(records)


@pytest.mark.parametrize("kind", STORES)
def test_stored_chunks_are_mixed_by_the_seed_and_read_once(small, tmp_path, kind):
    store = STORES[kind](tmp_path)
    one, again, other = (fitted(store["X"], store["y"], seed=seed)[0] for seed in (5, 5, 6))
    assert one == again
    assert one != other
    read = []

    class Counted:
        shape, dtype, chunks = X.shape, X.dtype, (37, 3)

        def __getitem__(self, rows):
            read.append((rows.start, rows.stop))
            return X[rows]

    fitted(Counted(), Y, epochs=1)
    assert sorted(read) == [(first, min(first + 37, ROWS)) for first in range(0, ROWS, 37)]


def test_samples_sorted_on_disk_are_mixed(monkeypatch, tmp_path):
    """A chunk alone has one class; out of the buffer most batches have samples of more than one chunk."""
    order = np.argsort(LABELS, kind="stable")
    store = in_hdf5(tmp_path, X=X[order], Y=LABELS[order])
    monkeypatch.setattr(sources, "CHUNK_BYTES", 4 * (3 + 1) * BATCH * 8)
    monkeypatch.setattr(stored, "BLOCK_BYTES", 300)
    form = network(2, "cross_entropy").engine.form
    source = sources.opened(store["X"], store["y"], None, 1, BATCH, True, form).source
    found = [chunk.y.mean() for epoch in range(5) for chunk in source.chunks(epoch, 0)]
    assert np.mean([0 < mean < 1 for mean in found]) > 0.5


def test_closed_grown_and_broken_hdf5(small, tmp_path):
    file = in_hdf5(tmp_path)
    with pytest.raises(TypeError, match=r"X is a File of 'X', 'y'; expected one of its arrays, such as X\['X'\]"):
        network().fit(file, Y)
    with pytest.raises(TypeError, match=r"X is a File of 'X', 'y'; expected one of its arrays, such as X\['X'\]"):
        fastnn.NetworkBank([network()]).fit(file, Y)
    with pytest.raises(ValueError, match="y has 299 rows but X has 300"):
        network().fit(file["X"], Y[1:])
    file["E"] = pytest.importorskip("h5py").Empty("f8")
    for data in ((file["E"], Y), (file["X"], file["E"])):
        with pytest.raises(ValueError, match="is a dataset of HDF5 without a shape"):
            network().fit(*data)
    dataset = file["X"]

    def later(change):
        return [fastnn.LambdaCallback(on_epoch_end=lambda epoch, logs: change() if epoch == 1 else None)]

    bigger = fitted(dataset, Y, callbacks=later(lambda: dataset.resize((400, 3))))[0]
    dataset.resize((ROWS, 3))
    assert bigger == fitted(dataset, Y, callbacks=later(lambda: None))[0]  # the rows there were when it began
    with pytest.raises(ValueError, match=r"X\[\d+:\d+\] has \d+ rows, and had \d+ when it was opened"):
        fitted(dataset, Y, callbacks=later(lambda: dataset.resize((250, 3))))
    dataset.resize((ROWS, 3))
    with pytest.raises(OSError, match=r"\[\d+:\d+\] cannot be read from the h5py array"):
        fitted(dataset, Y, callbacks=later(file.close))
    with pytest.raises(ValueError, match="X is of a closed HDF5 file"):
        network().fit(dataset, Y)
    with pytest.raises(ValueError, match="X is of a closed HDF5 file"):
        network().predict(dataset)


def test_zarr_groups_and_other_look_alikes(small, tmp_path):
    group = in_zarr(tmp_path)
    with pytest.raises(TypeError, match=r"X is a Group of .*expected one of its arrays"):
        network().fit(group, Y)
    with pytest.raises(TypeError, match=r"X is a dict of 'a', 'b'.*X\['a'\]"):
        network().fit({"a": X, "b": Y})

    class Empty:
        shape, dtype, chunks = (ROWS, 3), np.dtype("f4"), (50, 3)

        def __getitem__(self, rows):
            raise KeyError("no such chunk")

    with pytest.raises(OSError, match=r"X\[\d+:\d+\] cannot be read from the .*no such chunk"):
        fitted(Empty(), Y)


# --- loaders of PyTorch ------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def loader(torch, *arrays, **settings):
    data = torch.utils.data.TensorDataset(*map(torch.as_tensor, arrays))
    return torch.utils.data.DataLoader(data, **{"batch_size": BATCH, **settings})


@pytest.mark.parametrize("labels", [False, True])
def test_a_loader_makes_the_batches(torch, labels):
    def net():
        return network(2, "cross_entropy") if labels else network()

    y = LABELS if labels else Y
    mine, its, trained = fitted(
        loader(torch, X, y), net=net(), batch_size=32, metrics=["accuracy"] if labels else ["mse"]
    )
    other = net()
    for _ in range(3):
        for first in range(0, ROWS, BATCH):
            other.fit(X[first : first + BATCH], y[first : first + BATCH], batch_size=BATCH, shuffle=False, verbose=0)
    assert mine == bits(other)
    assert trained.engine.state.epochs[0] == 3
    assert int(trained.engine.state.steps[0]) == 3 * -(-ROWS // BATCH)
    assert len(its["accuracy" if labels else "mse"]) == 3


def test_the_order_of_a_loader_is_its_own(torch):
    def shuffled(seed):
        return loader(torch, X, Y, shuffle=True, generator=torch.Generator().manual_seed(seed))

    assert fitted(shuffled(1))[0] == fitted(shuffled(1), seed=8)[0]
    assert fitted(shuffled(1))[0] != fitted(shuffled(2))[0]


def test_tensors_of_all_kinds(torch):
    expected = fitted(loader(torch, X, Y))[0]
    for kind in (torch.float64, torch.float32):
        grads = [(a.detach().requires_grad_(), b) for a, b in loader(torch, torch.as_tensor(X).to(kind), Y)]
        made = torch.utils.data.DataLoader(grads, batch_size=None)
        assert fitted(made, batch_size=32)[0] == expected
    for kind in (torch.float16, torch.bfloat16):
        narrow = torch.as_tensor(X).to(kind)
        assert fitted(loader(torch, narrow, Y))[0] == fitted(loader(torch, narrow.float(), Y))[0]
    images = torch.as_tensor(X).reshape(ROWS, 1, 3, 1)
    assert fitted(loader(torch, images, Y))[0] == expected
    dicts = torch.utils.data.DataLoader([{"image": a, "label": b} for a, b in zip(X, Y)], batch_size=BATCH)
    assert fitted(dicts)[0] == expected
    assert np.array_equal(network().predict(torch.as_tensor(X).requires_grad_()), network().predict(X))


def test_evaluate_and_validate_with_a_loader(torch):
    _, its, net = fitted(loader(torch, X, Y), validation_data=loader(torch, X, Y), metrics=["r2"])
    assert its["val_r2"][-1] == net.evaluate(X, Y, metrics="r2")["r2"]
    assert net.evaluate(loader(torch, X, Y), metrics="r2") == net.evaluate(X, Y, metrics="r2")


def frames(torch, *parts):
    """Batches that a `collate_fn` has made frames."""
    return torch.utils.data.DataLoader([*parts], batch_size=None)


def test_frames_of_a_loader_keep_their_names(torch):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=list("abc"))
    parts = [(table[k : k + BATCH], Y[k : k + BATCH]) for k in range(0, ROWS, BATCH)]
    mine, _, net = fitted(frames(torch, *parts), batch_size=32)
    assert mine == fitted(loader(torch, X, Y))[0]
    assert net.feature_names == ("a", "b", "c")
    assert net.evaluate(frames(torch, *parts)) == net.evaluate(X, Y)
    swapped = frames(torch, *parts[:3], (table[list("cab")][:BATCH], Y[:BATCH]))
    for call in (network().fit, net.fit, net.evaluate):
        with pytest.raises(ValueError, match="X of batch 3 has the columns 'c', 'a', 'b' in another order"):
            call(swapped)


def test_weights_of_some_batches_count_in_validation_as_in_training(torch):
    weight = np.linspace(0, 2, ROWS)
    first, rest = slice(100), slice(100, None)
    mixed = frames(torch, (X[first], Y[first]), (X[rest], Y[rest], weight[rest]))
    whole = np.concatenate([np.ones(100), weight[rest]])
    assert network().evaluate(mixed) == network().evaluate(X, Y, sample_weight=whole)


def test_bad_loaders(torch):
    net = network()
    for bad, message in [
        (loader(torch, X), "batch 0 of X is 1 parts; expected"),
        (torch.utils.data.DataLoader(X, batch_size=4), r"batch 0 of X is a Tensor; expected \(X, y\)"),
        (
            torch.utils.data.DataLoader([(x, y) for x, y in zip(X, Y)], batch_size=None),
            r"X of batch 0 has shape \(3,\)",
        ),
        (loader(torch, X[:, :2], Y), "X of batches 0 to 17 has 2 columns"),
        (loader(torch, X[:3], Y[:3], drop_last=True), "X gave no chunks"),
        (torch.utils.data.DataLoader([{"u": 1.0, "v": 2.0}]), "batch 0 of X is a dict of 'u', 'v'; expected"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            net.fit(bad, verbose=0)
    with pytest.raises(
        ValueError, match="batch_size is 64 but X is a DataLoader, which makes its batches itself, of 16"
    ):
        net.fit(loader(torch, X, Y), batch_size=64)
    for predict in (network().predict, network().outputs):
        with pytest.raises(TypeError, match=r"X is a DataLoader, which brings targets along .* expected rows"):
            predict(loader(torch, X, Y))
    with pytest.raises(ValueError, match="y is given but X is a DataLoader"):
        net.fit(loader(torch, X, Y), Y)
    with pytest.raises(ValueError, match=r"validation_split is 0\.1 but X is made of chunks"):
        net.fit(loader(torch, X, Y), validation_split=0.1)
    norm = NeuralNetwork([Layer(3, 4, "relu"), BatchNorm(), Layer(4, 1, "identity")], "mse", 0.1)
    with pytest.raises(ValueError, match=r"1 samples of batch 2, which leaves a batch of 1, .*drop_last=True"):
        norm.fit(loader(torch, X[: 2 * BATCH + 1], Y[: 2 * BATCH + 1]))
    with pytest.raises(ValueError, match=r"1 samples of chunk 1, which leaves a batch of 1, .*leave a sample out$"):
        norm.fit([(X, Y), (X[:1], Y[:1])])


# --- memory and imports ------------------------------------------------------------------------

BOUNDED = """
import resource, sys
import numpy as np, fastnn
import fastnn.data.sources as sources
sources.CHUNK_BYTES = 2**20

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def feed(path):
    if kind == "parquet":
        return (fastnn.parquet(path + ".parquet", "c0"),)
    import h5py
    file = h5py.File(path + ".h5", "r")
    return file["X"], file["y"]

kind, small, large = sys.argv[1:]
net = fastnn.mlp([63, 4, 1], seed=0)
net.fit(*feed(small), verbose=0, seed=0)
before = peak()
net.fit(*feed(large), epochs=2, verbose=0, seed=0)
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in kilobytes on Linux")
@pytest.mark.parametrize("kind", ["parquet", "hdf5"])
def test_memory_is_bounded(tmp_path, kind):
    """A data set of 77 MB, in one row group, takes a small part of that."""
    rng, count = np.random.default_rng(0), 300_000
    for name, rows in (("small", 10_000), ("large", count)):
        values = rng.normal(size=(rows, 64)).astype(np.float32)
        if kind == "parquet":
            pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
            table = pa.table({f"c{j}": values[:, j] for j in range(64)})
            pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=rows, use_dictionary=False)
        else:
            with pytest.importorskip("h5py").File(tmp_path / f"{name}.h5", "w") as file:
                file.create_dataset("X", data=values[:, 1:], chunks=(1000, 63))
                file.create_dataset("y", data=values[:, 0])
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, kind, str(tmp_path / "small"), str(tmp_path / "large")],
        capture_output=True, text=True, check=False, cwd=pathlib.Path(fastnn.__file__).parent.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 0.4 * values.nbytes


def test_nothing_is_imported_for_it():
    code = (
        "import sys, fastnn, numpy as np; net = fastnn.mlp([1, 2, 1], seed=0); net.fit(np.ones((4, 1)), np.ones(4));"
        "print([name for name in ('pyarrow', 'h5py', 'zarr', 'torch', 'optuna', 'dask', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
