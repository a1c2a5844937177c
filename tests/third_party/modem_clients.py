"""The simulated modem (`relais sim modem`, on its pseudo terminal) under clients that are not ours.

gammu-smsd and SMS Server Tools are Debian's, python-gsmmodem-new is PyPI's. Each sends a text of the GSM alphabet, one
in UCS-2 and one of three parts, takes in a message and a long one, and gets its status reports. The simulator's ledger
says what it was given, the client's own files say what the client made of the rest: the two readings of 3GPP TS 23.040
and TS 27.005 judge each other. No chatter here: all three take an unsolicited line in the midst of an answer for it.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from harness import HERE, check, equal, spawn, tail, wait_for

# Opening alone takes Gammu five seconds.
DEADLINE_S = 90
SENDER = "+33698765432"
GSM = "Où ? Déjà payé : 5 € [ok] {~}"
UCS2 = "Reçu chez Zoë, l'œuvre Ωж 😀"
# No pair of septets in it: SMS Server Tools cut one in two at the end of a part.
LONG = "".join(f"{n:03d} Bonjour à tous, où est le prix ? " for n in range(11)).strip()
# python-gsmmodem writes each character as one unit of 16 bits.
PLAIN_UCS2 = UCS2.removesuffix(" 😀")
SHORT_IN = "Bonjour le modem, ça va ?"
LONG_IN = "".join(f"{n:02d} Le facteur est passé à midi, où étiez-vous ? " for n in range(7)).strip()
REPORTS_DIRECT = 'cnmi = "(0-2),(0-3),(0,2),(0,1),(0,1)"'


class Modem:
    """A running `relais sim modem`."""

    def __init__(self, bench, script: str, first_ms: int = 0, then_ms: int = 6_000) -> None:
        """When a short message comes, and a long one: at 0 it waits for its client in the modem's memory."""
        self.link, self.entries = bench.folder / "modem", bench.folder / "modem.jsonl"
        self.log = bench.folder / "sim-modem.log"
        path = bench.folder / "modem.toml"
        inbound = "".join(f'[[inbound]]\nfrom = "{SENDER}"\ntext = "{text}"\nafter_ms = {after}\npart_gap_ms = 800\n'
                          for text, after in ((SHORT_IN, first_ms), (LONG_IN, then_ms)))
        path.write_text(f"reference_start = 254\n{script}\n{inbound}")
        self.process = spawn([bench.binary, "sim", "modem", "--link", self.link, "--script", path, "--ledger", self.entries], self.log)
        wait_for("the modem's link", self.link.is_symlink, alive=self.alive)

    def alive(self) -> None:
        check(self.process.poll() is None, f"the simulator ended by itself: {tail(self.log)}")

    def ledger(self) -> list[dict]:
        """A line that is being written does not count yet."""
        lines = self.entries.read_text().split("\n")[:-1] if self.entries.exists() else []
        return [json.loads(line) for line in lines]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def program(name: str, package: str) -> str:
    """Where it is. What is not there fails the case: a judge that does not come has not judged."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    check(found, f"{name} is not installed (Debian's package {package}; tests/run installs it)")
    return found


@contextlib.contextmanager
def daemon(argv: list, log: pathlib.Path):
    """A client that runs until the case is over, in a session of its own as it forks."""
    process = spawn(argv, log, start_new_session=True)
    try:
        yield lambda: check(process.poll() is None, f"{argv[0]} ended by itself with {process.returncode}: {tail(log)}")
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def recipients(ucs2: str = UCS2) -> dict[str, tuple[str, int]]:
    """{number: (text, parts)} of what each client is asked to send."""
    return {"+33612345601": (GSM, 1), "+33612345602": (ucs2, 1), "+33612345603": (LONG, 3)}


def sent_as_asked(modem: Modem, asked: dict[str, tuple[str, int]], alive) -> list[dict]:
    """The ledger, once it holds all parts: every text whole, every part in its place, nothing twice."""
    wanted = sum(parts for _, parts in asked.values())
    entries = wait_for(f"{wanted} submissions", lambda: (found := modem.ledger()) and len(found) >= wanted and found, DEADLINE_S, alive)
    by_number = collections.defaultdict(list)
    for entry in entries:
        by_number[entry["to"]].append(entry)
    equal({to: ("".join(e["text"] for e in found), len(found)) for to, found in by_number.items()}, asked, "the ledger")
    for entry in entries:
        equal((entry["fate"], entry["answered"], entry["error"]), ("sent", True, None), "fate")
    for to, (_, parts) in asked.items():
        places = [e["part"] for e in by_number[to]]
        if parts == 1:
            equal(places, [None], f"place of the message to {to}")
        else:
            equal([(p["index"], p["total"]) for p in places], [(n, parts) for n in range(1, parts + 1)], f"places of the parts to {to}")
            equal(len({p["reference"] for p in places}), 1, "references of one message")
    equal([e["reference"] for e in entries], [(254 + n) % 256 for n in range(wanted)], "TP-MR")
    return entries


def gammu(script: str):
    """A case: Debian's gammu-smsd with its files, on the modem that `script` describes."""

    def case(bench) -> None:
        smsd, inject = program("gammu-smsd", "gammu-smsd"), program("gammu-smsd-inject", "gammu-smsd")
        for name in ("inbox", "outbox", "sent", "error"):
            (bench.folder / name).mkdir()
        # Both wait in the memory: when one comes while it sends, Gammu may take the announcement for the answer.
        modem, config = Modem(bench, script, then_ms=0), bench.folder / "gammu.rc"
        config.write_text(f"""\
[gammu]
device = {modem.link}
connection = at115200
[smsd]
service = files
inboxpath = {bench.folder}/inbox/
outboxpath = {bench.folder}/outbox/
sentsmspath = {bench.folder}/sent/
errorsmspath = {bench.folder}/error/
inboxformat = unicode
deliveryreport = sms
loopsleep = 1
receivefrequency = 1
commtimeout = 5
sendtimeout = 30
logfile = stderr
debuglevel = 1
""")
        asked = recipients()
        try:
            for to, (text, _) in asked.items():
                form = ["-autolen", str(len(LONG))] if text == LONG else ["-unicode"] if text == UCS2 else []
                subprocess.run([inject, "-c", config, "TEXT", to, "-text", text, "-report", *form], check=True, timeout=30,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with daemon([smsd, "-c", config], bench.folder / "gammu.log") as alive:
                sent_as_asked(modem, asked, alive)
                reports = {to: parts for to, (_, parts) in asked.items()}
                wait_for("three messages in Gammu's folder of sent ones", lambda: len(list((bench.folder / "sent").iterdir())) == 3, alive=alive)
                wait_for("status reports and messages in Gammu's inbox",
                         lambda: gammu_inbox(bench.folder) == (reports, [LONG_IN, SHORT_IN]), DEADLINE_S, alive)
            equal(list((bench.folder / "error").iterdir()), [], "what Gammu could not send")
        finally:
            modem.stop()

    return case


def gammu_inbox(folder: pathlib.Path) -> tuple[dict[str, int], list[str]]:
    """({recipient: reports that say delivered}, texts in alphabetical order) in Gammu's inbox: a file for each part."""
    reports, texts = collections.Counter(), collections.defaultdict(str)
    for path in sorted((folder / "inbox").iterdir()):
        date, number, _part = re.fullmatch(r"IN(\d+_\d+_\d+)_([^_]*)_(\d+)\.txt", path.name).groups()
        # It fills the file up with what its buffer held before.
        text = path.read_bytes().decode("utf-16").split("\0")[0]
        if text == "Delivered":
            reports[number] += 1
        else:
            texts[date, number] += text
    return dict(reports), sorted(text for (_, number), text in sorted(texts.items()) if number == SENDER)


def smstools(script: str, cnmi: str):
    """A case: Debian's SMS Server Tools with their files, on the modem that `script` describes."""

    def case(bench) -> None:
        smsd = program("smsd", "smstools")
        folders = ("outgoing", "checked", "incoming", "report", "sent", "failed")
        for name in folders:
            (bench.folder / name).mkdir()
        modem, config = Modem(bench, script), bench.folder / "smsd.conf"
        paths = "".join(f"{name} = {bench.folder}/{name}\n" for name in folders)
        config.write_text(f"""\
devices = GSM1
{paths}logfile = {bench.folder}/smsd.log
infofile = {bench.folder}/smsd.working
pidfile = {bench.folder}/smsd.pid
loglevel = 5
delaytime = 1
delaytime_mainprocess = 1
incoming_utf8 = yes

[GSM1]
device = {modem.link}
init = AT+CNMI={cnmi}
incoming = yes
memory_start = 0
report = yes
baudrate = 115200
rtscts = no
cs_convert = yes
send_delay = 0
""")
        asked = recipients()
        for number, (to, (text, parts)) in enumerate(asked.items()):
            alphabet, octets = ("UCS2", text.encode("utf-16-be")) if text == UCS2 else ("ISO", text.encode("iso8859-15"))
            head = f"To: {to.removeprefix('+')}\nAlphabet: {alphabet}\n" + ("Autosplit: 3\n" if parts > 1 else "")
            (bench.folder / "outgoing" / f"{number}").write_bytes(head.encode() + b"\n" + octets)
        try:
            with daemon([smsd, "-t", "-n", "MAINPROCESS", "-c", config], bench.folder / "smstools.log") as alive:
                entries = sent_as_asked(modem, asked, alive)
                wait_for("three files in the folder of sent ones", lambda: len(list((bench.folder / "sent").iterdir())) == 3, alive=alive)
                wanted = {(e["to"], str(e["reference"]), "0") for e in entries}
                wait_for("a status report of every part", lambda: smstools_reports(bench.folder) == wanted, DEADLINE_S, alive)
                wait_for("both messages", lambda: smstools_inbox(bench.folder) == {(SENDER, SHORT_IN), (SENDER, LONG_IN)}, DEADLINE_S, alive)
            equal(list((bench.folder / "failed").iterdir()), [], "what could not be sent")
        finally:
            modem.stop()

    return case


def smstools_file(path: pathlib.Path) -> tuple[dict[str, str], str]:
    """(headers, text) of a received file."""
    head, _, octets = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
    return fields, octets.decode("utf-16-be" if fields.get("Alphabet") == "UCS2" else "utf-8")


def smstools_inbox(folder: pathlib.Path) -> set[tuple[str, str]]:
    found = [smstools_file(path) for path in (folder / "incoming").iterdir()]
    return {("+" + fields.get("From", ""), text) for fields, text in found}


def smstools_reports(folder: pathlib.Path) -> set[tuple[str, str, str]]:
    """{(recipient, TP-MR, TP-ST)}."""
    found = set()
    for fields, text in map(smstools_file, (folder / "report").iterdir()):
        said = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        found.add(("+" + fields.get("From", ""), said.get("Message_id"), said.get("Status", "").split(",")[0]))
    return found


def gsmmodem(script: str):
    """A case: python-gsmmodem-new, in a process of its own (gsmmodem_client.py), on the modem that `script` describes.

    Of lines that come in one piece it takes only the first one, so the modem takes its time.
    """

    def case(bench) -> None:
        asked = recipients(PLAIN_UCS2)
        modem, out = Modem(bench, f"send_ms = 300\n{script}\n[reports]\ndelay_ms = 700\n", 10_000, 12_000), bench.folder / "gsmmodem.json"
        try:
            messages = json.dumps([[to, text] for to, (text, _) in asked.items()])
            client = spawn([sys.executable, HERE / "gsmmodem_client.py", modem.link, out, messages], bench.folder / "gsmmodem.log")
            check(client.wait(DEADLINE_S) == 0, f"python-gsmmodem failed: {tail(bench.folder / 'gsmmodem.log')}")
            entries, said = sent_as_asked(modem, asked, modem.alive), json.loads(out.read_text())
            equal(said["reports"], [[e["to"], e["reference"], 0] for e in entries if e["part"] is None], "status reports")
            equal({number for number, _ in said["texts"]}, {SENDER}, "senders")
            (_, first), *parts = said["texts"]
            equal((first, "".join(text for _, text in parts)), (SHORT_IN, LONG_IN), "texts")
        finally:
            modem.stop()

    return case


def named(case, name: str):
    case.__name__ = name
    return case


CASES = [
    named(gammu(f'personality = "quectel"\n{REPORTS_DIRECT}'), "gammu_smsd_and_the_simulated_quectel_understand_each_other"),
    named(gammu('personality = "simcom"'), "gammu_smsd_and_the_simulated_simcom_understand_each_other"),
    named(smstools('personality = "quectel"', "2,1,0,1,0"), "sms_server_tools_and_the_simulated_quectel_understand_each_other"),
    named(smstools('personality = "huawei"', "2,1,0,2,0"), "sms_server_tools_and_the_simulated_huawei_understand_each_other"),
    named(gsmmodem('personality = "quectel"'), "python_gsmmodem_and_the_simulated_quectel_understand_each_other"),
    named(gsmmodem('personality = "simcom"'), "python_gsmmodem_and_the_simulated_simcom_understand_each_other"),
]
