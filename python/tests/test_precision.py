"""Compiled modules and scaled losses give what plain ones give."""
import copy
import functools

import pytest
import torch
from mlaan.torch import LocalTrainer
from networks_of_users import vgg
from test_networks import batch

SGD = functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9)


@pytest.mark.parametrize("clip", [0.0, 0.1])
@pytest.mark.parametrize("option", ["scaler", "compile"])
def test_same_as_plain(option, clip, monkeypatch):
    images, targets = batch()
    net = vgg()
    other = copy.deepcopy(net)
    if option == "compile":  # the graph capture and AOT autograd, without a C++ compiler
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    options = {"scaler": torch.amp.GradScaler("cpu", init_scale=1024.0)} if option == "scaler" else {"compile": True}
    results = []
    for n, o in ((net, {}), (other, options)):
        torch.manual_seed(0)
        t = LocalTrainer(n, 4, "mlaan-paper", optimizer=SGD, example=images, clip=clip, **o)
        results.append([t.step(images, targets) for _ in range(3)][-1])
    assert results[0].keys() == results[1].keys()
    assert all(torch.allclose(results[0][k], results[1][k], atol=1e-4) for k in results[0])
