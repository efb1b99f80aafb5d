"""A pytest plugin: leaves out the tests that scripts/redis-py-exceptions.txt names, and fails where a line of it names none."""

import fnmatch
import os

import pytest


def _patterns():
    with open(os.environ["REDIS_PY_EXCEPTIONS"]) as file:
        lines = [line.split("#")[0].split() for line in file]
    return [words[0] for words in lines if words]


def pytest_collection_modifyitems(config, items):
    patterns = _patterns()
    unused = set(patterns)
    kept, left_out = [], []
    for item in items:
        name = getattr(item, "originalname", None) or item.name
        found = [pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)]
        unused -= set(found)
        (left_out if found else kept).append(item)
    if unused:
        raise pytest.UsageError(f"exceptions that name no test: {sorted(unused)}")
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
