"""Images of digits for the examples: scikit-learn's bundled ones, or MNIST from its IDX files."""

import gzip
import math
import struct
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np

Digits = namedtuple("Digits", ["x", "t", "x_test", "t_test"])
"""Images as columns of pixels from 0 to 1, and their classes: to learn from, and to test with."""


def add_arguments(parser):
    """Add the options that `load` takes."""
    parser.add_argument(
        "--mnist",
        metavar="DIR",
        help="directory with MNIST's four IDX files, plain or gzipped (default: the digits that come with "
        "scikit-learn, 8x8 pixels, a fifth of them for testing)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")


def load(parser):
    """The parser's options and the digits they ask for; ends the program if there are none."""
    options = parser.parse_args()
    try:
        digits = bundled(options.seed) if options.mnist is None else mnist(options.mnist)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    pixels, count = digits.x.shape
    print(f"{count:,} digits of {pixels} pixels to learn from, {digits.t_test.size:,} to test with")
    return options, digits


def bundled(seed):
    """scikit-learn's 1,797 digits; which of them are for testing depends on the seed."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        message = 'the bundled digits need scikit-learn: pip install "fastnn[examples]", or give --mnist DIR'
        raise ImportError(message) from error
    images, classes = load_digits(return_X_y=True)
    x = images.T / np.float32(16)
    test, train = np.split(np.random.default_rng(seed).permutation(classes.size), [classes.size // 5])
    return Digits(x[:, train], classes[train], x[:, test], classes[test])


def mnist(directory):
    """The IDX files in a directory whose names start with "train" and "t10k"."""
    x, t = columns(directory, "train")
    x_test, t_test = columns(directory, "t10k")
    if x.shape[0] != x_test.shape[0]:
        raise ValueError(f"{directory}: training images have {x.shape[0]} pixels, test images {x_test.shape[0]}")
    return Digits(x, t, x_test, t_test)


def columns(directory, start):
    """Images, one a column, and classes from the two files whose names begin with `start`."""
    images = read_idx(find(directory, start, "images"), 3)
    classes = read_idx(find(directory, start, "labels"), 1)
    if not 0 < len(images) == len(classes):
        raise ValueError(f"{directory}: {start}* holds {len(images)} images and {len(classes)} labels")
    if classes.max() > 9:
        raise ValueError(f"{directory}: {start}* holds the label {classes.max()}; expected 0 to 9")
    return images.reshape(len(images), -1).T / np.float32(255), classes.astype(int)


def find(directory, start, word):
    """The first file of a directory whose name starts with `start` and contains `word`."""
    for path in sorted(Path(directory).iterdir()):
        if path.name.startswith(start) and word in path.name and path.is_file():
            return path
    raise FileNotFoundError(f"{directory} has no file {start}*{word}*; expected MNIST's IDX files, plain or gzipped")


def read_idx(path, ndim):
    """The array of bytes, with `ndim` dimensions, in an IDX file, plain or gzipped.

    The file is two zero bytes, the type (8: unsigned bytes), the number of dimensions, each
    dimension as a big-endian 32-bit integer, and the data.
    """
    content = Path(path).read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}") from error
    magic = bytes([0, 0, 8, ndim])
    if not content.startswith(magic):
        found = content[:4].hex(" ") or "nothing"
        raise ValueError(f"{path} starts with {found}; expected {magic.hex(' ')}, an IDX file of {ndim} dimensions")
    begin = 4 + 4 * ndim
    if len(content) < begin:
        raise ValueError(f"{path} has {len(content)} bytes; its header alone takes {begin}")
    shape = struct.unpack(f">{ndim}I", content[4:begin])
    size = len(content) - begin
    if size != math.prod(shape):
        sizes = " x ".join(map(str, shape))
        raise ValueError(f"{path} has {size} bytes after its header; expected {math.prod(shape)} ({sizes})")
    return np.frombuffer(content, np.uint8)[begin:].reshape(shape)
