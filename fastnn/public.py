"""The public names, each from where it is at home; ``fastnn`` gets them here when the first is asked for."""

from .bank import NetworkBank
from .data.parquet import parquet
from .engine.gradients import Gradients
from .engine.threads import get_num_threads, set_num_threads
from .explanation import Explanation, explain
from .foreign import from_keras, from_onnx, from_torch
from .formulas.activations import (
    ELU,
    GELU,
    SELU,
    ActivationFunction,
    ExactGELU,
    HardTanh,
    Identity,
    LeakyReLU,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Swish,
    Tanh,
)
from .formulas.initializers import INITIALIZERS, create_bias_vector, create_weight_matrix
from .formulas.losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    ElementwiseLoss,
    FocalLoss,
    GammaLoss,
    GaussianNLLLoss,
    HuberLoss,
    LossFunction,
    MAELoss,
    MSELoss,
    PinballLoss,
    PoissonNLLLoss,
    SoftCrossEntropyLoss,
    TweedieLoss,
)
from .formulas.metrics import METRICS
from .formulas.optimizers import (
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
from .formulas.schedules import (
    Constant,
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    LogCosine,
    OneCycle,
    Schedule,
    StepDecay,
    WarmUp,
)
from .gradient_check import GradientCheck, GradientError, check_gradients
from .kernels.formula import FormulaError
from .layers.dense import Layer
from .layers.embedding import Embedding
from .layers.noise import Dropout, GaussianNoise
from .layers.normalisation import BatchNorm, LayerNorm, Standardize
from .layers.scaling import Scale, SmoothClip
from .layers.targets import StandardizeTargets
from .network import NeuralNetwork, load
from .perceptron import mlp
from .training.callbacks import Callback, LambdaCallback, StopTraining, TimeLimit
from .training.checkpoint import Checkpoint
from .training.guard import DivergedError, NaNGuard
from .training.history import History
from .training.loggers import CSVLogger, TensorBoard
from .training.lr_finder import LRCurve
from .training.monitors import EarlyStopping, ModelCheckpoint, OptunaPruning, ReduceLROnPlateau
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
    "Embedding",
    "ExactGELU",
    "Explanation",
    "ExponentialDecay",
    "FocalLoss",
    "FormulaError",
    "GammaLoss",
    "GaussianNLLLoss",
    "GaussianNoise",
    "GradientCheck",
    "GradientError",
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
    "LogCosine",
    "LossFunction",
    "MAELoss",
    "MSELoss",
    "Mish",
    "ModelCheckpoint",
    "NAdam",
    "NaNGuard",
    "NetworkBank",
    "NeuralNetwork",
    "OneCycle",
    "Optimizer",
    "OptunaPruning",
    "PinballLoss",
    "PoissonNLLLoss",
    "RAdam",
    "RMSprop",
    "RProp",
    "ReLU",
    "ReLU6",
    "ReduceLROnPlateau",
    "Scale",
    "Schedule",
    "SiLU",
    "Sigmoid",
    "SmoothClip",
    "SoftCrossEntropyLoss",
    "Softplus",
    "Standardize",
    "StandardizeTargets",
    "StepDecay",
    "StopTraining",
    "Swish",
    "Tanh",
    "TensorBoard",
    "TimeLimit",
    "TweedieLoss",
    "WarmUp",
    "__version__",
    "check_gradients",
    "create_bias_vector",
    "create_weight_matrix",
    "explain",
    "from_keras",
    "from_onnx",
    "from_torch",
    "get_num_threads",
    "load",
    "mlp",
    "parquet",
    "set_num_threads",
]

elsewhere = {
    **dict.fromkeys(("MLPClassifier", "MLPRegressor", "BankSearchCV"), "it is in fastnn.sklearn"),
    **dict.fromkeys(("TabularClassifier", "TabularRegressor", "Preprocessor"), "it is in fastnn.tabular"),
    **dict.fromkeys(("Dense", "Linear"), "it is Layer(ins, outs, 'relu'), which has its activation within"),
    **dict.fromkeys(("Sequential", "Model", "MLP"), "take mlp([784, 128, 10], 'relu'), or a NeuralNetwork of layers"),
    **dict.fromkeys(("Softmax", "softmax"), "CrossEntropyLoss has it inside, and net.predict_proba applies it"),
    "BatchNormalization": "it is BatchNorm",
    "LayerNormalization": "it is LayerNorm",
    "BCELoss": "take BCEWithLogitsLoss, with Identity as the last activation",
    "NLLLoss": "take CrossEntropyLoss, with Identity as the last activation",
    "L1Loss": "it is MAELoss",
    "load_model": "it is load",
}
"""Of names that users of other libraries look for, where to find the like here."""
