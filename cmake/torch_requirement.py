"""What the wheel requires of PyTorch: the minor version that it is built against, for a binary serves no other.

scikit-build-core asks here when it writes the wheel's metadata (pyproject.toml, metadata.dependencies)."""

from importlib.metadata import PackageNotFoundError, version


def dynamic_metadata(field, settings=None, project=None):
    try:
        built = version("torch")
    except PackageNotFoundError:
        raise SystemExit("anygpu is built against the PyTorch of the Python that builds it, and there is none: pip install torch") from None
    return [f"torch=={'.'.join(built.split('+')[0].split('.')[:2])}.*"]
