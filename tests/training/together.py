"""One of several processes that train the tiny objectives one after the other.

python -m tests.training.together OUT HOST:PORT PROCESS PROCESSES DIE_AT OBJECTIVE,DATA,FSDP,TENSOR,STEPS[,END] ...

The process kills itself at the step DIE_AT of a run `cut`. A run `bucket` is at s3://runs; `back` goes on with it from
the checkpoint of step BACK.
"""

import sys
from argparse import Namespace
from pathlib import Path

from tests.training import fake

from kelp.bucket import local
from kelp.training.checkpoint import kept
from kelp.training.distributed import Place, joined

BACK = 5


def main(out: str, coordinator: str, process: str, processes: str, die_at: str, *names: str) -> None:
    with joined(Place(coordinator, int(process), int(processes))):
        for name in names:
            objective, data, fsdp, tensor, steps, end = (*name.split(","), "")[:6]
            options = Namespace(
                out=Path(out, name.replace(",", "-")), objective=objective, mesh=[int(data), int(fsdp), int(tensor)],
                steps=int(steps),
                die_at=int(die_at) if die_at != "never" and end == "cut" else None,
                lengths=[16], optimizer="adamw", samples_every=int(steps),
                resume_from=BACK if end == "back" else "newest",
            )  # fmt: skip
            if end in ("bucket", "back"):
                options.out = local(f"s3://runs/{name.removesuffix(f',{end}')}")
            with kept(options.out):
                if objective == "lm":
                    from tests.lm.fake import run

                    run(options)
                else:
                    fake.run(options)


if __name__ == "__main__":
    main(*sys.argv[1:])
