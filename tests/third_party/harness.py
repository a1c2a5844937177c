"""Processes, waits and clients of the third-party tests. Loopback only; every wait has a deadline.

A process is ended by its own id and never by name. What a case waits for is polled, because the
gateway is judged from outside: nothing here knows more of it than its command line and its HTTP API.
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

DEADLINE_S = 30
ADMIN_KEY = "third-party-admin-key-0123456789abcdef0123456789"
PASSWORD = "hush7a9Q"
HERE = pathlib.Path(__file__).resolve().parent

_children: list[subprocess.Popen] = []
# Every text that a run gave to a gateway or to an SMSC: none of them may stand in a log.
texts: set[str] = set()


@atexit.register
def end_children() -> None:
    for child in _children:
        if child.poll() is None:
            child.kill()
            child.wait()


class Failure(Exception):
    """A claim that did not hold."""


def check(holds: object, says: str) -> None:
    if not holds:
        raise Failure(says)


def equal(found: object, expected: object, what: str) -> None:
    check(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def wait_for(what: str, probe, deadline_s: float = DEADLINE_S, alive=None):
    """The first true answer of `probe`; `alive` may raise to end a hopeless wait early."""
    until, last = time.monotonic() + deadline_s, None
    while time.monotonic() < until:
        try:
            last = probe()
            if last:
                return last
        except (OSError, http.client.HTTPException) as error:
            last = error
        if alive:
            alive()
        time.sleep(0.03)
    raise Failure(f"{what}: not within {deadline_s:.0f} s (last seen: {last!r:.300})")


def spawn(argv: list, log: pathlib.Path, env: dict | None = None, **options) -> subprocess.Popen:
    with log.open("ab") as sink:
        child = subprocess.Popen([str(a) for a in argv], stderr=sink, env=os.environ | (env or {}),
                                 **({"stdout": sink, "stdin": subprocess.DEVNULL} | options))
    _children.append(child)
    return child


def request(port: int, method: str, path: str, body: object = None, key: str | None = None,
            timeout_s: float = 10, headers: dict | None = None) -> tuple[int, object]:
    """(status, decoded JSON or text) of one call to 127.0.0.1."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        fields = {"Connection": "close"} | (headers or {})
        if key:
            fields["Authorization"] = f"Bearer {key}"
        octets = None
        if body is not None:
            octets = json.dumps(body).encode()
            fields["Content-Type"] = "application/json"
        link.request(method, path, octets, fields)
        answer = link.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if "json" in answer.headers.get("content-type", "") else text
    finally:
        link.close()


