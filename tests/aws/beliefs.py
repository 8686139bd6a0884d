"""The frame: what a belief is, and how it is tried.

A belief is a function that returns if it holds, with a remark or without, and raises if it is broken. Its name with
hyphens is its name in docs/aws.md.
"""

import time
from contextlib import contextmanager

from botocore.exceptions import ClientError

HELD, BROKEN, NOT_TRIED = "held", "BROKEN", "not tried"


class NotTried(Exception):
    """A belief cannot be tried here, for the reason given."""


class Results:
    """The results of the beliefs, in the order in which they were tried."""

    def __init__(self):
        self.by_belief = {}

    def try_all(self, beliefs, *arguments):
        for belief in beliefs:
            self.try_one(belief.__name__.replace("_", "-"), belief, *arguments)

    def try_one(self, name, belief, *arguments):
        try:
            self.note(name, HELD, belief(*arguments) or "")
        except NotTried as reason:
            self.note(name, NOT_TRIED, reason)
        except Exception as error:
            self.note(name, BROKEN, str(error) or type(error).__name__)

    def note(self, name, result, remark):
        self.by_belief[name] = result
        print(f"{name:38}{result:11}{' '.join(str(remark).split())[:300]}".rstrip(), flush=True)

    def those(self, result):
        return [name for name, its_result in self.by_belief.items() if its_result == result]


def agree(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r} instead of {wanted!r}")


@contextmanager
def refused(*codes):
    """Expects that AWS refuses a call with one of these error codes."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise
    else:
        raise AssertionError(f"accepted instead of refused with {' or '.join(codes)}")


def wait_until(seconds, is_done):
    """Asks every second, until it is done or the time is over. Returns whether it is done."""
    end = time.monotonic() + seconds
    while not (done := is_done()) and time.monotonic() < end:
        time.sleep(1)
    return done
