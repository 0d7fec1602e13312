"""What a person can put right: one sentence on stderr and exit status 2."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kelp.execution import Observation


class Problem(Exception):
    """Bad usage or bad input. `status` is what `--json` calls it; `observation`: what the tests said, if they ran."""

    def __init__(self, sentence: str, status: str = "bad input", observation: "Observation | None" = None) -> None:
        super().__init__(sentence)
        self.status, self.observation = status, observation


def reason(error: OSError) -> str:
    """What the operating system says, in its own words."""
    return (error.strerror or str(error)).lower()
