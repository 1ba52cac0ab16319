"""Write torch_golden.json: what PyTorch makes of the same network and data, step by step.

Run it with PyTorch installed: ``python tests/golden/torch_golden.py``. The tests read the file, so
they need no PyTorch.
"""

import json
import pathlib

import numpy as np
import torch

STEPS = 50
LR = 0.02


def problem():
    """Weights of a 3-5-2 tanh network and 20 samples, float64."""
    rng = np.random.default_rng(7)
    weights = [rng.normal(size=shape) * 0.5 for shape in ((5, 3), (5,), (2, 5), (2,))]
    return weights, rng.normal(size=(20, 3)), rng.normal(size=(20, 2))


OPTIMIZERS = {
    "SGD()": lambda p: torch.optim.SGD(p, LR),
    "SGD(momentum=0.9)": lambda p: torch.optim.SGD(p, LR, momentum=0.9),
    "SGD(momentum=0.9, nesterov=True, weight_decay=0.01)": lambda p: torch.optim.SGD(
        p, LR, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "RMSprop()": lambda p: torch.optim.RMSprop(p, LR),
    "RMSprop(rho=0.9, momentum=0.5, centered=True, weight_decay=0.01)": lambda p: torch.optim.RMSprop(
        p, LR, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.01
    ),
    "Adagrad(lr_decay=0.1, weight_decay=0.01)": lambda p: torch.optim.Adagrad(p, LR, lr_decay=0.1, weight_decay=0.01),
    "Adadelta(weight_decay=0.01)": lambda p: torch.optim.Adadelta(p, LR, weight_decay=0.01),
    "Adam(weight_decay=0.01)": lambda p: torch.optim.Adam(p, LR, weight_decay=0.01),
    "AdamW(weight_decay=0.1)": lambda p: torch.optim.AdamW(p, LR, weight_decay=0.1),
    "AMSGrad(beta2=0.9)": lambda p: torch.optim.Adam(p, LR, betas=(0.9, 0.9), amsgrad=True),
    "NAdam(weight_decay=0.01)": lambda p: torch.optim.NAdam(p, LR, weight_decay=0.01),
    "RAdam(weight_decay=0.01)": lambda p: torch.optim.RAdam(p, LR, weight_decay=0.01),
    "RProp()": lambda p: torch.optim.Rprop(p, LR),
}


def train(make, clip_norm=None, clip_value=None):
    """The parameters after STEPS full-batch steps of the optimiser that `make` makes."""
    weights, x, t = problem()
    W1, b1, W2, b2 = parameters = [torch.tensor(w, requires_grad=True) for w in weights]
    x, t = torch.tensor(x), torch.tensor(t)
    optimizer = make(parameters)
    for _ in range(STEPS):
        optimizer.zero_grad()
        out = torch.tanh(torch.tanh(x @ W1.T + b1) @ W2.T + b2)
        torch.nn.functional.mse_loss(out, t).backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        if clip_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, clip_value)
        optimizer.step()
    return [parameter.detach().numpy().tolist() for parameter in parameters]


def normalised(make):
    """Parameters, buffers and an inference of a network with the layer `make(5)`, after STEPS steps of Adam."""
    weights, x, t = problem()
    first, layer, last = torch.nn.Linear(3, 5).double(), make(5).double(), torch.nn.Linear(5, 2).double()
    with torch.no_grad():
        for place, value in zip((first.weight, first.bias, last.weight, last.bias), weights):
            place[...] = torch.tensor(value)
    net = torch.nn.Sequential(first, layer, torch.nn.Tanh(), last)
    x, t = torch.tensor(x), torch.tensor(t)
    optimizer = torch.optim.Adam(net.parameters(), LR)
    for step in range(STEPS):
        rows = slice(0, 10) if step % 2 == 0 else slice(10, 20)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(x[rows]), t[rows]).backward()
        optimizer.step()
    net.eval()
    state = {name: value.tolist() for name, value in net.state_dict().items()}
    return {"state": state, "outputs": net(x).tolist()}


if __name__ == "__main__":
    golden = {name: train(make) for name, make in OPTIMIZERS.items()}
    golden["clip_norm=0.1"] = train(OPTIMIZERS["SGD()"], clip_norm=0.1)
    golden["clip_value=0.02"] = train(OPTIMIZERS["SGD()"], clip_value=0.02)
    stages = {"BatchNorm": normalised(torch.nn.BatchNorm1d), "LayerNorm": normalised(torch.nn.LayerNorm)}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"torch": torch.__version__, "golden": golden, "stages": stages}, indent=0))
