"""What is computed at every module: METHOD.md, sections 4 to 6, as one record."""
from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from .inputs import nearest, unknown


@dataclass(frozen=True)
class Method:
    """A local method. `weights` are of the independent and the cascaded loss; `reconstruct` and `task` are
    InfoPro's λ1 and λ2 at the first and the last auxiliary network, linear between."""

    local: bool = True                               # False: plain backpropagation, one module
    head: str = "1c2f"                               # "AcBf", or "dgl": DGL's own
    hidden: int = 128                                # width of a head's hidden linear layers
    loss: str = "cross_entropy"                      # of auxiliary networks; or "contrastive"
    reconstruct: tuple[float, float] = (0.0, 0.0)
    task: tuple[float, float] = (1.0, 1.0)
    span: int = 1                                    # MLM: modules in a cascade; 1 is without
    weights: tuple[float, float] = (1.0, 0.0)
    leap: str = "off"                                # LAM: "off", "pulled" or "twin"
    leap_on: str = "independent"                     # or "cascaded"
    depth: int = 4                                   # mirrors in a chain, at most
    ema: float = 0.995

    def __post_init__(self) -> None:
        for name in ("weights", "reconstruct", "task"):
            pair = getattr(self, name)
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(v, (int, float)) and v >= 0 for v in pair)):
                raise ValueError(f"{name} {pair!r}: give two numbers that are not below 0, as (0.5, 1.0)")
        a_c_b_f = len(self.head) == 4 and self.head[1::2] == "cf" and self.head[::2].isdigit() and self.head[2] != "0"
        checks = [
            (a_c_b_f or self.head == "dgl", f"head {self.head!r}: give 'AcBf' such as '1c2f', or 'dgl'"),
            (self.loss in ("cross_entropy", "contrastive"), f"loss {self.loss!r}: give cross_entropy or contrastive"),
            (self.leap in ("off", "pulled", "twin"), f"leap {self.leap!r}: give off, pulled or twin"),
            (self.leap_on in ("independent", "cascaded"), f"leap_on {self.leap_on!r}: give independent or cascaded"),
            (self.span >= 1, f"span {self.span}: a cascade has at least one module"),
            (self.local or self.span == 1, f"span {self.span}: backpropagation has no cascades; take method='mlm'"),
            (self.depth >= 1, f"depth {self.depth}: a chain has at least one mirror"),
            (0 <= self.ema <= 1, f"ema {self.ema}: give a share from 0 to 1"),
            (self.leap == "off" or self.leap_on == "independent" or self.span > 1,
             "leap_on 'cascaded' needs a cascade: give a span of 2 or more"),
        ]
        for right, message in checks:
            if not right:
                raise ValueError(message)

    def branches(self) -> tuple[str, ...]:
        """The losses of a module: "ind", and "cas" with MLM."""
        return ("ind", "cas") if self.span > 1 else ("ind",)

    def leaps(self, branch: str) -> bool:
        """Whether the chain sits on this branch."""
        return self.leap != "off" and self.leap_on.startswith(branch)

    def lambdas(self, j: int, modules: int) -> tuple[float, float]:
        """λ1 and λ2 of module `j`, counted from 0."""
        r = j / (modules - 2) if modules > 2 else 0.0
        between = [first * (1 - r) + last * r for first, last in (self.reconstruct, self.task)]
        return between[0], between[1]


_MLM = dict(span=2, weights=(0.001, 0.999), leap="twin", leap_on="cascaded")
METHODS: dict[str, Method] = {
    "bp": Method(local=False),
    "dgl": Method(),
    "infopro": Method(reconstruct=(5.0, 0.5), task=(0.0, 1.0)),
    "infopro-imagenet": Method(reconstruct=(5.0, 5.0), task=(0.75, 0.75)),
    "mlm": Method(span=3, weights=(0.001, 0.999)),
    "lam": Method(head="0c1f", leap="pulled"),
    "mlaan-paper": Method(head="0c1f", span=3, weights=(0.5, 0.5), leap="pulled"),
    "mlaan-released": replace(Method(head="0c1f"), **_MLM),  # type: ignore[arg-type]
    "dgl-star": replace(Method(), **_MLM),  # type: ignore[arg-type]
    "infopro-star": replace(Method(reconstruct=(5.0, 0.5), task=(0.0, 1.0)), **_MLM),  # type: ignore[arg-type]
}


def method_of(method: str | Method, **changes: Any) -> Method:
    """A method by name, with what is changed of it."""
    if isinstance(method, str):
        if method not in METHODS:
            raise ValueError(f"method {method!r} is unknown{nearest(method, METHODS)}; there are {', '.join(METHODS)}")
        method = METHODS[method]
    if not isinstance(method, Method):
        raise TypeError(f"method {method!r}: give a name, or a Method")
    names = [f.name for f in fields(method) if f.name != "local"]
    for name in changes:
        if name not in names:
            raise unknown(name, names)
    return replace(method, **changes)
