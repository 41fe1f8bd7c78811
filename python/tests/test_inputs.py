"""What callers give: what is wrong is told in their terms before it is computed with, what other libraries make is taken."""
import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest
import torch
import torch.nn.functional as F
from mlaan.torch import LocalTrainer, Method, fit
from networks_of_users import vgg
from test_networks import batch
from torch import nn

SGD = functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9)


def fresh_vgg():
    torch.manual_seed(0)
    return vgg()


WRONG = [
    (dict(optimizer=torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)), TypeError, "optimizer= is a function"),
    (dict(optimizer=None), TypeError, "optimizer= is a function"),
    (dict(optimizer=lambda p: None), TypeError, "gave a NoneType, not a torch.optim.Optimizer"),
    (dict(optimizer=lambda p: SGD([torch.zeros(1, requires_grad=True)])), ValueError, "of other parameters than those of module_0"),
    (dict(optimizer=lambda p: SGD(p[:1])), ValueError, "left out"),
    (dict(lr=0.1), TypeError, "no option 'lr' .rates are the optimizer's"),
    (dict(spann=2), TypeError, "no option 'spann' .did you mean span"),
    (dict(method="DGL"), ValueError, "did you mean dgl or dgl-star"),
    (dict(method="mlaan"), ValueError, "did you mean mlaan-paper or mlaan-released"),
    (dict(method=None), TypeError, "give a name, or a Method"),
    (dict(method="bp", span=2), ValueError, "no cascades"),
    (dict(weights=(1.0,)), ValueError, "weights .1.0,.: give two numbers"),
    (dict(reconstruct=5.0), ValueError, "reconstruct 5.0: give two numbers"),
    (dict(sources=["1"], method="dgl"), ValueError, "this method has none"),
    (dict(cuts=2.5), TypeError, "cuts 2.5: give block numbers"),
    (dict(cuts=True), TypeError, "cuts True"),
    (dict(cuts=["1"]), TypeError, "give numbers of blocks"),
    (dict(example=(1, 2)), TypeError, "not a tuple"),
    (dict(example=torch.zeros(3, 32, 32)), ValueError, "give images.None."),
    (dict(example=torch.zeros(2, 3, 32, 32, dtype=torch.float64)), ValueError, "the images, torch.float64 .* its parameters are torch.float32"),
    (dict(amp=True), TypeError, "amp True: give the type of autocast"),
    (dict(scaler=True), TypeError, "GradScaler"),
    (dict(clip=-1), ValueError, "clip -1"),
    (dict(criterion=nn.CrossEntropyLoss), TypeError, "criterion is a function of outputs and targets"),
]


@pytest.mark.parametrize("changed, error, message", WRONG)
def test_what_is_given_wrongly_is_told_before_a_step(changed, error, message):
    given = {"cuts": 3, "method": "mlaan-released", "optimizer": SGD, "example": batch()[0]} | changed
    with pytest.raises(error, match=message):
        LocalTrainer(fresh_vgg(), **given)


