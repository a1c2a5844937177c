"""Measures the release build on simulated modems, beside Debian's gammu-smsd and SMS Server Tools in the same run.

    tests/bench/run modems [--seconds 30] [--rounds 3] [--only relais|gammu|smstools]

All drive the same modem, `relais sim modem`, a Quectel that answers at once on its pseudo terminal. The messages wait
before the modem is plugged in; then the modem's ledger tells when it was given each one, and `--seconds` after the
first one the round is over. The programs take turns. Gammu and SMS Server Tools run at their fastest settings (no pause
between loops, no delay between characters) and without status reports; relais asks for one of every message, takes it
in, and writes all of it to the disk (durability "power"): figures depend on the disk under TMPDIR.

    messages a minute   from the first to the last message of a round; the median of the rounds
    own time            between two messages of one part, p50 and p99: the modem takes none of it
    eight modems        the sum of eight at once, each with its SIM; the rest of the machine is eight simulators
    CPU                 of the daemon with eight modems that take 3 s a message, as share of a core

Messages that relais sent twice are counted, and make the run fail whatever its speed.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import datetime
import http.client
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "third_party"))

from harness import ADMIN_KEY, free_port, request, spawn, tail, wait_for  # noqa: E402
from modem_clients import program  # noqa: E402

# More than any program sends in a round.
PLENTY = {"relais": 6_000, "gammu": 400, "smstools": 400}
MODEMS = 8
SLOW_MS = 3_000
# Reaching the modem and setting it up may take so long.
PATIENCE_S = 120


class Modem:
    """A `relais sim modem` that is plugged in by `start`; SIM and number tell several apart."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, number: int = 0, send_ms: int = 0) -> None:
        self.binary, self.link = binary, folder / f"modem{number}"
        self.entries, self.script = folder / f"modem{number}.jsonl", folder / f"modem{number}.toml"
        self.log = folder / f"sim{number}.log"
        self.script.write_text(f'personality = "quectel"\nsend_ms = {send_ms}\nimsi = "20801000000000{number}"\n'
                               f'iccid = "893300000000000000{number}"\nimei = "49015420323751{number}"\n')
        self.process, self.counted, self.offset = None, 0, 0

    def start(self) -> None:
        argv = [self.binary, "sim", "modem", "--link", self.link, "--script", self.script, "--ledger", self.entries]
        self.process = spawn(argv, self.log)

    def count(self) -> int:
        """Messages so far; reads only what is new, so that counting takes nothing from what is measured."""
        if self.entries.exists():
            with self.entries.open("rb") as file:
                file.seek(self.offset)
                new = file.read()
            self.offset, self.counted = self.offset + len(new), self.counted + new.count(b"\n")
        return self.counted

    def ledger(self) -> list[tuple[float, str]]:
        """(second, recipient) of each message."""
        lines = self.entries.read_text().split("\n")[:-1] if self.entries.exists() else []
        entries = map(json.loads, lines)
        return [(datetime.datetime.fromisoformat(e["at"]).timestamp(), e["to"]) for e in entries]

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(10)


def recipient(number: int) -> str:
    return f"+336{10_000_000 + number}"


def text(number: int) -> str:
    return f"benchmark message {number}"


