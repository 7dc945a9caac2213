"""A network in between that a test cuts (the board is unplugged) or freezes (the Wi-Fi is gone, nobody says so)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class CuttableProxy:
    """A TCP relay on 127.0.0.1 to ``port`` there. A context manager.

    ``passed`` counts the bytes that came back from the board.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._held: list[socket.socket] = []
        self._frozen = threading.Event()
        self._down = False
        self.passed = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> CuttableProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._frozen.clear()
        self.cut()
        self._server.close()

    def cut(self, *, down: bool = False) -> None:
        """End all connections; ``down``: end new ones too, until the next call."""
        self._down = down
        for s in self._held:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        self._held.clear()

    def freeze(self) -> None:
        """Pass nothing on, on any connection, and end none."""
        self._frozen.set()

    def thaw(self) -> None:
        """Serve new connections again. Those that froze stay so: their other end has been given up."""
        self._frozen, self._held = threading.Event(), []

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                if self._down:
                    client.close()
                    continue
                try:
                    board = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    client.close()
                    continue
                self._held += [client, board]
                for a, b, back in ((client, board, False), (board, client, True)):
                    threading.Thread(target=self._pump, args=(a, b, back, self._frozen), daemon=True).start()

    def _pump(self, a: socket.socket, b: socket.socket, back: bool, frozen: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                while frozen.is_set():
                    time.sleep(0.02)
                b.sendall(data)
                self.passed += len(data) if back else 0
        if not frozen.is_set():
            for s in (a, b):
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)
