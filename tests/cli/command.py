"""The `anygpu` command as tests call it."""

import json
import os
import pathlib
import subprocess

import pytest

HANG = 1800  # seconds, after which a program hangs, here and in the other tests; a slow machine needs less
ROOT = pathlib.Path(__file__).parents[2]


class Command:
    def __init__(self):
        self.path = pathlib.Path(os.environ.get("ANYGPU_COMMAND", ROOT / "build/bin/anygpu"))
        assert self.path.is_file(), f"{self.path} is not built: ./run setup, or say where it is in ANYGPU_COMMAND"

    def __call__(self, *arguments, timeout=HANG, env=None, **options):
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "ANYGPU_DEVICES")}
        environment |= {"ANYGPU_DOCTOR_SECONDS": "600"} | (env or {})
        return subprocess.run(
            [self.path, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, env=environment, **options
        )

    def json(self, *arguments, **options):
        done = self(*arguments, "--json", **options)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def command():
    return Command()
