"""What a person can put right: one sentence on stderr and exit status 2."""


class Problem(Exception):
    """Bad usage or bad input. `status` is what `--json` calls it."""

    def __init__(self, sentence: str, status: str = "bad input") -> None:
        super().__init__(sentence)
        self.status = status


def reason(error: OSError) -> str:
    """What the operating system says, in its own words."""
    return (error.strerror or str(error)).lower()
