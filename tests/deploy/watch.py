"""Debian's Prometheus watches a real gateway: its alerts fire and end, its dashboard has data, its series stay few.

The gateway sends to an SMSC that is not ours and over a simulated modem. The rules are those that are shipped, except
that the alerts that are waited for here wait a second instead of minutes ("for"), and that what is recorded is recorded
every second: the windows of the expressions are the shipped ones.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import subprocess
import urllib.parse

from harness import Daemon, Failure, Ports, Smsc, check, equal, free_port, request, spawn, tail, wait_for

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
RULES = REPOSITORY / "deploy/prometheus/relais.rules.yml"
DASHBOARD = REPOSITORY / "deploy/grafana/relais.json"
WAITED_FOR = ("RelaisDown", "RelaisChannelDown", "RelaisNoChannelUp")
RECIPIENTS, SENDERS, BATCH = 10_000, 500, 1_000
STATUSES = {"pending", "sent", "delivered", "expired", "failed", "cancelled"}
CARRIER, MODEM = "thirdparty#1", "sim1"
OPERATORS = {"default", "sim"}


def hastened(rules: str) -> str:
    """The rules with a second instead of minutes before the alerts that are waited for."""
    for alert in WAITED_FOR:
        rules, count = re.subn(rf"(- alert: {alert}\n(?:(?!- alert).*\n)*?\s+for: )\S+", r"\g<1>1s", rules)
        equal(count, 1, f"alerts called {alert} with a duration")
    return re.sub(r"interval: \S+", "interval: 1s", rules)


class Prometheus:
    """A running one that scrapes one gateway every half second, as the job that the rules expect."""

    def __init__(self, folder: pathlib.Path, scraped: int) -> None:
        self.port, self.log = free_port(), folder / "prometheus.log"
        (folder / "relais.rules.yml").write_text(hastened(RULES.read_text()))
        settings = folder / "prometheus.yml"
        settings.write_text(f"""\
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: [relais.rules.yml]
scrape_configs:
  - job_name: relais
    static_configs: [{{targets: ["127.0.0.1:{scraped}"]}}]
""")
        subprocess.run(["promtool", "check", "config", settings], check=True, capture_output=True)
        self.process = spawn(["prometheus", f"--config.file={settings}", f"--storage.tsdb.path={folder / 'prometheus'}",
                              f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"], self.log)
        wait_for("Prometheus is ready", lambda: request(self.port, "GET", "/-/ready")[0] == 200, 60, self.alive)
        wait_for("Prometheus has scraped the gateway", lambda: self.query("up"), 60, self.alive)

    def alive(self) -> None:
        check(self.process.poll() is None, f"Prometheus ended by itself:\n{tail(self.log)}")

    def get(self, path: str, **fields: str) -> object:
        status, answer = request(self.port, "GET", f"/api/v1/{path}?{urllib.parse.urlencode(fields)}")
        check(status == 200 and answer["status"] == "success", f"Prometheus answers {status} to {path} {fields}: {answer}")
        return answer["data"]

    def query(self, expression: str) -> list[dict]:
        return self.get("query", query=expression)["result"]

    def firing(self) -> set[tuple[str, str]]:
        """(alert, channel) of every alert that fires now."""
        return {(a["labels"]["alertname"], a["labels"].get("channel", "")) for a in self.get("alerts")["alerts"] if a["state"] == "firing"}

    def fires(self, alert: str, channel: str = "") -> None:
        wait_for(f"{alert} fires", lambda: (alert, channel) in self.firing(), 60, self.alive)

    def rests(self, alert: str, channel: str = "") -> None:
        wait_for(f"{alert} rests", lambda: (alert, channel) not in self.firing(), 60, self.alive)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Watched:
    """An SMSC, a modem, a gateway that uses both, and the Prometheus that watches it."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path) -> None:
        self.folder, self.ports = folder, Ports()
        self.smsc = Smsc(folder, self.ports)
        link = folder / "modem"
        self.modem = spawn([binary, "sim", "modem", "--link", link], folder / "sim-modem.log")
        wait_for("the modem's link", link.is_symlink)
        more = f'[modem.{MODEM}]\ndevice = "{link}"\nrate = 50\n[operators.sim]\nprefixes = ["+33699"]\nroute = ["{MODEM}"]\n'
        self.daemon = Daemon(binary, folder, self.smsc.port, more=more).start()
        self.smsc.wait_bound()
        self.prometheus = Prometheus(folder, self.daemon.port)
        # For Prometheus a series that begins at 1 has not increased: twice, and looked at between.
        for _ in range(2):
            for to in ("+33612345678", "+33699123456"):
                self.daemon.wait_status(self.daemon.send(to, "Bonjour à tous")["id"], "delivered")
            wait_for("Prometheus has looked twice", lambda before=self.looks(): self.looks() >= before + 2)

    def looks(self) -> float:
        """How often Prometheus has seen that both channels deliver."""
        found = self.prometheus.query('count_over_time(relais_messages_total{status="delivered"}[10m])')
        return min(float(s["value"][1]) for s in found) if len(found) == 2 else 0

    def batches(self, recipients: int, senders: int) -> None:
        """Sends to so many new numbers from so many names, and waits for the end of all."""
        base, made = 20_000_000 + recipients, []
        for first in range(0, recipients, BATCH):
            messages = [{"to": f"+336{base + n:08d}", "from": f"Guichet{n % senders:03d}", "text": "Le guichet ferme", "class": "transactional"}
                        for n in range(first, min(first + BATCH, recipients))]
            status, answer = self.daemon.call("POST", "/v1/batches", {"messages": messages}, timeout_s=60)
            check(status == 202 and not answer["rejected"], f"POST /v1/batches: {status} {str(answer)[:300]}")
            made.append(answer["id"])
        for identity in made:
            wait_for("the batch is delivered", lambda: self.ended(identity), 180, self.daemon.alive)

    def ended(self, identity: str) -> bool:
        batch = self.daemon.get(f"/v1/batches/{identity}")
        return batch["counts"]["delivered"] == batch["total"]

    def stop(self) -> None:
        for end in (self.prometheus.stop, self.daemon.stop, self.smsc.stop, self.modem.terminate):
            with contextlib.suppress(Failure, OSError, subprocess.TimeoutExpired):
                end()


