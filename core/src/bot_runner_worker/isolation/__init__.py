"""What bots reach besides the internet: a firewall for the bots' bridges, and a probe that tests it.

:mod:`~bot_runner_worker.isolation.rules` has the rules, :mod:`~bot_runner_worker.isolation.firewall` installs
them, :mod:`~bot_runner_worker.isolation.probe` tests from inside a container what they close, and
:mod:`~bot_runner_worker.isolation.guard` lets no bot start without them.
"""
