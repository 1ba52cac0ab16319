"""The tables by which Python tells a kernel where everything is.

All addresses are of C-contiguous memory that the Python side keeps alive (``fastnn.plan``).
`stride` is the number of outputs padded to whole vectors: the row length of W, y, x and dx. The
padding of W, b and db is always zero.
"""

from __future__ import annotations

import numpy as np

from .memory import record_reader

LAYER = np.dtype(
    [
        ("ins", "i8"),
        ("outs", "i8"),
        ("stride", "i8"),
        ("W", "i8"),  # (ins, stride): the article's W, transposed
        ("b", "i8"),  # (stride,)
        ("f", "i8"),  # block: x = f(y)
        ("df", "i8"),  # block: db = df(y) * dx
        ("act", "i8"),  # the activation's parameters, float64
        ("y", "i8"),  # (capacity, stride): W x + b
        ("x", "i8"),  # (capacity, stride): f(y), the input of the next layer
        ("dx", "i8"),  # (capacity, stride): gradient of the loss w.r.t. x
        ("db", "i8"),  # (capacity, stride): gradient of the loss w.r.t. y, one row a sample
        ("dW", "i8"),  # (ins, stride): where `gradients` puts the gradient; 0 when it is not wanted
        ("dx_in", "i8"),  # (capacity, padded ins): the dx of the layer below; 0 when not wanted
        ("stride_in", "i8"),  # row length of dx_in
        ("again", "i8"),  # whether the same layer is also above: it then has been updated when its turn comes
        ("wipe_padding", "i8"),  # whether df(0) is not finite, so that db's padding must be set to zero
    ],
    align=True,
)

NETWORK = np.dtype(
    [
        ("depth", "i8"),  # how many layers
        ("layers", "i8"),  # LAYER[depth]
        ("capacity", "i8"),  # how many samples the scratch memory holds
        ("multiply", "i8"),  # the matrix product, see products
        ("loss", "i8"),  # block: loss and its gradient for some samples
        ("loss_self", "i8"),  # the loss's parameters, float64
        ("loss_sum", "i8"),  # float64: where the loss block adds up
        ("target_items", "i8"),  # numbers of the network's dtype in one sample's target
        ("batch_x", "i8"),  # (capacity, ins): the samples of a shuffled batch
        ("batch_t", "i8"),  # (capacity, target_items): their targets
        ("Wt", "i8"),  # room for the largest transposed W
    ],
    align=True,
)

layer_at = record_reader(LAYER)
network_at = record_reader(NETWORK)
