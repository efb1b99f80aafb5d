"""The two servers that are compared, each until the end of a `with`, and a connection that speaks RESP2 as Node's clients do."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PATIENCE = 60


class Status(str):
    """A status line, as against a string."""


class Failure(str):
    """An error line."""


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.file = self.socket.makefile("rb")

    def send(self, *commands):
        """All at once, as a pipeline is."""
        parts = []
        for command in commands:
            words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
            parts.append(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        self.socket.sendall(b"".join(parts))

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return Status(rest.decode())
        if kind == b"-":
            return Failure(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ValueError(f"no RESP2: {line!r}")

    def pipeline(self, *commands):
        self.send(*commands)
        return [self.read() for _ in commands]

    def __call__(self, *command):
        return self.pipeline(command)[0]

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def _process(arguments, environment, port):
    """Runs a server in a folder of its own. `port` finds the port in what it has said, or is told when it does not say."""
    folder = tempfile.mkdtemp(prefix="holdfast-redisinsight-")
    with open(f"{folder}/out", "wb") as out:
        process = subprocess.Popen(
            arguments, cwd=folder, env=environment | {"HOME": folder}, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        end = time.monotonic() + PATIENCE
        found = None
        while found is None and time.monotonic() < end and process.poll() is None:
            with open(f"{folder}/out", errors="replace") as said:
                found = port(said.read())
            time.sleep(0.05)
        if found is None:
            with open(f"{folder}/out", errors="replace") as said:
                raise SystemExit(f"error: {arguments[0]} did not start:\n{said.read()}")
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _path():
    return {"PATH": os.environ["PATH"]}


def holdfast():
    program = os.environ.get("HOLDFAST") or os.path.abspath(".build/debug/holdfast")
    if not os.access(program, os.X_OK):
        subprocess.run(["swift", "build", "--product", "holdfast"], check=True)

    def port(said):
        found = re.search(r"RESP +redis-cli .* -p (\d+)$", said, re.MULTILINE)
        return found and int(found[1])

    return _process([program, "serve", "--port", "0", "--resp", "127.0.0.1:0"], _path(), port)


def redis_server():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]

    def port(said):
        return free if "Ready to accept connections" in said else None

    return _process(["redis-server", "--port", str(free), "--save", "", "--bind", "127.0.0.1"], _path(), port)
