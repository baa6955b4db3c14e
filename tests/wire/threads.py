"""Threads of a test that tell, at its end, what went wrong in them."""

import threading


class Thread(threading.Thread):
    """Runs at once."""

    def __init__(self, work, *arguments):
        super().__init__(daemon=True)
        self._work, self._arguments, self._error = work, arguments, None
        self.start()

    def run(self):
        try:
            self._work(*self._arguments)
        except BaseException as error:  # noqa: BLE001 - raised again in `done`
            self._error = error

    def done(self, patience=60):
        """Wait for its end and raise what it raised."""
        self.join(patience)
        assert not self.is_alive(), f"{self._work.__name__} has not ended"
        if self._error is not None:
            raise self._error
