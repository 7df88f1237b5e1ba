"""What goes wrong when processes are run for somebody: one sentence, and what the process said last."""


class StackError(Exception):
    """The stack cannot go on.

    `str(error)` is one sentence for the person at the terminal; `log_tail` holds the last lines of the
    process that is at fault, or nothing where no process is.
    """

    def __init__(self, sentence: str, *, log_tail: str = "") -> None:
        super().__init__(sentence)
        self.log_tail = log_tail
