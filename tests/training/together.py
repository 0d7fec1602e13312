"""One of several processes that train the tiny objectives one after the other.

python -m tests.training.together OUT HOST:PORT PROCESS PROCESSES STEPS DIE_AT OBJECTIVE,DATA,FSDP,TENSOR[,cut] ...

The process kills itself at the step DIE_AT of the run `cut`.
"""

import sys
from argparse import Namespace
from pathlib import Path

from tests.training import fake

from kelp.training.distributed import Place, joined


def main(out: str, coordinator: str, process: str, processes: str, steps: str, die_at: str, *names: str) -> None:
    with joined(Place(coordinator, int(process), int(processes))):
        for name in names:
            objective, *mesh = name.removesuffix(",cut").split(",")
            options = Namespace(
                out=Path(out, name.replace(",", "-")), objective=objective, mesh=[*map(int, mesh)], steps=int(steps),
                die_at=int(die_at) if die_at != "never" and name.endswith("cut") else None,
                lengths=[16], optimizer="adamw",
            )  # fmt: skip
            if objective == "lm":
                from tests.lm.fake import run

                run(options)
            else:
                fake.run(options)


if __name__ == "__main__":
    main(*sys.argv[1:])
