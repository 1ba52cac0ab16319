"""What a wheel or a source distribution must have brought: run by the Python that it was installed into, outside the
checkout, whose path is the argument."""

import sys
from pathlib import Path

import numpy as np

import fastnn

tree, here = Path(sys.argv[1]).resolve() / "fastnn", Path(fastnn.__file__).resolve().parent
if here == tree:
    sys.exit("this is the checkout, not what was installed")
wanted = {path.relative_to(tree) for path in tree.rglob("*") if path.suffix == ".py" or path.name == "py.typed"}
missing = sorted(str(path) for path in wanted if not (here / path).is_file())
if missing or Path("py.typed") not in wanted:
    sys.exit(f"what was installed lacks {missing or 'py.typed'}")

X = np.random.default_rng(0).normal(size=(200, 2))
history = fastnn.mlp([2, 8, 1], "tanh", lr=0.01, seed=0).fit(X, X[:, 0] - X[:, 1], epochs=5, seed=0)
if not history["loss"][-1] < history["loss"][0]:
    sys.exit(f"a fit from what was installed does not learn: {history['loss']}")
print(f"fastnn {fastnn.__version__}: {len(wanted)} files, and a fit that learns")