class Ports:
    """A block of neighbouring SMSC ports, so that one capture filter covers a whole run.

    The block lies below the range from which the kernel takes the ports of outgoing connections.
    """

    SIZE = 64

    def __init__(self, beside: Ports | None = None) -> None:
        """A block of its own, or one that lies `beside` another and is therefore not captured with it."""
        start = beside.first + self.SIZE if beside else 20_000 + os.getpid() % 100 * 64
        for first in range(start, 32_000, self.SIZE):
            if all(self._free(p) for p in range(first, first + self.SIZE)):
                self.first, self.used = first, []
                return
        raise Failure(f"no {self.SIZE} free neighbouring ports")

    @staticmethod
    def _free(port: int) -> bool:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True

    def take(self) -> int:
        check(len(self.used) < self.SIZE, "the block of SMSC ports is used up")
        self.used.append(self.first + len(self.used))
        return self.used[-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Smsc:
    """A running smsc.py."""

    def __init__(self, folder: pathlib.Path, ports: Ports, *options: object, port: int | None = None) -> None:
        port = port or ports.take()
        self.log = folder / f"smsc-{port}.log"
        self.process = spawn([sys.executable, HERE / "smsc.py", "--port", port, *options], self.log,
                             stdout=subprocess.PIPE, text=True)
        # A line or the end of the stream always comes: smsc.py either prints or dies.
        line = self.process.stdout.readline()
        check(line, f"the SMSC did not start: {tail(self.log)}")
        ready = json.loads(line)
        self.port, self.ctl_port = ready["port"], ready["ctl_port"]

    def _call(self, method: str, path: str, body: object = None) -> dict:
        status, answer = request(self.ctl_port, method, path, body, timeout_s=DEADLINE_S)
        equal(status, 200, f"SMSC control {path}")
        return answer

    def ledger(self) -> dict:
        return self._call("GET", "/ledger")

    def stats(self) -> dict:
        return self._call("GET", "/stats")

    def inbound(self, sender: str, to: str, text: str, coding: str) -> dict:
        texts.add(text)
        return self._call("POST", "/mo", {"from": sender, "to": to, "text": text, "coding": coding})

    def receipt(self, message_id: str, stat: str) -> None:
        """One more receipt; returns once the gateway has acknowledged it."""
        self._call("POST", "/receipt", {"id": message_id, "stat": stat})

    def wait_bound(self, count: int = 1) -> None:
        wait_for(f"{count} bound session(s) at the SMSC", lambda: self.stats()["bound"] >= count)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class Daemon:
    """A gateway with its data folder; can be stopped, killed and started again on the same data."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, smsc_port: int, *, bind: str = "transceiver",
                 window: int = 50, durability: str = "power", log_level: str = "info", account: str = "", operator: str = "",
                 more: str = "") -> None:
        """`account` and `operator` are added to their tables, `more` to the end of the configuration."""
        self.binary, self.folder, self.port = binary, folder, free_port()
        self.log, self.config = folder / "relais.log", folder / "relais.toml"
        self.config.write_text(f"""\
data_dir = "{folder}/data"
timezone = "Europe/Paris"
default_country = "FR"

[http]
listen = "127.0.0.1:{self.port}"

[store]
durability = "{durability}"

[log]
level = "{log_level}"

[webhooks]
allow = ["127.0.0.1/32"]

[smpp.thirdparty]
host = "127.0.0.1"
port = {smsc_port}
system_id = "relais"
password = "{PASSWORD}"
bind = "{bind}"
window = {window}
rate = 0
reconnect = "100ms..1s"
{account}

[operators.default]
route = ["thirdparty"]
{operator}

{more}
""")
        self.config.chmod(0o600)
        self.process: subprocess.Popen | None = None

    def start(self) -> Daemon:
        self.process = spawn([self.binary, "serve", "--config", self.config], self.log,
                             {"RELAIS_ADMIN_KEY": ADMIN_KEY})
        wait_for("/readyz answers 200", lambda: request(self.port, "GET", "/readyz")[0] == 200, alive=self.alive)
        return self

    def alive(self) -> None:
        check(self.process.poll() is None, f"the daemon ended by itself with {self.process.returncode}")

    def call(self, method: str, path: str, body: object = None, **options) -> tuple[int, object]:
        return request(self.port, method, path, body, ADMIN_KEY, **options)

    def get(self, path: str) -> dict:
        status, answer = self.call("GET", path)
        equal(status, 200, f"GET {path.split('?')[0]}")
        return answer

    def send(self, to: str, text: str, **more: object) -> dict:
        """POST /v1/messages; the 202's body. Transactional, so that no sending hours apply."""
        status, answer = self.post(to, text, **more)
        check(status == 202, f"POST /v1/messages: {status} {answer}")
        return answer

    def post(self, to: str, text: str, key: str | None = None, **more: object) -> tuple[int, object]:
        """(status, answer) of a POST /v1/messages; `key` is its Idempotency-Key."""
        texts.add(text)
        body = {"to": to, "text": text, "class": "transactional"} | more
        return self.call("POST", "/v1/messages", body, headers={"Idempotency-Key": key} if key else None)

    def listed(self, path: str) -> list[dict]:
        """All items of a list, over all of its pages."""
        found, cursor = [], ""
        while True:
            page = self.get(f"{path}?limit=1000{cursor}")
            found += page["data"]
            if not page["next_cursor"]:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def message(self, identity: str) -> dict:
        return self.get(f"/v1/messages/{identity}")

    def wait_status(self, identity: str, status: str, deadline_s: float = DEADLINE_S) -> dict:
        seen = {}

        def probe() -> dict | None:
            nonlocal seen
            seen = self.message(identity)
            return seen if seen["status"] == status else None

        try:
            return wait_for(f"message becomes {status}", probe, deadline_s, self.alive)
        except Failure as failure:
            shown = {k: seen.get(k) for k in ("status", "state", "reason", "why", "eta", "attempts")}
            raise Failure(f"{failure}; it is {shown}") from None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"SIGTERM did not end the daemon within {DEADLINE_S} s") from None

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


