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
from .bank import NetworkBank
from .gradients import Gradients
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
from .metrics import METRICS
from .network import NeuralNetwork, load
from .optimizers import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    AMSGrad,
    Lion,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    RProp,
)
from .schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    OneCycle,
    Schedule,
    StepDecay,
    WarmUp,
)
from .stages import BatchNorm, Dropout, GaussianNoise, LayerNorm, Standardize
from .threads import get_num_threads, set_num_threads
from .training.callbacks import (
    Callback,
    CSVLogger,
    DivergedError,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    NaNGuard,
    ReduceLROnPlateau,
    StopTraining,
    TensorBoard,
    TimeLimit,
)
from .training.checkpoint import Checkpoint
from .training.history import History
from .training.lr_finder import LRCurve
from .version import __version__

__all__ = [
    "ELU",
    "GELU",
    "INITIALIZERS",
    "METRICS",
    "SELU",
    "SGD",
    "AMSGrad",
    "ActivationFunction",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "BCEWithLogitsLoss",
    "BatchNorm",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "Constant",
    "CosineDecay",
    "CrossEntropyLoss",
    "DivergedError",
    "Dropout",
    "EarlyStopping",
    "ElementwiseLoss",
    "ExponentialDecay",
    "FormulaError",
    "GaussianNoise",
    "Gradients",
    "HardTanh",
    "History",
    "HuberLoss",
    "Identity",
    "InverseTimeDecay",
    "LRCurve",
    "LambdaCallback",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Lion",
    "LossFunction",
    "MAELoss",
    "MSELoss",
    "ModelCheckpoint",
    "NAdam",
    "NaNGuard",
    "NetworkBank",
    "NeuralNetwork",
    "OneCycle",
    "Optimizer",
    "PoissonNLLLoss",
    "RAdam",
    "RMSprop",
    "RProp",
    "ReLU",
    "ReLU6",
    "ReduceLROnPlateau",
    "Schedule",
    "SiLU",
    "Sigmoid",
    "SoftCrossEntropyLoss",
    "Softplus",
    "Standardize",
    "StepDecay",
    "StopTraining",
    "Swish",
    "Tanh",
    "TensorBoard",
    "TimeLimit",
    "WarmUp",
    "__version__",
    "create_bias_vector",
    "create_weight_matrix",
    "get_num_threads",
    "load",
    "set_num_threads",
]
