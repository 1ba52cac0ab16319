"""fastnn: fully connected networks on a CPU, trained in compiled loops.

See `NeuralNetwork` for the network, `Layer` for its parts, and `fastnn.reference` for the same
in plain NumPy.
"""

from .activations import (
    ELU,
    GELU,
    SELU,
    ActivationFunction,
    HardTanh,
    Identity,
    LeakyReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Swish,
    Tanh,
)
from .initializers import INITIALIZERS, create_bias_vector, create_weight_matrix
from .kernels.formula import FormulaError
from .layers import Layer
from .losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    ElementwiseLoss,
    HuberLoss,
    LossFunction,
    MAELoss,
    MSELoss,
    PoissonNLLLoss,
    SoftCrossEntropyLoss,
)
from .network import Gradients, NeuralNetwork
from .version import __version__

__all__ = [
    "ELU",
    "GELU",
    "INITIALIZERS",
    "SELU",
    "ActivationFunction",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "ElementwiseLoss",
    "FormulaError",
    "Gradients",
    "HardTanh",
    "HuberLoss",
    "Identity",
    "Layer",
    "LeakyReLU",
    "LossFunction",
    "MAELoss",
    "MSELoss",
    "NeuralNetwork",
    "PoissonNLLLoss",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "SoftCrossEntropyLoss",
    "Softplus",
    "Swish",
    "Tanh",
    "__version__",
    "create_bias_vector",
    "create_weight_matrix",
]