def end(process: subprocess.Popen) -> None:
    """SIGTERM, and SIGKILL to its session if that takes long."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Relais:
    """The gateway on the given modems, with messages that wait for them."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, modems: list[Modem], messages: int) -> None:
        self.port, self.log, self.messages = free_port(), folder / "relais.log", messages
        names = [f"m{number}" for number in range(len(modems))]
        tables = "".join(f'[modem.{name}]\ndevice = "{modem.link}"\ndaily_limit = 0\nrecipients_30d = 0\nreopen = "100ms..1s"\n'
                         for name, modem in zip(names, modems))
        # One step that all share, not one after the other.
        config, step = folder / "relais.toml", "|".join(names)
        config.write_text(f'data_dir = "{folder}/data"\n[http]\nlisten = "127.0.0.1:{self.port}"\n{tables}'
                          f"[operators.default]\nroute = ['{step}']\n")
        config.chmod(0o600)
        self.process = spawn([binary, "serve", "--config", config], self.log, {"RELAIS_ADMIN_KEY": ADMIN_KEY}, start_new_session=True)
        wait_for("/readyz or its reasons", self._answers)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for result in [pool.submit(self._post, range(start, messages, 16)) for start in range(16)]:
                result.result()

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"relais ended by itself: {tail(self.log)}")
        # Not ready while there is no modem: an answer will do.
        return request(self.port, "GET", "/readyz")[0] in (200, 503)

    def _post(self, numbers: range) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        for number in numbers:
            body = json.dumps({"to": recipient(number), "text": text(number), "class": "transactional"})
            link.request("POST", "/v1/messages", body, {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"})
            answer = link.getresponse()
            said = answer.read()
            if answer.status != 202:
                raise RuntimeError(f"POST /v1/messages: {answer.status} {said.decode()}")
        link.close()

    def cpu_s(self) -> float:
        """User and system seconds, which Linux counts in hundredths."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        end(self.process)


class Gammu:
    """gammu-smsd with its queue of files."""

    def __init__(self, folder: pathlib.Path, modem: Modem, messages: int) -> None:
        for name in ("inbox", "outbox", "sent", "error"):
            (folder / name).mkdir()
        config, self.log = folder / "gammu.rc", folder / "gammu.log"
        config.write_text(f"[gammu]\ndevice = {modem.link}\nconnection = at115200\n[smsd]\nservice = files\nloopsleep = 0\n"
                          "commtimeout = 5\nsendtimeout = 10\nchecksecurity = 0\nchecksignal = 0\nchecknetwork = 0\ncheckbattery = 0\n"
                          f"logfile = {folder}/smsd.log\ndebuglevel = 0\n"
                          f"inboxpath = {folder}/inbox/\noutboxpath = {folder}/outbox/\nsentsmspath = {folder}/sent/\nerrorsmspath = {folder}/error/\n")
        for number in range(messages):
            (folder / "outbox" / f"OUTC20260101_{number:06d}_00_{recipient(number)}_x.txt").write_text(text(number))
        self.argv = [program("gammu-smsd", "gammu-smsd"), "-c", config]

    def start(self) -> None:
        self.process = spawn(self.argv, self.log, start_new_session=True)

    def stop(self) -> None:
        end(self.process)


class Smstools(Gammu):
    """SMS Server Tools with their queue of files."""

    def __init__(self, folder: pathlib.Path, modem: Modem, messages: int) -> None:
        names = ("outgoing", "checked", "incoming", "sent", "failed")
        for name in names:
            (folder / name).mkdir()
        config, self.log = folder / "smsd.conf", folder / "smstools.log"
        paths = "".join(f"{name} = {folder}/{name}\n" for name in names)
        config.write_text(f"devices = GSM1\n{paths}logfile = {folder}/smsd.log\nloglevel = 3\ndelaytime = 1\ndelaytime_mainprocess = 1\n"
                          f"infofile = {folder}/info\npidfile = {folder}/pid\n\n[GSM1]\ndevice = {modem.link}\nincoming = no\nreport = no\n"
                          "baudrate = 115200\nrtscts = no\nsend_delay = 0\ncheck_network = 0\n")
        for number in range(messages):
            (folder / "outgoing" / f"m{number:06d}").write_text(f"To: {recipient(number)[1:]}\n\n{text(number)}\n")
        self.argv = [program("smsd", "smstools"), "-t", "-n", "MAINPROCESS", "-c", config]


def per_minute(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0]) * 60 if len(times) > 1 else 0.0


def wait_seconds_from_first(modems: list[Modem], seconds: float, messages: int) -> None:
    """Until `seconds` after all modems have got their first message, or all are sent."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and not all(modem.count() for modem in modems):
        time.sleep(0.02)
    until = time.monotonic() + seconds
    while time.monotonic() < until and sum(modem.count() for modem in modems) < messages:
        time.sleep(0.05)


def one_round(name: str, binary: pathlib.Path, folder: pathlib.Path, seconds: float) -> list[tuple[float, str]]:
    """The ledger of one program's turn."""
    modem, messages = Modem(binary, folder), PLENTY[name]
    if name == "relais":
        program_ = Relais(binary, folder, [modem], messages)
        modem.start()
    else:
        program_ = {"gammu": Gammu, "smstools": Smstools}[name](folder, modem, messages)
        modem.start()
        wait_for("the modem's link", modem.link.is_symlink)
        program_.start()
    try:
        wait_seconds_from_first([modem], seconds, messages)
    finally:
        program_.stop()
        modem.stop()
    ledger = modem.ledger()
    if len(ledger) < 2:
        raise RuntimeError(f"{name} sent nothing: {tail(program_.log)}")
    return ledger


def together(binary: pathlib.Path, folder: pathlib.Path, seconds: float, count: int, send_ms: int, messages: int) -> dict:
    """`count` modems at once: their sum a minute, the spread, and the daemon's CPU per second and per message."""
    modems = [Modem(binary, folder, number, send_ms) for number in range(count)]
    relais = Relais(binary, folder, modems, messages)
    try:
        for modem in modems:
            modem.start()
        wait_seconds_from_first(modems, 1 if send_ms == 0 else send_ms / 1000, messages)
        before, began, sent = relais.cpu_s(), time.monotonic(), sum(modem.count() for modem in modems)
        wait_seconds_from_first(modems, seconds, messages)
        cpu, took = relais.cpu_s() - before, time.monotonic() - began
        sent = sum(modem.count() for modem in modems) - sent
    finally:
        relais.stop()
        for modem in modems:
            modem.stop()
    ledgers = [modem.ledger() for modem in modems]
    again = collections.Counter(to for ledger in ledgers for _, to in ledger)
    return {"sum": sent / took * 60, "each": [len(ledger) for ledger in ledgers], "cpu": cpu / took,
            "cpu_ms": cpu / max(sent, 1) * 1000, "repeated": sum(again.values()) - len(again)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--relais", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=sorted(PLENTY), help="one program alone, and not the eight modems")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binary, root = options.relais.resolve(), pathlib.Path(tempfile.mkdtemp(prefix="relais-bench-modems-"))
    names = [options.only] if options.only else ["relais", "gammu", "smstools"]
    rates, gaps, repeated = collections.defaultdict(list), [], 0
    for number in range(options.rounds):
        for name in names:
            folder = root / f"{number}-{name}"
            folder.mkdir()
            ledger = one_round(name, binary, folder, options.seconds)
            times = [at for at, _ in ledger]
            rates[name].append(per_minute(times))
            print(f"round {number + 1}: {name:10} {rates[name][-1]:10.1f} messages a minute ({len(ledger)} in {times[-1] - times[0]:.1f} s)", flush=True)
            if name == "relais":
                gaps += [later - earlier for earlier, later in zip(times, times[1:])]
                # What the daemon had in hand when it was stopped is not judged here; what came twice is.
                repeated += len(ledger) - len({to for _, to in ledger})
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, median in medians.items():
        print(f"{name:27}{median:10.1f} messages a minute")
    if "relais" in medians:
        peers = {name: median for name, median in medians.items() if name != "relais"}
        if peers:
            best = max(peers, key=peers.get)
            print(f"relais against the better   {medians['relais'] / peers[best]:9.1f} times {best}")
        ordered = sorted(gaps)
        print(f"own time a message, p50 p99 {ordered[len(ordered) // 2] * 1000:9.1f} ms {ordered[int(len(ordered) * 0.99)] * 1000:8.1f} ms")
    if not options.only:
        for folder in ("eight", "slow"):
            (root / folder).mkdir()
        eight = together(binary, root / "eight", options.seconds, MODEMS, 0, 20_000)
        print(f"eight modems at once       {eight['sum']:10.1f} messages a minute, {eight['sum'] / medians['relais']:.2f} times one "
              f"(from {min(eight['each'])} to {max(eight['each'])} each; {eight['cpu'] * 100:.0f} % of a core, {eight['cpu_ms']:.2f} ms a message)")
        slow = together(binary, root / "slow", max(options.seconds, 30), MODEMS, SLOW_MS, 1_000)
        print(f"CPU, eight at 3 s a message {slow['cpu'] * 100:9.2f} % of a core at {slow['sum']:.0f} messages a minute")
        repeated += eight["repeated"] + slow["repeated"]
    print(f"sent twice by relais       {repeated:10}")
    if repeated:
        print(f"see {root}", file=sys.stderr)
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
