"""The cases that show that this plugin keeps to what every plugin has to."""

from bot_runner_worker.testing import PluginConformance

PYPI = {"deployment_mode": "pypi"}
RELEASE = {**PYPI, "package": "my-bot", "version": "1.0"}


class PypiConformance(PluginConformance):
    """Requests that work, and one for each error of its own."""

    plugin = "pypi"
    valid = {
        "a release": RELEASE,
        "with all that there is": {
            **RELEASE,
            "extras": ["redis"],
            "script": "serve-my-bot",
            "args": ["--polling"],
        },
    }
    # No index has a bot of that name.
    on_engine = ()
    invalid = {
        "no package": ({**PYPI, "version": "1.0"}, "MISSING_REQUIRED_FIELD"),
        "no version": ({**PYPI, "package": "my-bot"}, "MISSING_REQUIRED_FIELD"),
        "a range": ({**RELEASE, "version": ">=1"}, "INVALID_REQUIREMENT"),
        "a path of a script": ({**RELEASE, "script": "/bin/sh"}, "INVALID_ENTRYPOINT"),
        "a line break in an argument": ({**RELEASE, "args": ["a\nb"]}, "INVALID_FIELD"),
    }
    hostile = {
        "an address": ({**RELEASE, "package": "x @ https://e.org/x"}, "INVALID_REQUIREMENT"),
        "an option": ({**RELEASE, "package": "--index-url=https://e.org"}, "INVALID_REQUIREMENT"),
        "a line more": ({**RELEASE, "package": "six\n-r /etc/passwd"}, "INVALID_REQUIREMENT"),
        "a shell": ({**RELEASE, "script": "a;id"}, "INVALID_ENTRYPOINT"),
        "an extra that is more": ({**RELEASE, "extras": ["a]==2 --pre ["]}, "INVALID_REQUIREMENT"),
    }
