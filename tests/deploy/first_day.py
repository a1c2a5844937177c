"""The first day of a new administrator, with the commands of the README alone, on a machine to throw away.

Install the package, set one carrier, start, post, watch; the carrier changes the password: the alert fires and
doctor names the cause; the new password is put into its file and taken by a reload; the queue drains.

The carrier is an SMSC that is not ours, Prometheus is Debian's, run by systemd as the package of Debian does. Its rules are the
shipped ones with shorter patience (watch.py says which). What is not here: Grafana, which Debian does not have; the
expressions of its dashboard are evaluated instead.
"""

from __future__ import annotations

import json
import pathlib
import sys
import urllib.parse

from harness import HERE, Failure, check, equal, wait_for
from machine import Machine
from package import install
from watch import hastened, panels

TO, OLD, NEW = "+33612345678", "olga1st", "nina2nd"
# As the README has it.
CONFIGURATION = """\
[smpp.carrier]
host = "127.0.0.1"
port = 2775
system_id = "town-hall"
password_file = "carrier.password"
"""
CONTROL = 2776


class Day:
    """The administrator's terminal."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def set_password(self, password: str) -> None:
        self.machine.run("install", "-m", "0640", "-g", "relais", "/dev/null", "/etc/relais/carrier.password")
        self.machine.write("/etc/relais/carrier.password", f"{password}\n")

    def post(self, text: str) -> str:
        """The id of a message posted as the README's curl line does it."""
        line = ('curl --silent --fail-with-body http://127.0.0.1:8775/v1/messages '
                '-H "Authorization: Bearer $(cat /var/lib/relais/admin.key)" -H "Content-Type: application/json" -d "$1"')
        return json.loads(self.machine.run("sh", "-c", line, "sh", json.dumps({"to": TO, "text": text})).stdout)["id"]

    def status(self, identity: str) -> dict:
        return json.loads(self.machine.run("relais", "status", identity, "--json").stdout)

    def delivered(self, identity: str) -> bool:
        return self.status(identity)["status"] == "delivered"

    def carrier(self, path: str, body: dict | None = None) -> dict:
        """The SMSC's control port."""
        words = ["--data", json.dumps(body)] if body is not None else []
        return json.loads(self.machine.run("curl", "--silent", "--fail", *words, f"http://127.0.0.1:{CONTROL}{path}").stdout)

    def prometheus(self, path: str, **fields: str) -> dict:
        url = f"http://127.0.0.1:9090/api/v1/{path}?{urllib.parse.urlencode(fields)}"
        return json.loads(self.machine.run("curl", "--silent", "--fail", url, fails=True).stdout or "{}").get("data") or {}

    def firing(self) -> set[str]:
        return {a["labels"]["alertname"] for a in self.prometheus("alerts").get("alerts", []) if a["state"] == "firing"}


def first_day_of_a_new_administrator(deb: pathlib.Path, folder: pathlib.Path) -> None:
    machine = Machine(folder / "machine.log")
    try:
        spend(Day(machine), deb)
    except Failure as failure:
        raise Failure(f"{failure}\n{machine.journal()}") from None
    finally:
        machine.stop()


def spend(day: Day, deb: pathlib.Path) -> None:
    machine = day.machine
    machine.start("carrier", sys.executable, HERE / "smsc.py", "--port", 2775, "--ctl-port", CONTROL, "--password", OLD)

    # Install, set one carrier, start.
    install(machine, deb)
    machine.write("/etc/relais/relais.toml", CONFIGURATION)
    day.set_password(OLD)
    check("carrier" in machine.run("relais", "check").stdout, "relais check does not show the account")
    machine.run("systemctl", "reload-or-restart", "relais")
    reloaded = wait_until_bound(day)

    # Post.
    first = day.post("Le premier message")
    wait_for("the first message is delivered", lambda: day.delivered(first))
    machine.run("relais", "doctor")

    # Watch.
    for name in ("prometheus.yml", "relais.rules.yml"):
        machine.run("cp", f"/usr/share/relais/prometheus/{name}", "/etc/prometheus/")
    machine.write("/etc/prometheus/relais.rules.yml", hastened(machine.read("/etc/prometheus/relais.rules.yml")))
    machine.write("/etc/prometheus/prometheus.yml", machine.read("/etc/prometheus/prometheus.yml").replace("15s", "1s"))
    machine.run("systemctl", "restart", "prometheus")
    wait_for("the dashboard says that a way out is up", lambda: values(day, "Ways out that are up"), 60)
    equal(day.firing(), set(), "alerts while all is well")

    # The carrier changes the password without a word.
    day.carrier("/password", {"password": NEW})
    waiting = [day.post(f"En attendant {n}") for n in range(20)]
    wait_for("the alert fires", lambda: "RelaisNoChannelUp" in day.firing(), 60)
    wait_for("the dashboard says what the queue waits for", lambda: values(day, "What the queue waits for"))
    equal(day.status(waiting[0])["why"], "no_channel", "why")
    doctor = machine.run("relais", "doctor", "--lang", "en", fails=True)
    check(doctor.returncode == 1 and "password" in doctor.stdout, f"doctor does not name the cause:\n{doctor.stdout}")
    french = machine.run("relais", "doctor", "--lang", "fr", fails=True).stdout
    check("mot de passe" in french or "password" in french, f"doctor does not name the cause in French:\n{french}")

    # The new one, taken without a restart.
    check(reloaded, "the configuration could not be taken without a restart")
    before = machine.run("systemctl", "show", "--property=MainPID", "--value", "relais").stdout
    day.set_password(NEW)
    machine.run("systemctl", "reload", "relais")
    for identity in waiting:
        wait_for("a message that waited is delivered", lambda: day.delivered(identity))
    equal(machine.run("systemctl", "show", "--property=MainPID", "--value", "relais").stdout, before, "the process before and after")
    wait_for("the alert rests", lambda: "RelaisNoChannelUp" not in day.firing(), 60)
    equal(sorted(m["text"] for m in day.carrier("/ledger")["messages"]),
          sorted(["Le premier message", *(f"En attendant {n}" for n in range(20))]), "texts at the carrier")
    machine.run("relais", "doctor")


def wait_until_bound(day: Day) -> bool:
    """True if the reload was enough; a service that only takes its configuration at the start is restarted."""
    try:
        wait_for("the carrier is bound", lambda: day.carrier("/stats")["bound"], 10)
        return True
    except Failure:
        day.machine.run("systemctl", "restart", "relais")
        wait_for("the carrier is bound after a restart", lambda: day.carrier("/stats")["bound"])
        return False


def values(day: Day, title: str) -> list:
    """What a panel of the dashboard shows, where it shows anything but zeros."""
    found = [day.prometheus("query", query=expression).get("result", []) for name, expression in panels() if name == title]
    check(found, f"the dashboard has no panel {title!r}")
    return [series for result in found for series in result if series["value"][1] != "0"]


CASES = [first_day_of_a_new_administrator]
