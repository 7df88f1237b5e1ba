"""Ends the build unless the package brings the console script; runs inside the build, with its Python.

A bot whose command is missing would only fail at its start, and nobody could say what there is instead.
"""

import sys
from importlib.metadata import distribution


def main(package: str, script: str) -> None:
    """Look for the script among what the package has installed."""
    files = distribution(package).files or []
    scripts = sorted(file.name for file in files if file.parent.name == "bin")
    if script not in scripts:
        sys.exit(
            f"The package {package} has no console script {script}. Set script to one of those that it has: "
            f"{', '.join(scripts[:20]) or 'none'}."
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
