"""Files of tables: each kind of file gives the same frame, and what is none is refused."""

import bz2
import datetime
import gzip
import io
import lzma
import os
import pickle
import threading
import zipfile

import numpy as np
import pytest

pl = pytest.importorskip("polars")
pytest.importorskip("typer")

from fastnn.cli.tables import read_table, write_blocks, write_table  # noqa: E402

FRAME = {"a": [1, 2, None], "b": ["x", None, "y"], "c": [0.5, 1.5, 2.5]}


@pytest.fixture
def frame():
    return pl.DataFrame(FRAME)


@pytest.mark.parametrize(("text", "wanted"), [
    ("a;b\n1,5;x\n-2,25;y\n", {"a": [1.5, -2.25], "b": ["x", "y"]}),
    ("a;b\n1.5;x,y\n2.5;z\n", {"a": [1.5, 2.5], "b": ["x,y", "z"]}),
    ("a,b\n1,2\n3,4\n\n\n", {"a": [1, 3], "b": [2, 4]}), ("a,b\r\n1,2\r\n\r\n", {"a": [1], "b": [2]}),
    ("name, first;b\nx;1\ny;2\n", {"name, first": ["x", "y"], "b": [1, 2]}),
    ('"a\nb",c\n1,2\n', {"a\nb": [1], "c": [2]}),
    ("a,b\n1,2\n\n3,4\n", {"a": [1, 3], "b": [2, 4]}), ('a,b\n"x;y;z",1\n', {"a": ["x;y;z"], "b": [1]}),
    ("a,b\n1,2\n,\n", {"a": [1, None], "b": [2, None]}), ('"a,b";c\n1;2\n', {"a,b": [1], "c": [2]}),
])  # fmt: skip
def test_csv_as_people_have_it(tmp_path, text, wanted):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    assert read_table(str(path)).to_dict(as_series=False) == wanted


@pytest.mark.parametrize(("content", "said"), [
    ("a,b\né,1\n".encode("latin-1"), "UTF-8"), ("a,b\n1,2\n".encode("utf-16"), "UTF-8"),
    (b"a,b\n1,2\n1,2,3\n", "line 3 has more fields than the first, 3 and not 2"), (b"a,b\r1,2\r3,4\r", "CR alone"),
    (b'a,b\n"x,1\ny,2\n', "quote .* is not closed"), (b'a,b\n5" nail,1\n6" nail,2\n', "a text without quotes"),
    (b"a,,\n1,2,3\n", "two columns named ''"),
    (b'a,b\n"x\ny",2\n\n\n1\n', "line 6 has fewer fields than the first, 1 and not 2"),
    (b'a,b\n"x\n",1\n5" nail,1\n', "line 4"), (b'a,b\n1,2\n"x\ny,2\n', "line 3"),
    ("a,b\n1,x\n2,é\n".encode("latin-1"), "line 3; expected UTF-8"),
    ("a,größe\n1,x\n".encode("latin-1"), "line 1; expected UTF-8"),
])  # fmt: skip
def test_what_to_do_is_said(tmp_path, content, said):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_table(str(path))
    assert "infer_schema" not in str(caught.value)


@pytest.mark.parametrize(("first", "late", "values"), [
    ("2020-01-01", "31/12/2020", ["2020-01-01", "31/12/2020"]),
    ("1", "1,5", [1.0, 1.5]), ("1,5", "x", ["1,5", "x"]), ("1", "1.5", [1.0, 1.5]), ("1", "", [1, None]),
    ("", "2,5", [None, 2.5]), ("true", "yes", ["true", "yes"]),
])  # fmt: skip
def test_all_rows_say_what_a_column_is(tmp_path, first, late, values):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n" + f"{first};some text\n" * 12_000 + f"{late};z\n")
    found = read_table(str(path))["a"].to_list()
    assert [found[0], found[-1], len(found)] == [*values, 12_001]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.arrow"])
def test_what_is_written_is_read(frame, tmp_path, name):
    path = str(tmp_path / name)
    write_table(frame, path)
    assert read_table(path).equals(frame)


