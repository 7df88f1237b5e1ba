"""The cases that show that this plugin keeps to what every plugin has to."""

from bot_runner_worker.testing import PluginConformance

SIMPLE = {"deployment_mode": "simple"}
CODE = {**SIMPLE, "code": "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"}


class SimpleConformance(PluginConformance):
    """Requests that work, and one for each error of its own."""

    plugin = "simple"
    valid = {
        "code": CODE,
        "files": {
            **SIMPLE,
            "files": {"main.py": "import a.b", "a/b.py": "", "a/__init__.py": ""},
            "entrypoint": "main.py",
        },
        "requirements": {**CODE, "requirements": ["six==1.16.0"]},
    }
    on_engine = ("files",)
    invalid = {
        "no code": (SIMPLE, "MISSING_SOURCE"),
        "code and files": ({**CODE, "files": {"bot.py": ""}}, "CONFLICTING_SOURCES"),
        "an entrypoint that is not there": ({**CODE, "files": None, "code": None}, "MISSING_SOURCE"),
        "an entrypoint that is no Python": ({**CODE, "entrypoint": "bot.sh"}, "INVALID_ENTRYPOINT"),
        "a requirement from elsewhere": (
            {**CODE, "requirements": ["x @ https://e.org/x"]},
            "INVALID_REQUIREMENT",
        ),
        "text that is no Unicode": ({**SIMPLE, "code": "\ud800"}, "INVALID_FIELD"),
    }
    hostile = {
        "a file outside": ({**SIMPLE, "files": {"../bot.py": ""}}, ("INVALID_PATH", "INVALID_ENTRYPOINT")),
        "an option": ({**CODE, "entrypoint": "-c.py"}, "INVALID_ENTRYPOINT"),
        "an index of its own": (
            {**CODE, "requirements": ["--index-url https://e.org"]},
            "INVALID_REQUIREMENT",
        ),
        "a line more": ({**CODE, "requirements": ["six\n-r /etc/passwd"]}, "INVALID_REQUIREMENT"),
    }
