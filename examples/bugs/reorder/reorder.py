"""What to order when stock runs low."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """Stock of one article: what is here, what customers have reserved, what suppliers have been asked for."""

    sku: str
    on_hand: int
    minimum: int
    target: int
    reserved: int = 0
    on_order: int = 0
    pack: int = 1


def order_quantity(item: Item) -> int:
    """How many to order: none while enough is available, else what fills the stock up to its target.

    Reserved pieces are as good as gone, and ordered ones as good as here. Only whole packs can be ordered.
    """
    if item.pack < 1:
        raise ValueError(f"{item.sku}: a pack holds at least one piece, got {item.pack}")
    available = item.on_hand - (item.reserved + item.on_order)
    if available >= item.minimum:
        return 0
    missing = max(item.target - available, 0)
    packs = -(-missing // item.pack)
    return packs * item.pack


def purchase_list(items: Iterable[Item]) -> dict[str, int]:
    """Quantities by article, of those that need any, the largest first."""
    needed = {item.sku: order_quantity(item) for item in items}
    ordered = sorted(needed.items(), key=lambda entry: (-entry[1], entry[0]))
    return {sku: quantity for sku, quantity in ordered if quantity}
