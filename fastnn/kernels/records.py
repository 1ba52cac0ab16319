"""The tables by which Python tells a kernel where everything is.

All addresses are of C-contiguous memory that the Python side keeps alive (``fastnn.engine.plan``).
`columns` is the number of outputs rounded up to whole vectors, and `stride` the row length of W, y, x
and dx, which may be longer (``cpu.padded``). The padding of W, b and db is zero while all numbers
are finite.
"""

from __future__ import annotations

import numpy as np

from .memory import record_reader

LAYER = np.dtype(
    [
        ("ins", "i8"),
        ("outs", "i8"),
        ("columns", "i8"),
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
        ("Wt", "i8"),  # (columns, stride_in): the transpose of W, for dx_in; 0: W is too wide for one
        ("flipped", "i8"),  # in its place room for the transposes of db and dx_in, see recursion.multiply_flipped
        ("dW", "i8"),  # (rows, stride): the gradients of W and, in the last row, b; 0: nobody wants all of them
        ("place", "i8"),  # where they begin in the vector of all gradients, see layers.vector
        ("state", "i8"),  # the optimiser's numbers, each as many as W and b have
        ("l1", "f8"),  # penalties of W: l1 * sum |W| + l2 / 2 * sum W**2
        ("l2", "f8"),
        ("lr_factor", "f8"),  # by which the rate is multiplied for W, and for all rows of a stage
        ("bias_lr_factor", "f8"),  # ... and for b
        ("max_norm", "f8"),  # the largest norm of a unit's weights; 0: no limit
        ("frozen", "i8"),  # whether W and b stay as they are
        ("rows", "i8"),  # how many rows from W on training changes: those of W, and b
        ("band", "i8"),  # how many of them are updated at a time
        ("penalties", "i8"),  # float64[rows]: the penalty of each row
        ("squares", "i8"),  # float64[rows]: the squared norm of each row's gradient
        ("forward", "i8"),  # of a stage, a layer without a matrix (see stages); 0 for W x + b
        ("backward", "i8"),
        ("dx_in", "i8"),  # (capacity, padded ins): the dx of the layer below; 0 when not wanted
        ("columns_in", "i8"),  # inputs rounded up to whole vectors
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
        ("has_stages", "i8"),  # whether any layer is one
        ("capacity", "i8"),  # how many samples the scratch memory holds
        ("counts", "i8"),  # int64[pieces]: how many places of one wide sample are listed, by pieces; 0: it is narrow
        ("multiply", "i8"),  # the matrix product, see products
        ("nonzero_columns", "i8"),  # the function that looks for zeros of the input, see zeros; 0: do not look for any
        ("multiply_listed", "i8"),  # the product that passes over them
        ("numbers", "i8"),  # int64: 0, 1, 2, ... as many as a product may have rows
        ("places", "i8"),  # int64[ins] for each thread: room for the columns that are not zero
        ("loss", "i8"),  # block: loss and its gradient for some samples
        ("loss_self", "i8"),  # the loss's parameters, float64
        ("loss_sum", "i8"),  # float64: where the loss block adds up
        ("last_loss", "f8"),  # the last finite loss of a single sample's step; NaN: there was none
        ("not_finite", "i8"),  # int64: set to 1 where an inference meets an input that is not finite
        ("target_items", "i8"),  # numbers of the network's dtype in one sample's target
        ("batch_x", "i8"),  # (capacity, ins): the samples of a shuffled batch
        ("batch_t", "i8"),  # (capacity, target_items): their targets
        ("losses", "i8"),  # float64[capacity]: of the samples of a batch
        ("bands", "i8"),  # room for the gradients of one band of a layer's rows, for each thread
        ("band_bytes", "i8"),  # bytes of one
        ("stages", "i8"),  # STAGE for each thread
        ("update", "i8"),  # block: the optimiser's rule; 0: plain descent, fused with the gradient
        ("update_self", "i8"),  # the optimiser's parameters, float64
        (
            "wipe_padding",
            "i8",
        ),  # whether the rule moves zeros, so that W's padding must be set to zero
        ("steps", "i8"),  # int64: how many steps the optimiser has taken
        ("penalty_share", "f8"),  # what penalties are multiplied by in the current step
        ("whole", "i8"),  # whether a step needs all gradients before it changes a weight
        ("limits", "i8"),  # whether any layer has a max_norm
        ("descend", "i8"),  # the kernel of a batch's step, see descent
        ("take_steps", "i8"),  # the kernel of the steps of an epoch, see epoch
        ("clip_norm", "f8"),  # the largest norm of all gradients together; 0: no limit
        ("clip_value", "f8"),  # the largest gradient of one parameter; 0: no limit
        ("itself", "i8"),  # the address of this record, for the functions of a team
        ("team", "i8"),  # how many threads run the kernel, see team
        ("assemble", "i8"),  # functions that only a team needs
        ("meet", "i8"),
        ("count_step", "i8"),
        ("leave", "i8"),
        ("parts", "i8"),  # how many processes share the update of the weights; each changes its rows
        ("part", "i8"),  # which of them this is
        ("meetings", "i8"),  # int64[MEETINGS]: of this call, see team
        ("clock", "i8"),  # C function, see clock
        ("give_way", "i8"),  # C function: let another thread have this core
        ("syscall", "i8"),  # C function: a call of the system, on Linux
        ("futex", "i8"),  # the number of the call that waits on an address; 0: there is none
        ("spin", "i8"),  # ticks for which a thread looks for others before it lets the system wait
        ("patience", "i8"),  # ticks for which thread 0 waits for the others to begin
        ("a_sample", "f8"),  # ticks that one thread takes for a sample of a batch
        ("allowance", "f8"),  # ticks that the team may take longer, in all, before it is given up
    ],
    align=True,
)

