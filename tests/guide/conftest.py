from command import command  # noqa: F401
