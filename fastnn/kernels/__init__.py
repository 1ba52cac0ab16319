"""The compiled half of fastnn: everything under ``@njit``, and what it stands on.

Read it in this order:

========================  ====================================================================
``recursion``             the forward pass and the backward recursion, the heart of the library
``epoch``                 loops over samples and batches: whole epochs without Python
``loss``, ``descent``     both passes over a batch, and the loss between them; from gradients to new weights
``team``                  several threads that share a batch: their parts, and where they meet
``evaluate``, ``order``   outputs and gradients without an update; the order of the samples
``stages``                layers without a matrix: what their kernels, which stand beside their classes, get
``tiny``                  online training with every weight in a register, a kernel for each architecture
``lanes``, ``special``    networks of one shape side by side in vectors; when such kernels are worth compiling
``random``                SplitMix64: random numbers without a state
``products``, ``single``  the three matrix products of a layer, for a batch and for one sample
``tile``, ``plain``       what the products stand on: register tiles, and the plain-loop twin
``formula``               turns an activation's or a loss's NumPy text into machine code
``fields``                what formulas see of an object: numbers, and arrays of numbers
``rewriting``             what is changed in a text before it is compiled: written numbers, squares
``refusal``               why a text cannot be compiled: class, method, line and reason
``numpy_scalars``         exp, tanh... in forms that LLVM vectorises
``fused``, ``denormals``  a * b + c in one instruction, which happens nowhere else; numbers next to zero
``zeros``                 inputs that are zero in a whole batch, which the products pass over
``records``               the tables by which Python tells a kernel where everything is
``memory``, ``cpu``       addresses to arrays; the processor
``compiling``, ``part``   the decorator; kernels that are compiled as parts of those that call them
``cache``                 compiled code on disk
========================  ====================================================================

Kernels allocate nothing, hold no Python object and release the GIL. They also trust their
arguments: the caller has checked every shape and every number.
"""
