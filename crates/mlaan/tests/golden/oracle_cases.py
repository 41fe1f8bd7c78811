"""What the oracle computes: the settings of a case, and the cases that have a golden file."""
from dataclasses import dataclass, field


@dataclass
class Case:
    name: str
    seed: int = 0
    block: str = "basic"
    depths: list = field(default_factory=lambda: [2, 2, 2])
    widths: list = field(default_factory=lambda: [4, 8, 16])
    stem: str = "cifar"
    classes: int = 10
    batch: int = 6
    size: int = 16
    cuts: list = field(default_factory=lambda: [])      # number of blocks below each cut; 0 = after the stem
    head: str = "1c2f"
    hidden: int = 16
    loss: str = "cross_entropy"                         # or "contrastive"
    reconstruct: list = field(default_factory=lambda: [0.0, 0.0])   # InfoPro lambda_1 first, last
    task: list = field(default_factory=lambda: [1.0, 1.0])          # InfoPro lambda_2 first, last
    span: int = 1                                       # MLM: cascade length in modules; 1 = off
    weights: list = field(default_factory=lambda: [1.0, 0.0])       # independent, cascaded
    leap: str = "off"                                   # LAM: "off", "pulled", "twin" or "untied"
    leap_on: str = "independent"                        # or "cascaded"
    leap_sources: list = field(default_factory=lambda: [])  # per module: block numbers it mirrors
    ema: float = 0.995
    leap_share: bool = False                            # modules whose outputs have the same shape have one chain
    leap_every: int = 1                                 # mirrors learn in steps 1, 1 + every, ...
    leap_width: float = 1.0                             # channels of untied copies, as a part of their sources'
    leap_lag: int = 0                                   # after step t copies follow sources as of step max(t - lag, 0)
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    steps: int = 3
    optimizer: str = "sgd"                              # or "adamw" (torch.optim's), "lars"
    trust: float = 0.001                                # LARS's trust coefficient
    no_decay: bool = False                              # biases and BatchNorm's parameters have no weight decay
    label_smoothing: float = 0.0                        # of every cross-entropy
    class_weights: list = field(default_factory=list)   # likewise; empty: none
    mixed: bool = False                                 # samples are mixtures: labels are class probabilities
    clip: float = 0.0                                   # clip_grad_norm_ of each group; 0: none
    freeze: list = field(default_factory=list)          # what does not learn: "stem", first parts of names
    shards: int = 1                                     # parts of the batch that go forward and back one after the other


