"""Adapter of EleutherAI's lm-evaluation-harness (the extra `lm-eval`): the model `kelp-lm`.

    python -m kelp.lm.harness --model kelp-lm --model_args pretrained=my-lm --tasks my_task --include_path tasks

takes the options of `lm_eval`, which knows no models of other packages. `model_args` are `pretrained` (a model folder),
`block`, `samples` (of the likelihood bound) and `seed`. Log-likelihoods of a diffusion model are lower bounds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from kelp.lm.config import DiffusionConfig
from kelp.lm.folder import load_lm, load_tokenizer
from kelp.lm.infill import permitted
from kelp.lm.likelihood import draw_nats
from kelp.lm.sampler import SampleConfig, Samples, prompt_row, sample
from kelp.model.tensors import read_json

TOKENS = 128  # written where a task sets no limit


@register_model("kelp-lm")
class KelpLM(LM):
    """A language model's folder. The harness's `batch_size` and `device` are without effect."""

    def __init__(self, pretrained: str, block: int | None = None, samples: int = 8, seed: int = 0, **_: Any) -> None:
        super().__init__()
        folder = Path(pretrained)
        self.model, cfg = load_lm(folder, autoregressive=True)
        self.cfg = cfg if block is None else DiffusionConfig(**cfg.to_dict() | {"block": int(block)})
        self.context = read_json(folder / "config.json").get("max_position_embeddings", 2048)
        self.samples, self.seed = int(samples), int(seed)
        self.tokenizer = load_tokenizer(folder, cfg)

    def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
        """A bound on the log-probability of each continuation, and whether greedy decoding writes it."""
        documents, known = [], []
        for context, continuation in (request.args for request in requests):
            head = context.rstrip()  # a space before a word is part of its token
            before = self.tokenizer.encode(head)
            tokens = before + self.tokenizer.encode((context + continuation)[len(head) :])
            cut = max(0, len(tokens) + 1 - self.context)
            documents.append(tokens[cut:])
            known.append(max(0, len(before) - cut))
        nats = self._nats(documents, known)
        prompts = [document[:start] for document, start in zip(documents, known)]
        lengths = [len(document) - start for document, start in zip(documents, known)]
        drawn = self._write(prompts, lengths)
        greedy = [
            drawn.tokens[i, 1 : len(document) + 1].tolist() == list(document) for i, document in enumerate(documents)
        ]
        return [(-float(each), same) for each, same in zip(nats, greedy)]

    def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
        """A bound on the log-probability of each text, in windows that do not see each other."""
        room, windows, owners = self.context - 1, [], []
        for number, (text,) in enumerate(request.args for request in requests):
            tokens = self.tokenizer.encode(text)
            for start in range(0, len(tokens), room):
                windows.append(tokens[start : start + room])
                owners.append(number)
        nats = self._nats(windows, [0] * len(windows))
        return [-float(each) for each in np.bincount(owners, nats, len(requests))]

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        """The continuation of each context up to the first of its stops, greedy unless a task samples."""
        texts = []
        for context, options in (request.args for request in requests):
            length = min(int(options.get("max_gen_toks", TOKENS)), self.context - 2)
            prompt = self.tokenizer.encode(context)[-(self.context - 1 - length) :]
            temperature = float(options.get("temperature", 0.0)) if options.get("do_sample") else 0.0
            drawn = self._write([prompt], [length], temperature)
            written = drawn.tokens[0, 1 + len(prompt) : drawn.lengths[0]].tolist()
            text = self.tokenizer.decode(written).decode("utf-8", "replace")
            stops = options.get("until") or []
            for stop in [stops] if isinstance(stops, str) else stops:
                text = text.partition(stop)[0] if stop else text
            texts.append(text)
        return texts

    def _nats(self, documents: list[list[int]], known: list[int]) -> np.ndarray:
        drawn = draw_nats(self.model, self.cfg, documents, samples=self.samples, seed=self.seed, known=known)
        return np.asarray(drawn.mean(axis=1))

    def _write(self, prompts: list[list[int]], lengths: list[int], temperature: float = 0.0) -> Samples:
        rows = [prompt_row(self.cfg, prompt, length) for prompt, length in zip(prompts, lengths)]
        allowed = permitted(self.model.cfg.vocab_size, self.tokenizer.size, None)
        return sample(self.model, self.cfg, rows, SampleConfig(temperature=temperature, seed=self.seed), allowed)


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
