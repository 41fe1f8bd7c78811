"""PyTorch's step as a CUDA graph: launching it costs no Python.

What may stand in the way of recording differs from version to version, so there are several ways, the fastest first; each
is tried in a process of its own, since a recording that fails can leave CUDA unusable.
"""
from dataclasses import dataclass

WARM_UP = 3


@dataclass(frozen=True)
class Capture:
    """How a step is recorded: which calls that cannot be recorded are errors (of any thread, of this one, of none); whether
    the optimiser is fused; whether cuDNN chooses kernels by trial; and whether the optimiser's step is recorded too."""
    mode: str = "thread_local"
    fused: bool = True
    trial: bool = True
    whole: bool = True


WAYS = {
    "whole": Capture(),
    "relaxed": Capture(mode="relaxed", fused=False),
    "without trial": Capture(mode="relaxed", fused=False, trial=False),
    "without optimiser": Capture(mode="relaxed", fused=False, trial=False, whole=False),
}


class Recorded:
    """A graph with all whose addresses it knows: network, batch, optimiser. Were they freed, it would touch memory of others."""

    def __init__(self, graph, step, how):
        self.graph, self.step, self.how = graph, step, how
        self.parameter = step.parameter

    def __call__(self):
        self.graph.replay()
        if not self.how.whole:
            self.step.update()


def recorded(step, how):
    """Records a step. As PyTorch's manual has it: what is lazily made must be there before, made on a stream of its own."""
    import torch
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    # An error of the warm-up is not the recording's.
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode=how.mode):
        if how.whole:
            step()
        else:
            step.backward()
    return Recorded(graph, step, how)
