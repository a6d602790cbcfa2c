import pathlib

import pytest
from command import command  # noqa: F401


def pytest_collection_modifyitems(items):
    """A guide is typed once, in order, by one process; tests of other folders may be shared out (`pytest -n 2 --dist loadgroup`)."""
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
