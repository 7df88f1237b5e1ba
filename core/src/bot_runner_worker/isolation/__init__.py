"""What bots reach besides the internet: the firewall of the bots' bridges, and a probe that looks.

:mod:`~bot_runner_worker.isolation.rules` says what is closed, :mod:`~bot_runner_worker.isolation.firewall`
puts that in place, :mod:`~bot_runner_worker.isolation.probe` finds out from inside a container what holds.
"""
