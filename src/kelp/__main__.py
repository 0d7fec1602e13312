"""`python -m kelp` is the `kelp` command."""

from kelp.cli.main import main

main()
