"""Learning-rate schedule: a linear warm-up to the peak, then cosine, linear or constant."""

from typing import Literal

import optax

Shape = Literal["cosine", "linear", "constant"]


def make_schedule(
    shape: Shape, peak: float, *, updates: int, warmup: int, cooldown: float = 0.0, final: float = 0.0
) -> optax.Schedule:
    """Return the function from the number of an update, counted from 0, to its learning rate.

    Cosine and linear fall to the share `final` of the peak at the last update. `cooldown` is the last share of the
    updates, in which a constant rate falls as far. A warm-up as long as the run leaves one update at the peak.
    """
    warmup = min(warmup, updates - 1)
    rest = updates - warmup
    match shape:
        case "cosine":
            after = optax.cosine_decay_schedule(peak, rest, final)
        case "linear":
            after = optax.linear_schedule(peak, final * peak, rest)
        case "constant":
            falling = round(cooldown * updates)
            fall = optax.linear_schedule(peak, final * peak, falling, max(0, rest - falling))
            after = fall if falling else lambda _: peak
    # Warm-up ends on the peak and begins above 0, so that the first update is not wasted.
    return optax.join_schedules([optax.linear_schedule(peak / (warmup + 1), peak, warmup), after], [warmup])