def promtool_has_nothing_to_say_about_the_metrics(watched: Watched) -> None:
    status, text = request(watched.daemon.port, "GET", "/metrics")
    equal(status, 200, "GET /metrics")
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    equal((said.returncode, said.stdout + said.stderr), (0, ""), "promtool check metrics")


def nothing_pages_while_all_is_well(watched: Watched) -> None:
    equal({alert for alert, _ in watched.prometheus.firing()} & set(WAITED_FOR), set(), "alerts")
    rules = [r for g in watched.prometheus.get("rules")["groups"] for r in g["rules"]]
    equal([(r["name"], r.get("lastError")) for r in rules if r["health"] != "ok"], [], "rules that cannot be evaluated")


def panels() -> list[tuple[str, str]]:
    """(title, expression) of all panels, for every instance."""
    board = json.loads(DASHBOARD.read_text())
    return [(panel["title"], target["expr"].replace("$instance", ".*"))
            for panel in board["panels"] for target in panel.get("targets", [])]


def every_panel_speaks(prometheus: Prometheus) -> None:
    def silent() -> list[str]:
        return [f"{title}: {expression}" for title, expression in panels() if not prometheus.query(expression)]

    try:
        wait_for("every panel has data", lambda: not silent(), 20, prometheus.alive)
    except Failure:
        raise Failure("panels without data:\n  " + "\n  ".join(silent())) from None


def broken_carrier_fires_its_alert_fills_the_dashboard_and_ends_when_it_is_back(watched: Watched) -> None:
    prometheus, daemon = watched.prometheus, watched.daemon
    watched.smsc.stop()
    waiting = [daemon.send(f"+336123456{n:02d}", f"Plus tard {n}")["id"] for n in range(10)]
    prometheus.fires("RelaisChannelDown", CARRIER)
    check(("RelaisChannelDown", MODEM) not in prometheus.firing(), "the alert fires for the modem, which is well")
    check(("RelaisNoChannelUp", "") not in prometheus.firing(), "RelaisNoChannelUp fires while a modem is up")
    try:
        # The hour of need: every panel of the dashboard has something to show.
        every_panel_speaks(prometheus)
        why = {s["metric"]["why"] for s in prometheus.query('relais_queue_messages{operator="default"} > 0')}
        equal(why, {"no_channel"}, "what the queue waits for")
    finally:
        watched.smsc = Smsc(watched.folder, watched.ports, port=watched.smsc.port)
    prometheus.rests("RelaisChannelDown", CARRIER)
    for identity in waiting:
        daemon.wait_status(identity, "delivered")
    wait_for("the queue is empty in Prometheus", lambda: not prometheus.query("relais_queue_messages > 0"))


def gateway_that_is_gone_pages_until_it_is_back(watched: Watched) -> None:
    watched.daemon.kill()
    watched.prometheus.fires("RelaisDown")
    watched.daemon.start()
    watched.smsc.wait_bound()
    watched.prometheus.rests("RelaisDown")


def series_stay_few_with_ten_thousand_recipients_and_five_hundred_senders(watched: Watched) -> None:
    """What the queue waits for may be seen or not between two looks: those series are bounded, not counted."""
    watched.daemon.send("+33699123456", "Bonjour à tous")
    watched.batches(BATCH, 1)
    before = series(watched)
    watched.batches(RECIPIENTS, SENDERS)
    after = series(watched)
    of_queue = {s for s in after if s[0] == "relais_queue_messages"}
    check(len(of_queue) <= 20 * len(OPERATORS), f"{len(of_queue)} series of relais_queue_messages")
    equal(sorted(after - of_queue - before), [], "series that the load has brought")
    known = {"channel": {"", CARRIER, MODEM}, "account": {"thirdparty", MODEM}, "operator": OPERATORS, "status": STATUSES}
    for name, labels in after:
        for label, value in labels:
            check(value in known.get(label, {value}), f"{name} has {label}={value!r}")
            short = label == "le" or (len(re.sub(r"\D", "", value)) < 6 and len(value) < 40)
            check(short, f"{name} has {label}={value!r}, which looks like a number or an id")
    print(f"       {len(after)} series before and after {RECIPIENTS} recipients and {SENDERS} senders", flush=True)


def series(watched: Watched) -> set[tuple[str, tuple]]:
    """The name and labels of every series that the gateway shows now."""
    _, text = request(watched.daemon.port, "GET", "/metrics")
    found = set()
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()
            found.add((name, tuple(re.findall(r'(\w+)="([^"]*)"', labels or ""))))
    return found


CASES = [
    promtool_has_nothing_to_say_about_the_metrics,
    nothing_pages_while_all_is_well,
    broken_carrier_fires_its_alert_fills_the_dashboard_and_ends_when_it_is_back,
    gateway_that_is_gone_pages_until_it_is_back,
    series_stay_few_with_ten_thousand_recipients_and_five_hundred_senders,
]