ALL = [0, 1, 2, 3, 4, 5]          # every block of [2,2,2] its own module, the stem too: 7 modules
LEAPS = [[2, 4, 5], [2, 4, 5], [2, 4, 5], [4, 5], [4, 5], [5]]
WEIGHTS = [0.5, 2.0, 1.25, 3.0, 0.25, 1.0, 1.5, 0.75, 1.0, 2.5]
CASES = [
    Case("bp", seed=3),
    Case("bp_smoothed", seed=3, label_smoothing=0.1),
    Case("bp_mixed", seed=3, mixed=True, label_smoothing=0.1, class_weights=WEIGHTS),
    Case("bp_clipped", seed=3, clip=0.5),
    Case("bp_frozen", seed=3, freeze=["stem", "layer1", "layer2.0.conv1.weight", "layer3.0.downsample", "layer3.1.bn1.bias"]),
    Case("mlaan_frozen", cuts=[0, 1, 3, 5], span=2, weights=[0.3, 0.7], leap="pulled", head="0c1f",
         leap_sources=[[2, 4, 5], [2, 4, 5], [4, 5], [5]], freeze=["stem", "layer1.0", "layer2.1", "layer3.0"]),
    Case("dgl_weighted", cuts=[3], label_smoothing=0.1, class_weights=WEIGHTS),
    Case("mlaan_clipped", cuts=[2], span=2, weights=[0.3, 0.7], leap="twin", leap_on="cascaded", leap_sources=[[2, 4, 5]],
         head="0c1f", class_weights=WEIGHTS, clip=0.2),
    Case("bp_wide", depths=[1, 1, 1], widths=[16, 32, 64], size=32, batch=4),
    Case("mlaan_wide", depths=[1, 1, 1], widths=[16, 32, 64], cuts=[0, 1, 2], span=2, weights=[0.3, 0.7], leap="twin",
         leap_on="cascaded", leap_sources=[[1, 2], [1, 2], [2]], head="0c1f", size=32, batch=4),
    Case("dgl_2", cuts=[3]),
    Case("dgl_adamw", cuts=[3], optimizer="adamw", lr=0.001, weight_decay=0.05, no_decay=True, steps=5),
    Case("dgl_lars", cuts=[3], optimizer="lars", lr=2.0, weight_decay=1e-3, trust=0.01, steps=5),
    Case("dgl_7", cuts=ALL),
    Case("dgl_0c1f", cuts=ALL, head="0c1f"),
    # BatchNorm over rows: with eight of them none of 1000 seeds is well-conditioned.
    Case("dgl_head", cuts=[1, 3, 5], head="dgl", batch=16, lr=0.02),
    Case("infopro_ce", cuts=[1, 3, 5], reconstruct=[5.0, 0.0], task=[0.5, 1.0]),
    Case("infopro_contrastive", cuts=[1, 3, 5], loss="contrastive", reconstruct=[5.0, 0.5], task=[0.5, 1.0]),
    Case("mlm_2", cuts=ALL, span=2, weights=[0.001, 0.999], head="0c1f"),
    Case("mlm_3", cuts=ALL, span=3, weights=[0.3, 0.7]),
    Case("lam_pulled", cuts=ALL, leap="pulled", leap_sources=LEAPS, head="0c1f"),
    Case("lam_twin", cuts=ALL, leap="twin", leap_sources=LEAPS, head="0c1f"),
    Case("mlaan_paper", cuts=ALL, span=3, weights=[0.3, 0.7], leap="pulled", leap_sources=LEAPS, head="0c1f"),
    Case("mlaan_released", cuts=ALL, span=2, weights=[0.001, 0.999], leap="twin", leap_on="cascaded",
         leap_sources=LEAPS, head="0c1f"),
    # Moved far, so that a version too old or too new shows.
    Case("lam_pulled_lag", cuts=ALL, leap="pulled", leap_sources=LEAPS, head="0c1f", leap_lag=1, ema=0.5, steps=4),
    Case("mlaan_released_lag", cuts=[1, 3, 5], span=2, weights=[0.001, 0.999], leap="twin", leap_on="cascaded",
         leap_sources=[[2, 4, 5], [4, 5], [5]], head="0c1f", leap_lag=2, ema=0.5, steps=4),
    Case("lam_shared", cuts=ALL, leap="pulled", leap_sources=LEAPS, head="0c1f", leap_share=True, ema=0.9),
    Case("mlaan_shared", cuts=[0, 1, 3, 5], span=2, weights=[0.3, 0.7], leap="twin", leap_on="cascaded", freeze=["layer1.0"],
         leap_sources=[[2, 4, 5], [2, 4, 5], [4, 5], [5]], head="1c1f", leap_share=True, ema=0.9, shards=2, batch=9, clip=0.3),
    Case("lam_every", cuts=[1, 3, 5], leap="pulled", leap_sources=[[2, 4, 5], [4, 5], [5]], head="0c1f", leap_every=2, ema=0.9,
         steps=5),
    Case("lam_untied", cuts=[1, 3, 5], leap="untied", leap_sources=[[2, 4, 5], [4, 5], [5]], head="0c1f", leap_width=0.5),
    Case("mlaan_infopro", cuts=[1, 3, 5], span=3, weights=[0.3, 0.7], leap="pulled",
         leap_sources=[[2, 4, 5], [4, 5], [5]], reconstruct=[5.0, 0.5], task=[0.5, 1.0]),
    Case("bp_shards", shards=3, batch=10),
    # The mean by class weights is of each shard, as where a loop over shards accumulates gradients.
    Case("weighted_shards", depths=[1, 1, 1], classes=4, cuts=[1], head="0c1f", shards=3, batch=10, class_weights=WEIGHTS[:4],
         label_smoothing=0.1),
    Case("mixed_shards", depths=[1, 1, 1], classes=4, cuts=[1], head="0c1f", shards=3, batch=10, class_weights=WEIGHTS[:4],
         mixed=True),
    Case("mlaan_shards", depths=[1, 1, 1], cuts=[0, 1, 2], span=2, weights=[0.3, 0.7], leap="twin", leap_on="cascaded",
         leap_sources=[[1, 2], [1, 2], [2]], head="0c1f", shards=3, batch=10),
    Case("contrastive_shards", depths=[1, 1, 1], classes=4, cuts=[1], loss="contrastive", leap="pulled", leap_sources=[[1, 2]],
         reconstruct=[5.0, 0.5], task=[0.5, 1.0], shards=2, batch=9),
    Case("bottleneck_mlaan", seed=4, lr=0.02, batch=8, block="bottleneck", depths=[1, 2, 1, 1], widths=[4, 8, 8, 16], stem="imagenet",
         size=64, cuts=[0, 1, 2, 3, 4], span=3, weights=[0.3, 0.7], leap="twin",
         leap_sources=[[0, 1, 3, 4], [1, 3, 4], [3, 4], [3, 4], [4]], head="0c1f"),
]
