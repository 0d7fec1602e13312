"""A small program, also a command line, that the honest tests are about."""

import argparse
import sys


def total(prices, discount=0):
    return sum(prices) * (100 - discount) // 100


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="shop")
    parser.add_argument("prices", nargs="+", type=int)
    parser.add_argument("--discount", type=int, default=0)
    options = parser.parse_args(arguments)
    print(total(options.prices, options.discount))
    return 0


if __name__ == "__main__":
    sys.exit(main())
