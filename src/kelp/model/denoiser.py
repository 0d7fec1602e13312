"""The denoiser: one transformer that predicts where to edit a program and what to write there.

The prefix is the conditioning and the program, with attention in both directions unless configured otherwise; the
suffix is `<edit>`, `<until>` and the written tokens, with causal attention, at the rotary positions of the span that
they replace. Padding is at the right.
"""

from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from kelp.model import masks
from kelp.model.config import DenoiserConfig, PrefixAttention
from kelp.model.pointer import SitePointer, site_loss
from kelp.model.transformer import Transformer

METRICS = {  # of the loss: whether more is better
    "loss": False,
    "site_loss": False,
    "replacement_loss": False,
    "span_masking_loss": False,  # NaN where no span is masked
    "site_accuracy": True,
    "replacement_accuracy": True,  # tokens
    "replacement_exact": True,  # whole edits
}


class Batch(Protocol):
    """Arrays of B examples that the loss reads."""

    @property
    def tokens(self) -> Int[Array, "B S"]: ...  # the prefix, and the suffix right after it
    @property
    def positions(self) -> Int[Array, "B S"]: ...
    @property
    def segments(self) -> Int[Array, "B S"]: ...  # 1 = prefix, 2 and more = edits, below 0 = masked places; 0 = padding
    @property
    def sites(self) -> Int[Array, "B N 3"]: ...  # first token, last token, kind; kind 0 = padding row
    @property
    def site_target(self) -> Bool[Array, "B N"]: ...  # every correct answer
    @property
    def suffix(self) -> Int[Array, "B T"]: ...  # places of the suffix's tokens in S
    @property
    def targets(self) -> Int[Array, "B T"]: ...  # the token after each of them; -1 = no loss there


class Denoiser(eqx.Module):
    """A transformer, and a pointer over its states that scores the edit sites."""

    transformer: Transformer
    pointer: SitePointer
    prefix: PrefixAttention = eqx.field(static=True, default="bidirectional")

    @staticmethod
    def init(cfg: DenoiserConfig, *, key: PRNGKeyArray) -> "Denoiser":
        t, p = jax.random.split(key)
        inner = cfg.transformer
        pointer = SitePointer.init(inner.dim, cfg.site_kinds, cfg.pointer_dim, inner.compute_dtype, key=p)
        return Denoiser(Transformer.init(inner, key=t), pointer, cfg.prefix)

    @property
    def cfg(self) -> DenoiserConfig:
        site_kinds, pointer_dim = self.pointer.kind.shape
        return DenoiserConfig(self.transformer.cfg, site_kinds, pointer_dim, self.prefix)

    def __call__(
        self,
        tokens: Int[Array, "B S"],
        positions: Int[Array, "B S"],
        segments: Int[Array, "B S"],
        sites: Int[Array, "B N 3"],
        suffix: Int[Array, "B T"],
    ) -> tuple[Float[Array, "B N"], Float[Array, "B T V"]]:
        """Site log-probabilities, and logits at the suffix's tokens, in one pass over prefix and suffix."""
        lower, upper = (masks.prefix(segments, causal=causal) for causal in self._causal)
        hidden, _ = self.transformer.with_cache(tokens, positions, lower, upper_mask=upper)
        written = jnp.take_along_axis(hidden, suffix[..., None], axis=1)
        return self.pointer(hidden, sites), self.transformer.logits(written)

    @property
    def _causal(self) -> tuple[bool, bool]:
        """Causal attention of the prefix, or not: in the lower blocks, and in the upper ones."""
        return self.prefix != "bidirectional", self.prefix == "causal"


def loss(denoiser: Denoiser, batch: Batch) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The training loss, in nats, and metrics.

    The site loss is a mean over examples, the replacement loss a mean over the tokens of edits, the span-masking loss
    over those of masked spans; their sum is the loss. An example whose only answer is `stop` writes no edit.
    """
    log_probs, logits = denoiser(batch.tokens, batch.positions, batch.segments, batch.sites, batch.suffix)
    real = batch.segments[:, 0] == 1  # rows without a prefix only fill a batch up to the number of devices
    examples = jnp.maximum(real.sum(), 1)
    where = jnp.where(real, site_loss(log_probs, batch.site_target), 0.0).sum() / examples
    targets, segment = batch.targets, jnp.take_along_axis(batch.segments, batch.suffix, axis=1)
    losses = _token_losses(logits, targets)
    wanted, filled = (targets >= 0) & (segment > 1), (targets >= 0) & (segment < 0)
    tokens = jnp.maximum(wanted.sum(), 1)
    what = jnp.where(wanted, losses, 0.0).sum() / tokens
    masked = jnp.where(filled, losses, 0.0).sum() / jnp.maximum(filled.sum(), 1)
    total = where + what + masked

    right = (logits.argmax(axis=-1) == targets) & wanted
    last = wanted & (segment != jnp.pad(segment[:, 1:], ((0, 0), (0, 1))))  # of each edit
    same = segment[:, :, None] == segment[:, None, :]
    whole = last & ~(same & (wanted & ~right)[:, None, :]).any(axis=-1)
    chosen = jnp.take_along_axis(batch.site_target, log_probs.argmax(axis=-1, keepdims=True), axis=-1)
    figures = (
        total,
        where,
        what,
        jnp.where(filled.any(), masked, jnp.nan),
        (chosen[:, 0] & real).sum() / examples,
        right.sum() / tokens,
        whole.sum() / jnp.maximum(last.sum(), 1),
    )
    return total, dict(zip(METRICS, figures, strict=True))


def _token_losses(logits: Float[Array, "B T V"], targets: Int[Array, "B T"]) -> Float[Array, "B T"]:
    """Cross-entropy of each target token, in nats; 0 where there is none."""
    picked = jnp.take_along_axis(logits, jnp.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    return jnp.where(targets >= 0, jax.nn.logsumexp(logits, axis=-1) - picked, 0.0)
