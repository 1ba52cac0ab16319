"""Files larger than a block: what comes out is that of a file read whole, whatever a late block brings."""

import gzip
import io
import json
import weakref

import numpy as np
import pytest

for package in ("typer", "rich", "polars", "narwhals", "sklearn.base"):
    pytest.importorskip(package)

import polars as pl  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import fastnn.cli.source as reading  # noqa: E402
import fastnn.cli.train as training  # noqa: E402
from fastnn.cli.app import app  # noqa: E402
from fastnn.cli.source import Source, opened  # noqa: E402
from fastnn.cli.tables import read_table  # noqa: E402

QUICK = ("--hidden", "8", "--epochs", "2")
KINDS = ("csv", "csv.gz", "parquet", "arrow", "npz")


def run(*arguments, code=0, stdin=None):
    result = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin)
    assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr, result.exception)
    return result


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 7 rows, and a CSV's columns told from its first 5."""

    def set_to(rows, sample=5):
        monkeypatch.setattr(reading, "MOST", rows)
        monkeypatch.setattr(reading, "LEAST", min(rows, 1024))
        monkeypatch.setattr(reading, "SAMPLE", sample)
        monkeypatch.setattr(reading, "HEAD", 64)

    set_to(7)
    return set_to


def table(rows=60, seed=0):
    rng = np.random.default_rng(seed)
    return pl.DataFrame({
        "city": rng.choice(["Bern", "Basel", "Zürich, Stadt"], rows), "area": rng.normal(100, 20, rows).round(2),
        "rooms": rng.integers(1, 9, rows), "price": rng.normal(size=rows).round(4),
    })  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    table(300).write_csv(folder / "t.csv")
    run("train", folder / "t.csv", "--target", "price", "--out", folder / "m.safetensors", *QUICK)
    return folder / "m.safetensors"


def written(frame, folder, kind):
    """The frame in a file of that kind."""
    path = folder / f"given.{kind}"
    if kind == "csv":
        frame.write_csv(path)
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif kind == "parquet":
        frame.write_parquet(path, row_group_size=5)
    elif kind == "arrow":
        frame.write_ipc(path, record_batch_size=5)
    else:
        np.savez(path, **{name: frame[name].to_numpy() for name in frame.columns if frame[name].dtype != pl.String},
                 city=frame["city"].to_numpy().astype(str))  # fmt: skip
    return path


