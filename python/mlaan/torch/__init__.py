"""Any PyTorch network, trained module by module: BP, DGL, InfoPro, MLM, LAM and MLAAN. Needs PyTorch 2.4 or later.

The method is in `methods` (what is computed), `heads` (auxiliary networks), `sources` (what chains mirror) and `step` (one step)."""
from importlib.util import find_spec

if find_spec("torch") is None:
    raise ModuleNotFoundError("mlaan.torch needs PyTorch 2.4 or later, which is not installed here: pip install torch, or "
                              "what https://pytorch.org/get-started says for your GPU", name="torch")

from .blocks import Blocks
from .export import Export, to_mlaan
from .fit import fit
from .locality import LocalityError
from .methods import METHODS, Method
from .networks import blocks_of
from .trainer import LocalTrainer

__all__ = ["METHODS", "Blocks", "Export", "LocalTrainer", "LocalityError", "Method", "blocks_of", "fit", "to_mlaan"]
