"""The command ``bot-runner``: deploy and watch bots through an Avtomatika orchestrator."""


def __getattr__(name: str) -> str:
    """The version when it is asked for: looking it up would make ``--help`` slow."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import version

    return version("bot-runner-cli")
