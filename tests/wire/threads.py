"""Threads of a test, which report their errors at its end."""

import threading


class Thread(threading.Thread):
    """A thread that starts at once and keeps the error that ended it."""

    def __init__(self, work, *arguments):
        super().__init__(daemon=True)
        self._work, self._arguments, self._error = work, arguments, None
        self.start()

    def run(self):
        try:
            self._work(*self._arguments)
        except BaseException as error:  # noqa: BLE001 - raised again in `done`
            self._error = error

    def done(self, patience=180):
        """Wait for the end of the thread, and raise the error that ended it."""
        self.join(patience)
        assert not self.is_alive(), f"{self._work.__name__} has not ended"
        if self._error is not None:
            raise self._error
