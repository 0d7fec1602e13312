"""Model card of a language model: the README.md of its folder, with the front matter of the Hugging Face hub."""

import json
from collections.abc import Mapping
from typing import Any

from kelp.lm.config import DiffusionConfig
from kelp.model.config import TransformerConfig

ORDERS = {0: "masked diffusion over whole documents", 1: "autoregressive"}


def model_card(
    name: str, parameters: int, sizes: TransformerConfig, cfg: DiffusionConfig, length: int, origin: Mapping[str, Any]
) -> str:
    """The card of a model with its data, recipe and figures, as far as `origin` (see `export_run`) tells them."""
    run: Mapping[str, Any] = origin.get("run") or {}
    data, training = run.get("data") or {}, run.get("training") or {}
    front = {
        "license": "other",
        "license_name": "see-the-training-data",
        "library_name": "kelp",
        "pipeline_tag": "text-generation",
        "tags": ["kelp", "llama", "diffusion-language-model"],
    }
    if base := training.get("init_from"):
        front["base_model"] = str(base)
    if sets := [source.partition(":")[2] for source in data.get("sources", ()) if source.startswith("hf:")]:
        front["datasets"] = ["/".join(each.split("/")[:2]) for each in sets]
    order = ORDERS.get(cfg.block, f"block diffusion, {cfg.block} tokens a block")
    lines = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in front.items()),
        "---",
        f"# {name}",
        "",
        f"A language model of {parameters:,} parameters: {order}.",
        f"A Llama of {sizes.layers} layers, {sizes.dim} wide, {sizes.vocab_size:,} tokens, {length:,} positions;",
        "`transformers` loads it as the Llama that it is, and Kelp writes with it:",
        "",
        "```console",
        f'$ kelp lm generate {name} --prompt "def add(a, b):"',
        "```",
        "",
        "Nothing is said about the license of the weights: it follows from the data and from who trained them.",
    ]
    if data:
        lines += ["", "## Data", "", *(f"- `{source}`" for source in data.get("sources", ()))]
    if metrics := origin.get("metrics"):
        told = [(key, value) for key, value in metrics.items() if isinstance(value, int | float)]
        lines += ["", "## Figures", "", f"At step {origin.get('step')}, on held-out documents where named `valid`:", ""]
        lines += ["| metric | value |", "|---|---|", *(f"| {key} | {value:.4g} |" for key, value in told)]
    if run:
        counted = f" on {origin['tokens']:,} tokens" if isinstance(origin.get("tokens"), int) else ""
        lines += ["", "## Recipe", "", f"{training.get('steps', '?')} steps{counted}.", ""]
        lines += ["```json", json.dumps(run, indent=1), "```"]
    return "\n".join(lines) + "\n"