class Hook:
    """An HTTP receiver of webhooks that keeps what it was sent, with headers and raw body."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict, bytes]] = []
        calls = self.calls

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                calls.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # A gateway that is killed resets its connections.
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def tells(self, kind: str, identities) -> int:
        """How many calls of this type came, once there is one about each of the messages; else 0."""
        events = [json.loads(body) for _, body in list(self.calls)]
        about = [event["data"]["id"] for event in events if event["type"] == kind]
        return len(about) if set(identities) <= set(about) else 0

    def about(self, identity: str, kind: str) -> tuple[dict, bytes] | None:
        """The first call of this type whose data is this message."""
        for headers, body in list(self.calls):
            event = json.loads(body)
            if event.get("type") == kind and event.get("data", {}).get("id") == identity:
                return headers, body
        return None


def verify_signature(secret: str, headers: dict, body: bytes) -> None:
    """Standard Webhooks, symmetric: HMAC-SHA256 over "id.timestamp.body", base64, one of the v1 signatures."""
    check(secret.startswith("whsec_"), "the secret does not begin with whsec_")
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        check(headers.get(name), f"the header {name} is missing")
    age_s = time.time() - int(headers["webhook-timestamp"])
    check(abs(age_s) < 300, f"webhook-timestamp is {age_s:.0f} s away from now")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_"), validate=True), signed, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    check(any(hmac.compare_digest(expected, given) for given in headers["webhook-signature"].split()),
          "no v1 signature of the webhook fits its secret, id, timestamp and body")


class Events:
    """A reader of /v1/events in a thread: the decoded `data` of every server-sent event."""

    def __init__(self, daemon: Daemon) -> None:
        self.link = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=DEADLINE_S)
        self.link.request("GET", "/v1/events", headers={"Authorization": f"Bearer {ADMIN_KEY}", "Accept": "text/event-stream"})
        self.answer = self.link.getresponse()
        equal(self.answer.status, 200, "GET /v1/events")
        check(self.answer.headers.get("content-type", "").startswith("text/event-stream"), "/v1/events is no event stream")
        self.seen: list[object] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        data: list[str] = []
        try:
            while line := self.answer.readline().decode():
                line = line.rstrip("\r\n")
                if line.startswith("data:"):
                    data.append(line[5:].removeprefix(" "))
                elif not line and data:
                    self.seen.append(json.loads("\n".join(data)))
                    data = []
        except (OSError, ValueError, http.client.HTTPException):
            pass

    def says(self, identity: str, status: str) -> bool:
        """Whether an event holds, at any depth, an object with this id and status."""
        def within(value: object) -> bool:
            if isinstance(value, dict):
                return (value.get("id") == identity and value.get("status") == status) or any(map(within, value.values()))
            return isinstance(value, list) and any(map(within, value))
        return any(within(event) for event in list(self.seen))


def tail(log: pathlib.Path, lines: int = 40) -> str:
    if not log.exists():
        return "(no log)"
    return "\n".join("    | " + line for line in log.read_text(errors="replace").splitlines()[-lines:])