def test_the_content_says_what_a_file_is_and_not_its_name(frame, tmp_path):
    path = tmp_path / "table.csv"
    content = io.BytesIO()
    frame.write_parquet(content)
    path.write_bytes(gzip.compress(content.getvalue()))
    assert read_table(str(path)).equals(frame)
    stream = io.BytesIO()
    frame.write_ipc_stream(stream)
    path.write_bytes(stream.getvalue())
    assert read_table(str(path)).equals(frame)


def test_arrays_become_columns(tmp_path):
    path = str(tmp_path / "data.npz")
    X = np.arange(6.0).reshape(3, 2)
    np.savez(path, X=X, y=np.array(["a", "b", "a"]))
    frame = read_table(path)
    assert frame.columns == ["X0", "X1", "y"]
    assert (frame["X1"].to_numpy() == X[:, 1]).all()
    assert frame["y"].to_list() == ["a", "b", "a"]


@pytest.mark.parametrize("arrays", [
    {"X": np.zeros((2, 2, 2))}, {"a": np.zeros(2), "b": np.zeros(3)}, {"X": np.zeros((2, 1)), "X0": np.zeros(2)},
    {"a": np.array([{}, 1], dtype=object)},
])  # fmt: skip
def test_arrays_that_are_no_columns_are_refused(tmp_path, arrays):
    path = str(tmp_path / "data.npz")
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="no table that can be read"):
        read_table(path)