def test_batches_and_pixels_are_looked_at():
    images, targets = batch()
    t = LocalTrainer(fresh_vgg(), 3, "infopro", optimizer=SGD, example=images)
    for pixels, message in ((images, "before normalization"), (images[:1], "images' shape"), (images.to(torch.uint8), "floats")):
        with pytest.raises(ValueError, match=message):
            t.step(images, targets, pixels)
    t.step(images, targets, torch.sigmoid(images))
    # Black and white, normalized and back.
    mean, std = 0.4734, 0.2515
    ends = (torch.rand_like(images) > 0.5).float()
    again = LocalTrainer(fresh_vgg(), 3, "infopro", optimizer=SGD, example=images)
    again.step(images, targets, (ends - mean) / std * std + mean)
    with pytest.raises(ValueError, match=rf"{len(images)} images and targets of shape \[{len(images) - 1}\]"):
        t.step(images, targets[1:], torch.sigmoid(images))
    with pytest.raises(ValueError, match="without images"):
        t.step(images[:0], targets[:0], images[:0])
    with pytest.warns(UserWarning, match="it sees no labels"):
        LocalTrainer(fresh_vgg(), 2, "infopro", optimizer=SGD, example=images)
    plain = LocalTrainer(fresh_vgg(), 3, "dgl", optimizer=SGD, example=images, criterion=nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(ValueError, match="the mean over samples"):
        plain.step(images, targets)


def test_networks_come_as_lists_of_any_kind_and_show_their_modules():
    images = batch()[0]
    for blocks in (nn.ModuleList(fresh_vgg()), (b for b in fresh_vgg()), tuple(fresh_vgg())):
        shown = repr(LocalTrainer(blocks, 3, "mlaan-released", optimizer=SGD, example=images))
        assert shown.count("\n") == 3 and "module 2:" in shown and "KiB an image" in shown and "copies of blocks" in shown, shown
    for wrong in (None, "resnet18", nn.Linear, [1, 2]):
        with pytest.raises(TypeError, match="is no network|blocks are nn.Modules"):
            LocalTrainer(wrong, 3, "dgl", optimizer=SGD)
    with pytest.raises(TypeError, match=r"a batch is \(images, targets\), and the loader gave a dict of 2"):
        fit(fresh_vgg(), [{"x": images, "y": 1}], epochs=1, cuts=3, optimizer=SGD)
    with pytest.raises(TypeError, match="scheduler= is a function"):
        fit(fresh_vgg(), [batch()], epochs=1, cuts=3, optimizer=SGD, scheduler="cosine")
    with pytest.raises(TypeError, match="ReduceLROnPlateau"):
        fit(fresh_vgg(), [batch()], epochs=1, cuts=3, optimizer=SGD, scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau)


def test_what_other_libraries_make_is_taken():
    images, targets = batch()

    class Wrapped:
        def __init__(self, params):
            self.inner = SGD(params)
            self.param_groups = self.inner.param_groups
            self.step, self.zero_grad = self.inner.step, self.inner.zero_grad
            self.state_dict, self.load_state_dict = self.inner.state_dict, self.inner.load_state_dict

    @dataclass(frozen=True)
    class Mine(Method):
        own: int = 1

    def mixed(outputs, given):
        a, b, share = given
        return (share * F.cross_entropy(outputs, a) + (1 - share) * F.cross_entropy(outputs, b)).reshape(1)
    t = LocalTrainer(fresh_vgg(), numpy.array([2, 4]), Mine(), own=3, optimizer=Wrapped, example=images, criterion=mixed,
                     shards=numpy.int64(1), clip=numpy.float32(1))
    assert t.edges[1:-1] == [2, 4] and all(torch.isfinite(v) for v in t.step(images, (targets, targets, 0.3)).values())
    cut = LocalTrainer(fresh_vgg(), numpy.int64(3), "dgl", optimizer=SGD, example=images, criterion=mixed, shards=2)
    with pytest.raises(TypeError, match="shards=2 cuts targets"):
        cut.step(images, (targets, targets, 0.3))


def test_what_failed_while_it_was_built_is_not_built():
    images, targets = batch()
    t = LocalTrainer(fresh_vgg(), 3, "dgl", optimizer=lambda p: SGD(p[:1]))
    for _ in range(2):
        with pytest.raises(ValueError, match="left out"):
            t.step(images, targets)
    assert not t.modules


def test_states_of_something_else_are_told():
    images = batch()[0]
    t = LocalTrainer(fresh_vgg(), 3, "dgl", optimizer=SGD, example=images)
    with pytest.raises(ValueError, match="no state of a LocalTrainer"):
        t.load_state_dict(fresh_vgg().state_dict())
    adam = LocalTrainer(fresh_vgg(), 3, "dgl", optimizer=torch.optim.Adam, example=images)
    with pytest.raises(ValueError, match="of the optimizer Adam, this trainer has SGD"):
        t.load_state_dict(adam.state_dict())
    with pytest.raises(RuntimeError, match="nothing is built yet"):
        LocalTrainer(fresh_vgg(), 3, "dgl", optimizer=SGD).state_dict()


def test_without_pytorch_the_import_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; import mlaan, mlaan.torch"
    # Where the package lies beside these tests and is not installed.
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode != 0 and "mlaan.torch needs PyTorch 2.4 or later" in done.stderr, done.stderr
