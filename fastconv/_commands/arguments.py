"""Values of the command line, and a user's errors as one line."""

import argparse
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def size(text: str) -> tuple[int, int]:
    """Height and width: "224", "200,300" or "200x300"."""
    sizes = text.replace("x", ",").split(",")
    if len(sizes) not in (1, 2):
        raise argparse.ArgumentTypeError(f"expected a number or HEIGHT,WIDTH, got {text!r}")
    height, width = count(sizes[0]), count(sizes[-1])
    return height, width


def numbers(text: str) -> list[float]:
    """One number for all channels, or one for each: "0.485,0.456,0.406"."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"expected a number, or one for each channel with commas, got {text!r}")
    return values


def scales(text: str) -> list[float]:
    values = numbers(text)
    if min(values) <= 0:
        raise argparse.ArgumentTypeError(f"expected numbers above 0, got {text!r}")
    return values


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=count, metavar="N", help="default: the CPUs this process may use")


@contextmanager
def explained(parser: argparse.ArgumentParser) -> Iterator[None]:
    """One line and exit code 2 for what a user's values, files or installation can make fail; none where the reader of
    the output, `head` for example, has seen enough."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at the end
        sys.exit(0)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        parser.error(str(error) or type(error).__name__)