def archive(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in members.items():
            file.writestr(name.replace("_", "/").replace("8", "."), text)
    return content.getvalue()


def of_numpy(save, *given, **arrays):
    content = io.BytesIO()
    save(content, *given, **arrays)
    return content.getvalue()


@pytest.mark.parametrize(("name", "content", "said"), [
    ("t.xlsx", archive(xl_workbook8xml="x"), r"Excel .*save it as CSV"),
    ("t.csv", archive(t8csv="a,b"), "'t.csv'; unpack"),
    ("t.ods", archive(content8xml="x"), "OpenOffice"),
    ("t.zip", archive(), "empty ZIP"),
    ("t.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "Excel .*save it as CSV"),
    ("t.json", b'[{"a": 1},\n{"a": 2}]', "JSON; make CSV"),
    ("t.json", b'{"a": {"0": 1}}', "JSON; make CSV"),
    ("t.txt", b'{"a": 1}\n{"a": 2}\n', "JSON; make CSV"),
    ("t.json", b"[1, 2]", "JSON; make CSV"),
    ("t.pkl", pickle.dumps({"a": [1]}), "pickle"),
    ("t.pkl", pickle.dumps({"a": [1]}, 0), "pickle"),
    ("t.csv.bz2", bz2.compress(b"a,b\n1,2\n"), "bzip2; unpack"),
    ("t.csv.xz", lzma.compress(b"a,b\n1,2\n"), "xz; unpack"),
    ("t.zst", b"\x28\xb5\x2f\xfd" + bytes(9), "zstd; unpack"),
    ("t.npy", of_numpy(np.save, np.zeros(3)), "numpy.savez"),
    ("t.h5", b"\x89HDF\r\n\x1a\n" + bytes(9), "HDF5"),
    ("t.db", b"SQLite format 3\x00" + bytes(9), "SQLite"),
    ("t.dta", b"<stata_dta><header>", "Stata"),
    ("t.dta", b"\x01\x02\x00" * 9, "by its name, a data set of Stata"),
    ("t.feather", b"FEA1\x00\x00\x00\x00", "Feather of version 1"),
    ("t.csv", b"<!DOCTYPE html>\n<html>", "web page"),
    ("t.csv", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ("t.csv", b"%PDF-1.4\n", "PDF"),
    ("t.tar", b"t.csv".ljust(257, b"\x00") + b"ustar\x00", "TAR"),
    ("t.csv", gzip.compress(gzip.compress(b"", mtime=0), mtime=0), "twice"),
    ("t.csv", b"\x88\x01\x00\x00\x00\x00\x00\x00{}", "safetensors"),
    ("t.arff", b"% x\n@relation x\n", "ARFF"),
    ("t.npz", of_numpy(np.savez, a=np.zeros(2, complex)), "'a' is of complex numbers"),
    ("t.npz", of_numpy(np.savez, a=np.array([{}])), "'a' is of objects"),
    ("t.npz", of_numpy(np.savez, a=np.zeros(2, "f8,f8")), "'a' is of records"),
])  # fmt: skip
def test_a_file_of_another_kind_is_recognised(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}' is no table that can be read: .*{said}"):
        read_table(str(path))


@pytest.mark.parametrize("names", [
    "PAR1,PARENT", "ORCID,FEA1", "MZ,PK", "{a},[b]", "[b],ARROW1", "ARROW1,BZh9", "RDX3,n", "(d,%PDF", "<html,c",
])  # fmt: skip
def test_names_of_columns_are_no_other_kind(tmp_path, names):
    path = tmp_path / "t.csv"
    path.write_text(f"{names}\n1,2\n")
    assert read_table(str(path)).to_dict(as_series=False) == dict(zip(names.split(","), [[1], [2]]))


def test_arrays_of_all_types_that_columns_have(tmp_path):
    path = str(tmp_path / "data.npz")
    np.savez(path, a=np.array([b"x", "é".encode()]), b=np.zeros(2, np.longdouble), c=np.array([1, 2], "m8[s]"),
             d=np.array(["2024-01-01", "2024-01-02"], "M8[D]"), e=np.array([0, 1], "M8[h]"),
             f=np.zeros(2, ">f4"))  # fmt: skip
    frame = read_table(path)
    assert frame["a"].to_list() == ["x", "é"]
    assert frame["c"].to_list() == [datetime.timedelta(seconds=1), datetime.timedelta(seconds=2)]
    assert frame["d"].to_list() == [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)]
    assert frame["e"].to_list() == [datetime.datetime(1970, 1, 1), datetime.datetime(1970, 1, 1, 1)]
    assert frame["b"].to_list() == frame["f"].to_list() == [0, 0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="for systems with named pipes")
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_is_read(tmp_path, pack):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(pack(b"a,b\n1,x\n2,y\n"),))
    writer.start()
    assert read_table(str(path)).to_dict(as_series=False) == {"a": [1, 2], "b": ["x", "y"]}
    writer.join()


@pytest.mark.parametrize(
    "text", ["a;b\n1;x\n;NA\n3;y\n", "a\tb\r\n1\tx\r\n\tNA\r\n3\ty\r\n", "\ufeffa,b\n1,x\n,NA\n3,y\n"]
)
def test_separators_marks_and_missing_values(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    assert read_table(str(path)).to_dict(as_series=False) == {"a": [1, None, 3], "b": ["x", None, "y"]}


def test_a_text_column_stays_one_where_it_looks_like_numbers(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n01,2\n")
    frame = read_table(str(path), ["a", "not there"])
    assert frame["a"].to_list() == ["1", "01"]
    assert frame["b"].dtype == pl.Int64


@pytest.mark.parametrize("content", [
    b"", b"\n\n", b"a,b\n", b"a,b\n1,2,3\n", b"a,a\n1,2\n", b"PK\x03\x04 broken", b"PAR1 broken", b"ARROW1 broken",
    b"\xff\xff\xff\xff broken", b"\x1f\x8b broken", gzip.compress(b"a\n1\n2\n", mtime=0)[:-6], b"\x00\x01\x02\x03",
    gzip.compress(b"", mtime=0),
])  # fmt: skip
def test_what_is_no_table_is_refused_by_name(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.csv"):
        read_table(str(path))


@pytest.mark.parametrize("values", [[[1, 2]], [{"a": 1}], [datetime.timedelta(1)], [b"\xff"]])
def test_what_csv_cannot_hold_is_said(tmp_path, values):
    frame = pl.DataFrame({"a": [1], "b": values})
    with pytest.raises(ValueError, match=r"column 'b' .*\.parquet or \.arrow"):
        write_table(frame, str(tmp_path / "t.csv"))
    assert list(tmp_path.iterdir()) == []
    write_table(frame, str(tmp_path / "t.parquet"))
    assert read_table(str(tmp_path / "t.parquet")).equals(frame)


def test_a_write_that_fails_leaves_the_old_file(frame, tmp_path):
    def broken():
        yield frame
        raise OSError("the disk is full")

    for name in ("t.csv", "t.csv.gz", "t.parquet", "t.arrow"):
        (tmp_path / name).write_text("old")
        with pytest.raises(OSError, match="full"):
            write_blocks(broken(), str(tmp_path / name))
        assert (tmp_path / name).read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 4
