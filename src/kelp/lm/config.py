"""How a language model reads a text and predicts its tokens: what is stored beside its weights."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class DiffusionConfig:
    """Special tokens and the order of prediction.

    A document is `end` at position 0, which is never masked, and its tokens from position 1 on. `block` tokens are
    predicted together, each block after all earlier ones (BD3-LM, arXiv 2503.09573): 1 is autoregressive, 0 takes the
    whole document as one block (masked diffusion: LLaDA, arXiv 2502.09992). With `shift`, the state at position i - 1
    predicts token i, as in the autoregressive model that the weights may come from (Dream, DiffuLLaMA).
    `clean` says how a token of a finished block attends to its own block: to what stands before it, or to all.
    """

    mask: int
    end: int
    pad: int
    block: int = 32
    shift: bool = True
    clean: Literal["causal", "block"] = "causal"

    def __post_init__(self) -> None:
        for name in ("mask", "end", "pad"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be the id of a token, got {getattr(self, name)}")
        if self.mask in (self.end, self.pad):
            raise ValueError(f"the mask token must not be the end-of-text or the padding token, got {self.mask}")
        if self.block < 0:
            raise ValueError(f"block must be at least 0, got {self.block}")
        if self.clean not in ("causal", "block"):
            raise ValueError(f"clean must be 'causal' or 'block', got {self.clean!r}")
        if self.block == 1 and not self.shift:
            raise ValueError("block = 1 without shift would predict each token from a mask alone: set shift = true")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return asdict(self)
