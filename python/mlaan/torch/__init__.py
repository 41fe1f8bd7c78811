"""Any PyTorch network, trained module by module: BP, DGL, InfoPro, MLM, LAM and MLAAN. Needs PyTorch 2.4 or later."""
from .blocks import Blocks, blocks_of
from .fit import fit
from .methods import METHODS, Method
from .trainer import LocalityError, LocalTrainer

__all__ = ["METHODS", "Blocks", "LocalTrainer", "LocalityError", "Method", "blocks_of", "fit"]