@pytest.mark.parametrize("rows", [1, 2, 6, 7, 8, 9, 14, 15, 16, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_the_table(tmp_path, small_blocks, rows, kind):
    path = written(table(rows), tmp_path, kind)
    with opened(str(path)) as source:
        blocks = list(source.blocks())
        columns = source.columns
    small_blocks(10**6)
    whole = read_table(str(path))
    assert pl.concat(blocks).equals(whole)
    assert whole.select(table(rows).columns).equals(table(rows))
    assert columns == whole.columns
    assert all(block.height == 7 for block in blocks[:-1])
    assert (2 if rows > 1 else 1) <= blocks[-1].height <= 8


@pytest.mark.parametrize("kind", [*KINDS, "standard input"])
@pytest.mark.parametrize("out", ["p.csv", "p.csv.gz", "p.parquet", "p.arrow", "-"])
def test_predictions_by_blocks_are_those_of_the_whole(tmp_path, small_blocks, model, kind, out):
    path = written(table(43, 1), tmp_path, "csv" if kind == "standard input" else kind)
    given, stdin = ("-", path.read_bytes()) if kind == "standard input" else (path, None)
    made = []
    for rows in (7, 10**6):
        small_blocks(rows)
        result = run("predict", model, given, "--out", out if out == "-" else tmp_path / out, stdin=stdin)
        made.append(result.stdout if out == "-" else (tmp_path / out).read_bytes())
    read = {"p.parquet": pl.read_parquet, "p.arrow": pl.read_ipc}.get(out)
    if read is None:
        assert made[0] == made[1]
    else:
        assert read(io.BytesIO(made[0])).equals(read(io.BytesIO(made[1])))


CELLS = [
    "00123", "1.10", "1e5", "+2", "", '""', "NA", "null", "?", "True", "true", "TRUE", "2024-01-02T10:00", "01/02/2024",
    "12345678901234567890", "0.1234567890123456789", '"a ""b"" c"', '"x,y;z"', '"two\nlines"', '"7"', " 5 ", "é", "-0",
]  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_columns_of_a_csv_stand_as_they_stood(tmp_path, small_blocks, model, separator, end, mark):
    heads, used = ["note", '"the ""area"""', "area", "rooms", "city"], ["0100.50", '"3"', "Bern"]
    rows = [heads, *([cell, f"{k:03d}", *used] for k, cell in enumerate(CELLS * 2))]
    (tmp_path / "t.csv").write_bytes((mark + end.join(map(separator.join, rows))).encode())
    run("predict", model, tmp_path / "t.csv", "--out", tmp_path / "p.csv")
    lines = (tmp_path / "p.csv").read_bytes().decode().removesuffix(end).split(end)
    if end == "\n":
        lines = (tmp_path / "p.csv").read_bytes().decode().replace("two\nlines", "two  lines").splitlines()
        rows = [[cell.replace("\n", "  ") for cell in row] for row in rows]
    assert [line.rpartition(separator)[0] for line in lines] == [
        mark * (k == 0) + separator.join(row) for k, row in enumerate(rows)
    ]
    assert len({line.rpartition(separator)[2] for line in lines}) == 2  # the name and the same prediction


def test_predictions_have_the_decimal_comma_of_the_file(tmp_path, model):
    (tmp_path / "t.csv").write_text("city;area;rooms\nBern;100,50;3\nChur;90,25;3\n")
    run("predict", model, tmp_path / "t.csv", "--out", tmp_path / "p.csv")
    found = read_table(str(tmp_path / "p.csv"))
    assert found["area"].to_list() == [100.5, 90.25]
    assert found["prediction"].dtype == pl.Float64


def test_numbers_that_are_names_stay_so_in_parquet(tmp_path, model):
    rows = "".join(f"Bern,0{k},3,0{k},{10**19 + k},{10**17 + k},{k}.50,0{k}/02/2024\n" for k in range(1, 4))
    (tmp_path / "t.csv").write_text("city,area,rooms,zip,id,k,half,day\n" + rows)
    run("predict", model, tmp_path / "t.csv", "--out", tmp_path / "p.parquet")
    found = pl.read_parquet(tmp_path / "p.parquet")
    assert found["zip"].to_list() == ["01", "02", "03"]
    assert found["id"].to_list() == [str(10**19 + k) for k in range(1, 4)]
    assert found["area"].to_list() == [1, 2, 3]
    assert [found[name].dtype for name in ("k", "half", "day")] == [pl.Int64, pl.Float64, pl.Date]


LATE = {
    "a missing value": {"rooms": ["1"] * 30 + [""]},
    "a decimal": {"rooms": ["1"] * 30 + ["1.5"]},
    "a text": {"note": ["1"] * 30 + ["n/k"]},
    "a number after missing ones": {"area": [""] * 30 + ["3.25"]},
    "a text after missing ones": {"city": [""] * 30 + ["Bern"]},
    "a category": {"city": ["Bern"] * 30 + ["Genf"]},
    "no date": {"note": ["2020-01-01"] * 30 + ["today"]},
    "a moment": {"note": ["2020-01-01"] * 30 + ["2020-01-01T10:00:00"]},
    "no bool": {"note": ["true"] * 30 + ["2"]},
    "a large number": {"note": ["1"] * 30 + ["1e300"]},
    "quotes and breaks": {"note": ["x"] * 30 + ['"a ""b"",\nc"']},
}


@pytest.mark.parametrize("late", LATE)
def test_what_comes_late_is_as_if_it_had_come_early(tmp_path, small_blocks, model, late):
    cells = {"city": ["Bern"] * 31, "area": ["100.5"] * 31, "rooms": ["3"] * 31, "note": ["x"] * 31, **LATE[late]}
    text = "city,area,rooms,note\n" + "".join(",".join(row) + "\n" for row in zip(*cells.values()))
    (tmp_path / "t.csv").write_text(text)
    made = []
    for rows, sample in ((7, 5), (7, 10**6), (10**6, 10**6)):
        small_blocks(rows, sample)
        result = run("predict", model, tmp_path / "t.csv", "--out", tmp_path / "p.csv")
        made.append(((tmp_path / "p.csv").read_bytes(), result.stderr, result.stdout))
    assert made[0] == made[1] == made[2]
    assert ("'Genf'" in made[0][1]) == (late == "a category")


def test_a_text_in_a_column_of_numbers_is_an_error_before_anything_is_written(tmp_path, small_blocks, model):
    table(40).with_columns(rooms=pl.Series(["3"] * 39 + ["many"])).write_csv(tmp_path / "t.csv")
    for out in ("-", tmp_path / "p.csv"):
        result = run("predict", model, tmp_path / "t.csv", "--out", out, code=1)
        assert "'rooms'" in result.stderr
        assert result.stdout == ""
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize(("column", "cell", "said"), [
    ("area", "1.5m2", "column 'area' holds '1.5m2' in row 38 (line 43)"),
    ("area", "inf", "infinite in row 38 (line 43)"), ("area", "1e999", "infinite in row 38 (line 43)"),
    ("day", "31.13.2024", "'31.13.2024' in row 38 (line 43), and was of kind 'date' in training; expected values such "
     "as 2024-12-31"),
    ("open", "maybe", "'maybe' in row 38 (line 43), and was of kind 'bool'"),
    ("price", "-", "the target 'price' holds '-' in row 38 (line 43); expected numbers"),
    ("price", "inf", "column 'price' is infinite in row 38 (line 43)"),
])  # fmt: skip
def test_values_that_cannot_be_are_named_with_their_lines(tmp_path, small_blocks, column, cell, said):
    frame = table(40).with_columns(
        day=pl.date(2024, 1, pl.Series(range(40)) % 28 + 1), open=pl.Series([True, False] * 20)
    )
    frame.write_csv(tmp_path / "t.csv")
    out = tmp_path / "m.safetensors"
    run("train", tmp_path / "t.csv", "--target", "price", "--out", out, *QUICK)
    texts = frame.with_columns(pl.all().cast(pl.String)).with_columns(
        pl.Series("city", ['"a\nb"', *["x"] * 39]), pl.Series(column, [*frame[column].cast(pl.String)[:38], cell, ""])
    )
    lines = [",".join(row) for row in [frame.columns, *texts.with_columns(price=pl.when(pl.col("rooms") == "3").then(
        pl.lit("NA") if column != "price" else pl.col("price")).otherwise(pl.col("price"))).rows()]]  # fmt: skip
    (tmp_path / "t.csv").write_text("\n\n" + "\n".join(lines))
    commands = ["evaluate"] + ["predict"] * (column != "price")
    for command in commands:
        assert said in run(command, out, tmp_path / "t.csv", code=1).stderr
    if cell.startswith(("inf", "1e")):
        assert said in run("train", tmp_path / "t.csv", "--target", "price", "--out", out, *QUICK, code=1).stderr


@pytest.mark.parametrize(("days", "said"), [
    (["01/02/2024", "03-04-2024"], True), (["01/02/2024", "13/04/2024"], False), (["2024-01-02"], False),
    (["01.02.2024"], False),
])  # fmt: skip
def test_dates_that_may_be_meant_otherwise_are_said(tmp_path, days, said):
    frame = table(40).with_columns(day=pl.Series((days * 40)[:40]))
    frame.write_csv(tmp_path / "t.csv")
    out = tmp_path / "m.safetensors"
    for arguments in (
        ("train", tmp_path / "t.csv", "--target", "price", "--out", out, *QUICK), ("evaluate", out, tmp_path / "t.csv"),
        ("predict", out, tmp_path / "t.csv"),
    ):  # fmt: skip
        assert ("whether the day or the month comes first" in run(*arguments).stderr) == said
    dropped = ("train", tmp_path / "t.csv", "--target", "price", "--out", out, *QUICK, "--drop", "day")
    assert "whether the day" not in run(*dropped).stderr


def test_an_error_in_a_late_block_says_where_and_leaves_the_old_file(tmp_path, small_blocks, model):
    frame = table(40).with_columns(area=pl.Series([1.0] * 38 + [float("inf"), 1.0]))
    frame.write_parquet(tmp_path / "t.parquet")
    (tmp_path / "p.csv").write_text("old")
    result = run("predict", model, tmp_path / "t.parquet", "--out", tmp_path / "p.csv", code=1)
    assert "column 'area' is infinite in row 38, " in result.stderr
    assert (tmp_path / "p.csv").read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.csv", "t.parquet"]


def test_new_categories_of_all_blocks_are_said_once(tmp_path, small_blocks, model):
    labels = [f"new {k:03d}" for k in range(150)]
    frame = table(151).with_columns(city=pl.Series([*labels, "new 000"]))
    frame.write_csv(tmp_path / "t.csv")
    for command in ("predict", "evaluate"):
        more = ("--out", tmp_path / "p.csv") if command == "predict" else ()
        result = run(command, model, tmp_path / "t.csv", *more, "--json")
        assert result.stderr.count("that training did not see") == 1
        assert result.stderr.count("warning") == 2  # of the first block, and of all
        found = json.loads(result.stdout)["new_categories"]["city"]
        assert found == {"rows": 151, "labels": labels[:100]}


@pytest.mark.parametrize("target", ["price", "kind"])
def test_scores_by_blocks_are_those_of_the_whole(tmp_path, small_blocks, target):
    frame = table(100).with_columns(kind=pl.Series(["a", "b", None, "a"] * 25), price=pl.col("price") + 1e6)
    frame.write_csv(tmp_path / "t.csv")
    run("train", tmp_path / "t.csv", "--target", target, "--out", tmp_path / "m.safetensors", *QUICK)
    frame = frame.with_columns(kind=pl.Series(["a"] * 8 + [None] * 21 + ["new"] + ["b"] * 70))
    frame.write_csv(tmp_path / "t.csv")
    made = []
    for rows in (7, 10**6):
        small_blocks(rows)
        made.append(json.loads(run("evaluate", tmp_path / "m.safetensors", tmp_path / "t.csv", "--json").stdout))
    assert made[0].pop("scores") == pytest.approx(made[1].pop("scores"), rel=1e-9)
    assert made[0] == made[1]
    assert made[0]["rows"] == (79 if target == "kind" else 100)


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow", "npz"])
def test_the_model_of_blocks_is_that_of_the_whole(tmp_path, small_blocks, kind):
    frame = table(200).with_columns(rooms=pl.Series([1] * 190 + [100_000] * 10))
    path = written(frame, tmp_path, kind)
    made = []
    for rows in (7, 10**6):
        small_blocks(rows)
        run("train", path, "--target", "price", "--out", tmp_path / "m.safetensors", *QUICK)
        made.append((tmp_path / "m.safetensors").read_bytes())
    assert made[0] == made[1]


def test_some_rows_at_random_are_the_same_whatever_the_blocks(tmp_path, small_blocks):
    path = written(table(200), tmp_path, "csv")
    made = []
    for rows in (7, 64, 10**6):
        small_blocks(rows)
        start = ("train", path, "--target", "price", "--out", tmp_path / "m.safetensors", *QUICK, "--sample-rows")
        values = json.loads(run(*start, 50, "--json").stdout)
        assert (values["rows"], values["rows_chosen"]) == (200, 50)
        made.append((tmp_path / "m.safetensors").read_bytes())
    assert made[0] == made[1] == made[2]
    assert "rows_chosen" not in json.loads(run(*start, 200, "--json").stdout)
    run(*start, 50, "--seed", 1)
    assert (tmp_path / "m.safetensors").read_bytes() != made[0]


def test_training_is_refused_where_the_memory_does_not_suffice(tmp_path, small_blocks, monkeypatch):
    import fastnn.cli.rows as rows

    path = written(table(200), tmp_path, "csv")
    monkeypatch.setattr(rows, "available", lambda: 2000.0)
    start = ("train", path, "--target", "price", "--out", tmp_path / "m.safetensors", *QUICK)
    for more in ((), ("--sample-rows", 150)):  # nobody asks for more rows than fit, and gets fewer
        said = run(*start, *more, code=1).stderr
        assert "--sample-rows" in said
        assert "training on the first " in said
    run(*start, "--sample-rows", 20)


@pytest.mark.parametrize("free", [2000.0, 8000.0])
def test_as_many_rows_at_random_as_the_memory_has_room_for(tmp_path, small_blocks, monkeypatch, free):
    import fastnn.cli.rows as rows

    small_blocks(7)
    path = written(table(1000), tmp_path, "csv")
    monkeypatch.setattr(rows, "available", lambda: free)
    monkeypatch.setattr(rows, "FEWEST", 5)
    start = ("train", path, "--target", "price", "--out", tmp_path / "m.safetensors", *QUICK)
    values = json.loads(run(*start, "--json").stdout)
    chosen = values["rows_chosen"]
    assert values["rows"] == 1000
    assert 5 <= chosen <= free / 32  # two inputs at least, and 16 bytes beside them, in half of it
    assert f"room for {chosen} of 1,000 rows" in values["warnings"][0]
    first = (tmp_path / "m.safetensors").read_bytes()
    run(*start, "--sample-rows", chosen)
    assert (tmp_path / "m.safetensors").read_bytes() == first


@pytest.mark.parametrize("arguments", [
    ("predict", "--out", "p.csv"), ("predict", "--out", "p.csv.gz"), ("predict", "--out", "p.parquet"), ("evaluate",),
])  # fmt: skip
def test_few_blocks_are_in_memory_at_a_time(tmp_path, small_blocks, monkeypatch, model, arguments):
    path = written(table(700), tmp_path, "csv")
    born, most = [], []

    def frames(rows):
        for first in range(0, 700, rows):
            frame = table(700)[first : first + rows]
            born.append(weakref.ref(frame))
            yield frame
            del frame
            most.append(sum(one() is not None for one in born))

    plain = Source.__init__
    monkeypatch.setattr(Source, "__init__", lambda self, name, schema, _: plain(self, name, schema, frames))
    monkeypatch.chdir(tmp_path)
    run(arguments[0], model, path, *arguments[1:])
    assert len(most) == 100
    assert max(most) <= 4


def test_a_column_without_a_name_is_one_like_others(tmp_path):
    rows = "".join(f"{i},{i % 7},{i % 7 * 2 + 0.5}\n" for i in range(40))
    (tmp_path / "p.csv").write_text(",a,y\n" + rows)
    run("train", tmp_path / "p.csv", "--target", "y", "--out", tmp_path / "m.st", "--epochs", 2)
    run("predict", tmp_path / "m.st", tmp_path / "p.csv", "--out", tmp_path / "q.csv")
    assert read_table(tmp_path / "q.csv").columns == ["", "a", "y", "prediction"]
    assert "R2" in run("evaluate", tmp_path / "m.st", tmp_path / "p.csv").stdout.replace("r2", "R2")


def test_a_model_is_there_where_its_summary_cannot_be_written(tmp_path, monkeypatch):
    def closed(*about):
        raise OSError(28, "No space left on device")

    (tmp_path / "p.csv").write_text("a,y\n" + "".join(f"{i % 7},{i % 7 * 2 + 0.5}\n" for i in range(40)))
    monkeypatch.setattr(training, "_summarize", closed)
    run("train", tmp_path / "p.csv", "--target", "y", "--out", tmp_path / "m.st", "--epochs", 1, code=1)
    monkeypatch.undo()
    run("info", tmp_path / "m.st")
