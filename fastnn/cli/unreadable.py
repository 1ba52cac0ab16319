"""Files that are none of the tables read here: what they are, by their first bytes, and what to do with them."""

from __future__ import annotations

import pathlib
import re
import zipfile

SHEET = "save it as CSV in the program that it is of, or by pandas.read_excel(...).to_csv(..., index=False)"
UNPACK = "unpack it, or pack it with gzip"
PANDAS = "write a table of it as Parquet, by pandas.{}(...).to_parquet(...)"
OTHER = "expected CSV, Parquet, Arrow or NPZ"

BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # what no text has
STARTS = (
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook of Excel (.xls), or of an old Office", SHEET),
    (rb"BZh[1-9]1AY&SY", "packed with bzip2", UNPACK),
    (rb"\xfd7zXZ\x00", "packed with xz", UNPACK),
    (rb"\x28\xb5\x2f\xfd", "packed with zstd", UNPACK),
    (rb"\x04\x22\x4d\x18", "packed with LZ4", UNPACK),
    (rb"\x1f[\x9d\xa0]", "packed with compress", UNPACK),
    (rb"\x1f\x8b", "packed with gzip twice", "unpack it once"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (rb"PK\x05\x06", "an empty ZIP archive", OTHER),
    (rb"[\s\S]{257}ustar[\x00 ]", "a TAR archive", "unpack it"),
    (rb"\x93NUMPY", "an array of NumPy (.npy)", 'make columns of it by numpy.savez("table.npz", X=numpy.load(...))'),
    (rb"FEA1\x00", "Feather of version 1", PANDAS.format("read_feather")),
    (rb"PARE[\x00-\x1f]", "encrypted Parquet", "expected Parquet that is not"),
    (rb"ORC[\x00-\x1f]", "an ORC file", PANDAS.format("read_orc")),
    (rb"Obj\x01", "an Avro file", OTHER),
    (rb"SQLite format 3\x00", "a database of SQLite", PANDAS.format("read_sql")),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", PANDAS.format("read_hdf")),
    (rb"MATLAB 5\.0 MAT-file", "a file of MATLAB", "write its arrays by numpy.savez(..., **scipy.io.loadmat(...))"),
    (rb"\x00{12}\xc2\xea\x81\x60", "a data set of SAS", PANDAS.format("read_sas")),
    (rb"HEADER RECORD\*{7}LIB", "a transport file of SAS", PANDAS.format("read_sas")),
    (rb"\$FL[23]@", "a data set of SPSS", PANDAS.format("read_spss")),
    (rb"<stata_dta>|[\x69\x6c\x6e-\x73][\x01\x02]\x01\x00", "a data set of Stata", PANDAS.format("read_stata")),
    (rb"(RD[AXB][23]\n)?[XAB]\n\x00\x00\x00[23]", "a data set of R", "write it in R by write.csv(...)"),
    (rb"\x80[\x02-\x05][\x95\x8a\x8c\]}(cKGq]|\([dl]p?\d*\n|c(__builtin__|copy_reg|numpy|pandas)", "a pickle of Python",
     PANDAS.format("read_pickle")),
    (rb"[\s\S]{4}\x00{4}\{", "a safetensors file, as models are", "expected a table: CSV, Parquet, Arrow or NPZ"),
    (rb"version https://git-lfs", "a pointer of Git LFS and not the file", "fetch it: git lfs pull"),
    (rb"%PDF-", "a PDF", OTHER),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II\*\x00|MM\x00\*", "a picture", OTHER),
    (rb"\x7fELF|MZ[\s\S]\x00|\xcf\xfa\xed\xfe", "a program", OTHER),
    (rb"(?i)\s*<(!doctype html|html[\s>])", "a web page", "expected the table itself: does the link lead to it?"),
    (rb"\s*<\?xml", "XML", PANDAS.format("read_xml")),
    (rb"(?i)(%[^\n]*\n|\s)*@relation\s", "ARFF", "write it as CSV with a line of names"),
    (rb"\s*(\{\s*(\"([^\"\\]|\\.)*\"\s*:|\})|\[\s*[\[{]|\[\s*(-?\d|\"[^\"]*\"|\])[\s\S]*\]\s*$)", "JSON",
     "make CSV of it, by pandas.read_json(...).to_csv(..., index=False), for a line of JSON each row with lines=True"),
)  # fmt: skip
"""Patterns of the first bytes, what such a file is, and what to do."""

ENDINGS = {
    ".pkl": "a pickle of Python", ".pickle": "a pickle of Python", ".joblib": "a pickle of joblib",
    ".dta": "a data set of Stata", ".sav": "a data set of SPSS", ".mat": "a file of MATLAB", ".rds": "a data set of R",
    ".xlsb": "a workbook of Excel", ".pt": "a file of PyTorch", ".pth": "a file of PyTorch", ".dbf": "a table of dBase",
    ".mdb": "a database of Access", ".accdb": "a database of Access", ".tfrecord": "a file of TensorFlow",
    ".br": "packed with Brotli", ".numbers": "a sheet of Numbers",
}  # fmt: skip
"""What a file without such a start is, by its name."""

ARCHIVES = (
    (r"xl/.*", "a workbook of Excel (.xlsx)", SHEET),
    (r"content\.xml", "a document of OpenOffice, as .ods", SHEET),
    (r"word/.*|ppt/.*", "a document of Office", OTHER),
    (r"Index/.*", "a sheet of Numbers", SHEET),
    (r".*/data\.pkl", "a file of PyTorch", OTHER),
)
"""Patterns of a name in a ZIP archive, what it is, and what to do."""


def check_known(start: bytes, name: str) -> None:
    """See that a file is none of those that are known not to be read.

    Parameters
    ----------
    start : bytes
        The first of it.
    name : str
        Its name; what content does not say, its ending may, where there are bytes that no text has.

    Raises
    ------
    ValueError
        If it is one; it says which, and what to do.
    """
    for pattern, what, cure in STARTS:
        if re.match(pattern, start):
            raise ValueError(f"it is {what}; {cure}")
    ending = pathlib.PurePath(name).suffix.lower()
    if ending in ENDINGS and BINARY.search(start):
        raise ValueError(f"it is, by its name, {ENDINGS[ending]}; {OTHER}")
    if b"\x00" in start:
        raise ValueError("it is none of CSV, Parquet, Arrow, NPZ and gzip of one of them")


def check_arrays(file: zipfile.ZipFile) -> None:
    """See that a ZIP archive is an NPZ.

    Raises
    ------
    ValueError
        If it is another one; it says which, and what to do.
    """
    names = file.namelist()
    for pattern, what, cure in ARCHIVES:
        if any(re.fullmatch(pattern, name) for name in names):
            raise ValueError(f"it is {what}; {cure}")
    if not names or not all(name.endswith(".npy") for name in names):
        some = ", ".join(map(repr, names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        raise ValueError(f"it is a ZIP archive of {some or 'nothing'}; unpack it, or pack one table with gzip")
