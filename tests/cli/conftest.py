import layouts
import pytest
from command import command  # noqa: F401


@pytest.fixture
def tree(tmp_path):
    """tree(name): the folder of a recorded machine."""

    def make(name):
        folder = tmp_path / "root"
        folder.mkdir()
        return layouts.expand(layouts.load(name), folder)

    return make