RUN = np.dtype(
    [
        ("rows", "i8"),  # how many samples
        ("batch_size", "i8"),  # samples of a batch; the last may be shorter
        ("larger", "i8"),  # how many batches, the first of an epoch, have one sample more
        ("steps", "i8"),  # batches of an epoch
        ("x", "i8"),  # (rows, ins)
        ("t", "i8"),  # (rows, target_items)
        ("order", "i8"),  # int64[rows]: room for an epoch's order; 0: as the rows come
        ("seed", "i8"),  # of the order
        ("ordered", "i8"),  # the epoch whose order lies there, + 1; 0: none
        ("weights", "i8"),  # float64[rows]: weights of the samples' losses; 0: all are 1
        ("reached", "i8"),  # the step that training has come to
        ("outputs", "i8"),  # (rows, outs): where each sample's output is kept; 0: nowhere
        ("losses", "i8"),  # float64[epochs]: where each epoch's mean loss is kept
        ("epochs", "i8"),  # of how many epochs; 0: of none
        ("diverged", "i8"),  # the first step after which the sum of the epoch's losses is not finite; -1: none so far
        ("window", "i8"),  # the step is this one or, in kernels that do not look each time, one of so many from it on
        ("last_loss", "f8"),  # that sum before this step
        ("last_count", "i8"),  # and of how many samples it is
        ("averaged", "i8"),  # whether a batch's loss is a weighted average, whose total weight also divides penalties
    ],
    align=True,
)

STAGE = np.dtype(
    [
        ("settings", "i8"),  # what the stage needs to know besides, float64
        ("W", "i8"),  # (rows, stride): its parameters
        ("dW", "i8"),  # (trained rows, stride): their gradients, which the backward pass writes
        ("x_in", "i8"),  # (n, in_stride): its inputs
        ("in_stride", "i8"),
        ("y", "i8"),  # (n, stride): room for what the backward pass needs of the forward pass
        ("x", "i8"),  # (n, stride): its outputs
        ("dx", "i8"),  # (n, stride): gradient of the loss w.r.t. x
        ("dx_in", "i8"),  # (n, stride): gradient w.r.t. x_in; 0 when not wanted
        ("n", "i8"),  # how many samples
        ("outs", "i8"),  # numbers of a sample, of its inputs as of its outputs
        ("stride", "i8"),
        ("training", "i8"),  # 0: inference; 1: training; 2: a gradient in training that leaves no trace
        ("key", "i8"),  # sets the random numbers of a step apart from those of all others
    ],
    align=True,
)

# Networks side by side (see lanes): number l of every vector belongs to network number l.

LANES = np.dtype(
    [
        ("members", "i8"),  # how many networks
        ("networks", "i8"),  # int64[members]: the addresses of their NETWORK
        ("runs", "i8"),  # int64[members]: of their RUN
        ("layers", "i8"),  # LANES_LAYER[depth]
        ("x", "i8"),  # (capacity, ins, lanes): the samples of a batch, of each network its own
        ("out", "i8"),  # (capacity, outs): the outputs of one network
        ("dout", "i8"),  # (capacity, outs): the gradient of its loss w.r.t. them
        ("update", "i8"),  # block: the optimiser's rule, with a rate for each number; 0: plain descent
        ("numbers", "i8"),  # how many numbers the rule keeps for each parameter
        ("rates", "i8"),  # float64[lanes]: the learning rates of the current step
    ],
    align=True,
)

LANES_LAYER = np.dtype(
    [
        ("W", "i8"),  # (ins + 1, outs, lanes): the article's W, transposed, and b
        ("place", "i8"),  # where they begin in the vector of all gradients, see layers.vector
        ("state", "i8"),  # the optimiser's numbers, each as many as W and b have
        ("dW", "i8"),  # (ins + 1, outs, lanes): the gradients of W and b
        ("rates", "i8"),  # (ins + 1, outs, lanes): those of W and b; of plain descent with a minus
        ("y", "i8"),  # (capacity, outs, lanes), as are the next three: W x + b
        ("x", "i8"),  # f(y)
        ("dx", "i8"),  # gradient of the loss w.r.t. x
        ("db", "i8"),  # gradient of the loss w.r.t. y
    ],
    align=True,
)

layer_at = record_reader(LAYER)
lanes_at = record_reader(LANES)
lanes_layer_at = record_reader(LANES_LAYER)
network_at = record_reader(NETWORK)
run_at = record_reader(RUN)
stage_at = record_reader(STAGE)
