"""How libraries are taught about the device, tried on packages made here; tests/ecosystem has the real ones."""

import pytest

PACKAGES = """
import pathlib, sys, warnings
folder = pathlib.Path({folder!r})
for path, text in {files!r}.items():
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)
sys.path.insert(0, str(folder))
"""


@pytest.fixture
def packages(tmp_path, python):
    def run(files, script, **env):
        return python(PACKAGES.format(folder=str(tmp_path), files=files) + script, **env)

    return run


AGENT = {
    "stable_baselines3/__init__.py": "from stable_baselines3.common.utils import get_device",
    "stable_baselines3/common/__init__.py": "",
    "stable_baselines3/common/utils.py": "import torch\ndef get_device(device='auto'):\n"
    "    return torch.device('cpu' if str(device) in ('auto', 'cuda') else device)\n",
}


@pytest.mark.parametrize("first", ["import torch", "import stable_baselines3"])
@pytest.mark.parametrize("wanted", ["1", "0"])
def test_a_library_is_taught_when_it_is_imported(packages, first, wanted):
    """Whatever is imported first; ANYGPU_INTEGRATIONS=0 leaves it as it is."""
    script = f"{first}\nimport torch, stable_baselines3 as s\nprint(s.get_device(), s.get_device('cuda'), s.get_device('cpu'))"
    chosen = "anygpu anygpu cpu" if wanted == "1" else "cpu cpu cpu"
    assert packages(AGENT, script, ANYGPU_INTEGRATIONS=wanted).split() == chosen.split()


def test_a_version_that_is_not_known_goes_on_as_it_was(packages):
    files = {**AGENT, "stable_baselines3/__init__.py": "", "stable_baselines3/common/utils.py": "def other():\n    return 1\n"}
    script = """
import torch
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import stable_baselines3.common.utils as u
print(u.other(), *(str(w.message) for w in said))
"""
    printed = packages(files, script)
    assert printed.startswith("1 anygpu does not know this version of stable_baselines3")


def test_one_warning_where_the_library_cannot_be_led(packages):
    files = {
        "ultralytics/__init__.py": "",
        "ultralytics/utils/__init__.py": "",
        "ultralytics/utils/torch_utils.py": "import torch\ndef select_device(device='', verbose=True):\n"
        "    return device if isinstance(device, torch.device) else torch.device('cpu')\n",
    }
    script = """
import torch
from ultralytics.utils.torch_utils import select_device
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    print(select_device(torch.device("anygpu")), select_device("cpu"), len(said))
    print(select_device(), select_device(), len(said), said[0].message)
"""
    printed = packages(files, script).split(maxsplit=6)
    assert printed[:6] == ["anygpu", "cpu", "0", "cpu", "cpu", "1"] and 'device=torch.device("anygpu")' in printed[6]


def test_variables_that_the_user_has_set_are_kept(python):
    script = "import torch, os\nprint(os.environ['ACCELERATE_TORCH_DEVICE'], os.environ['KERAS_TORCH_DEVICE'])"
    assert python(script, ACCELERATE_TORCH_DEVICE="cpu").split() == ["cpu", "anygpu"]
