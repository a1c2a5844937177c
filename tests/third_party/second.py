"""The gateway against a second SMSC that is not ours, node-smpp: alphabets, divisions, messages from handsets, TLS, 5.0.

The first one, smpp34, plays the ordinary days (scenario.py). Here the texts themselves are judged: what is put into
octets by the gateway is read by node-smpp, and the reverse.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pathlib
import queue
import subprocess
import threading

from harness import HERE, Daemon, Failure, Ports, check, equal, spawn, tail, texts, wait_for

TO = "+33612345678"
# Every character of the GSM alphabet and of its extension, but for the escape and form feed.
GSM = ("@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
       "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà^{}\\[~]|€")
FRENCH = "Ça va ? J'ai reçu à Noël l'œuvre « Où êtes-vous » : 5 €, déjà payés. Naïf, bœuf, çà et là…"
LATIN = "Reçu à Noël : où êtes-vous ? Déjà payés, ç'est naïf. Âme, île, forêt, dû, maïs, £ 5"
# In Latin-1 and in the GSM alphabet, so that an SMSC which re-codes one to the other loses nothing.
BOTH = "Déjà payé à Zürich ? Où, à 8 h : ÅSE & Ñandu, £ 5, ¿qué?"
EMOJI = "🎂 Joyeux anniversaire Zoë 👩‍👩‍👧 ! "
LONG_FRENCH = (FRENCH + " ") * 3


def node_modules(binary: pathlib.Path) -> str:
    """Where tests/run has put node-smpp: NODE_PATH, else beside the build."""
    return os.environ.get("NODE_PATH") or str(binary.parents[1] / "test-node" / "node_modules")


class NodeSmsc:
    """A running node_smsc.js."""

    def __init__(self, bench, ports: Ports | None = None, **options: object) -> None:
        port = (ports or bench.ports).take()
        self.log = bench.folder / f"node-{port}.log"
        self.process = spawn(["node", HERE / "node_smsc.js", json.dumps(options | {"port": port})], self.log,
                             {"NODE_PATH": node_modules(bench.binary)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events: collections.defaultdict[str, list[dict]] = collections.defaultdict(list)
        self.ready: queue.Queue = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        # An event or the end of the stream always comes.
        first = self.ready.get(timeout=30)
        check(first and first["event"] == "ready", f"node-smpp did not start: {first} {tail(self.log)}")
        self.port, self.number = first["port"], 0

    def _read(self) -> None:
        for line in self.process.stdout:
            event = json.loads(line)
            self.events[event["event"]].append(event)
            self.ready.put(event)
        self.ready.put(None)

    def wait_bound(self) -> dict:
        return wait_for("a session bound at node-smpp", lambda: self.events["bind"] and self.events["bind"][-1])

    def inbound(self, text: str, encoding: str, split: str | None = None, order: list[int] | None = None,
                sender: str = TO, to: str = "36111", data_coding: int | None = None) -> None:
        """A message from a handset; returns once every part of it is acknowledged."""
        texts.add(text)
        self.number += 1
        command = {"do": "inbound", "number": self.number, "from": sender, "to": to, "text": text, "encoding": encoding,
                   "split": split} | ({"order": order} if order else {}) | ({} if data_coding is None else {"data_coding": data_coding})
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = wait_for("an acknowledgement", lambda: next((a for a in self.events["answered"] if a["number"] == self.number), None))
        equal(set(answer["statuses"]), {0}, f"answers to a message in {encoding}")

    def message(self, destination: str) -> dict:
        """What was submitted for a destination, joined by the places that node-smpp read.

        Waited for: a status can be here before node's own line about the submission.
        """
        return wait_for(f"all parts for {destination} at node-smpp", lambda: self._joined(destination))

    def _joined(self, destination: str) -> dict | None:
        submits = [s for s in list(self.events["submit"]) if s["destination"] == destination]
        parts = {}
        for submit in submits:
            place = submit["sar"]
            for element in map(bytes.fromhex, submit["udh"]):
                if element[:2] == b"\0\3":
                    place = list(element[2:])
                elif element[:2] == b"\x08\4":
                    place = [element[2] << 8 | element[3], *element[4:]]
            reference, total, number = place or (None, 1, 1)
            parts[reference, total, number] = submit["text"]
        if not parts:
            return None
        equal(len({key[:2] for key in parts}), 1, "references of one message")
        keys = sorted(parts)
        if len(keys) < keys[0][1]:
            return None
        equal([key[2] for key in keys], list(range(1, keys[0][1] + 1)), "parts")
        return {"text": "".join(parts[key] for key in keys), "parts": len(parts)} | {
            key: submits[-1][key] for key in ("data_coding", "esm_class", "payload", "sar", "udh")}

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)


@contextlib.contextmanager
def running(bench, account: str = "", operator: str = "", more: str = "", **smsc_options: object):
    """(node-smpp, a gateway bound to it)."""
    smsc = NodeSmsc(bench, **smsc_options)
    daemon = Daemon(bench.binary, bench.folder, smsc.port, account=account, operator=operator, more=more)
    try:
        daemon.start()
        smsc.wait_bound()
        yield smsc, daemon
        equal(smsc.events["problem"], [], "what node-smpp could not read")
    finally:
        if daemon.process and daemon.process.poll() is None:
            with contextlib.suppress(Failure):
                daemon.stop()
        smsc.stop()


def _arrives(smsc: NodeSmsc, daemon: Daemon, number: int, text: str, **expected: object) -> None:
    to = f"33612{number:06d}"
    identity = daemon.send(f"+{to}", text)["id"]
    daemon.wait_status(identity, "delivered")
    found = smsc.message(to)
    equal(found["text"], text, "the text that node-smpp read")
    for name, value in expected.items():
        equal(found[name], value, f"{name} of {text[:20]!r}")


def texts_are_read_exactly_by_a_second_library(bench) -> None:
    with running(bench) as (smsc, daemon):
        for number, (text, coding, parts) in enumerate([
            (GSM, 0, 1), ("à é è ù ì ò Ç É & @ £ $", 0, 1), (FRENCH, 8, 2), (EMOJI, 8, 1),
            ((GSM + " ") * 2, 0, 2), (LONG_FRENCH, 8, 5), (EMOJI * 8, 8, None), ("€" * 90, 0, 2), ("[x]" * 60, 0, None),
        ]):
            wanted = {"data_coding": coding, "payload": False} | ({} if parts is None else {"parts": parts})
            _arrives(smsc, daemon, number, text, **wanted)


def latin_1_is_sent_where_the_account_wants_it(bench) -> None:
    """data_coding 3 for what the GSM alphabet lacks, and data_coding 0 that is Latin-1, by account."""
    with running(bench, account="latin1 = true") as (smsc, daemon):
        _arrives(smsc, daemon, 1, LATIN, data_coding=3, parts=1)
        _arrives(smsc, daemon, 2, "Sans accent, 5 [ok]", data_coding=0, parts=1)
        _arrives(smsc, daemon, 3, FRENCH, data_coding=8)
        _arrives(smsc, daemon, 4, (LATIN + " ") * 3, data_coding=3, parts=2)


def an_alphabet_of_the_account_is_what_data_coding_0_means(bench) -> None:
    with running(bench, account='alphabet = "latin1"', alphabet="latin1") as (smsc, daemon):
        _arrives(smsc, daemon, 1, BOTH, data_coding=0, parts=1)
        _arrives(smsc, daemon, 2, "Prix : 5 €", data_coding=8)
        _arrives(smsc, daemon, 3, LATIN, data_coding=8)
        smsc.inbound(LATIN, "LATIN1", data_coding=0)
        found = wait_for("the message is listed", lambda: daemon.get("/v1/inbound")["data"])
        equal(found[0]["text"], LATIN, "a message in data_coding 0")


def divided(way: str, udh: bool, sar: bool, payload: bool):
    """A case: parts as the account's `concatenation` says, joined by node-smpp's own reading."""

    def case(bench) -> None:
        with running(bench, account=f'concatenation = "{way}"') as (smsc, daemon):
            for number, text in enumerate([(GSM + " ") * 3, LONG_FRENCH, EMOJI * 8]):
                _arrives(smsc, daemon, number, text)
                found = smsc.message(f"33612{number:06d}")
                equal((bool(found["udh"]), bool(found["sar"]), found["payload"]), (udh, sar, payload), f"the way of {way}")
                check(payload == (found["parts"] == 1), f"{found['parts']} parts by {way}")
            _arrives(smsc, daemon, 99, "Une seule pièce", parts=1, udh=[], sar=None, payload=payload)

    case.__name__ = f"long_texts_divided_by_{way}_are_joined_by_a_second_library"
    return case


def messages_from_handsets_of_a_second_library_are_read_exactly(bench) -> None:
    with running(bench) as (smsc, daemon):
        sent = []
        for text, encoding, split, order in [
            (GSM, "ASCII", None, None), (LATIN, "LATIN1", None, None), (EMOJI, "UCS2", None, None), (FRENCH[:60], "UCS2", None, None),
            ((GSM + " ") * 2, "ASCII", "udh", None), (LATIN * 3, "LATIN1", "udh", [2, 1]), (LONG_FRENCH, "UCS2", "udh", [3, 1, 5, 2, 4]),
            (LONG_FRENCH + "!", "UCS2", "udh16", None), (LATIN * 4, "LATIN1", "sar", [3, 2, 1]), ((GSM + ",") * 3, "ASCII", "sar", None),
            (LONG_FRENCH * 2, "UCS2", "payload", None), ((GSM + ";") * 3, "ASCII", "payload", None),
        ]:
            smsc.inbound(text, encoding, split, order)
            sent.append(text)

        def stored():
            found = daemon.listed("/v1/inbound")
            return found if len(found) >= len(sent) else None

        found = [m["text"] for m in wait_for("the messages are listed", stored)]
        for text in sent:
            check(text in found, f"not stored exactly: {text!r:.60}; there is {[f for f in found if f[:10] == text[:10]]!r:.300}")
        equal(len(found), len(sent), "messages stored")


def stop_in_any_spelling_is_an_opt_out_and_start_ends_it(bench) -> None:
    with running(bench) as (smsc, daemon):
        spellings = [("STOP", "ASCII"), ("stop.", "ASCII"), ("Arrêt", "LATIN1"), ("ARRÊT !", "UCS2")]
        senders = {f"+3361234560{n}": spelling for n, spelling in enumerate(spellings)}
        for sender, (text, encoding) in senders.items():
            smsc.inbound(text, encoding, sender=sender)
        smsc.inbound("Je voudrais un stop à Lyon", "ASCII", sender=TO)
        out = {entry["number"] for entry in daemon.listed("/v1/optouts")}
        equal(out, set(senders), "the numbers opted out")
        first = next(iter(senders))
        refused = daemon.message(daemon.send(first, "Encore une annonce")["id"])
        equal((refused["status"], refused["reason"]), ("failed", "opted_out"), "a message to one who said STOP")
        smsc.inbound("START", "ASCII", sender=first)
        equal({entry["number"] for entry in daemon.listed("/v1/optouts")}, set(senders) - {first}, "the numbers after START")
        daemon.wait_status(daemon.send(first, "De nouveau")["id"], "delivered")
        equal([s["destination"] for s in smsc.events["submit"]], [first.removeprefix("+")], "submissions")


def _certificate(folder: pathlib.Path, name: str) -> tuple[pathlib.Path, pathlib.Path]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                           "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                           "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", cert],
                          capture_output=True, text=True)
    check(made.returncode == 0, f"openssl: {made.stderr}")
    return cert, key


def tls_is_verified_and_carries_everything(bench) -> None:
    cert, key = _certificate(bench.folder, "carrier")
    stranger, _ = _certificate(bench.folder, "stranger")
    # Not captured: the dissector cannot read it, and nothing may be readable there.
    with running(bench, account=f'tls = true\ntls_ca_file = "{cert}"', ports=bench.unseen, cert=str(cert), key=str(key)) as (smsc, daemon):
        _arrives(smsc, daemon, 1, FRENCH, data_coding=8)
        smsc.inbound(LATIN, "LATIN1")
        wait_for("the inbound message is listed", lambda: daemon.get("/v1/inbound")["data"])
    smsc = NodeSmsc(bench, bench.unseen, cert=str(cert), key=str(key))
    folder = bench.folder / "stranger"
    folder.mkdir()
    daemon = Daemon(bench.binary, folder, smsc.port, account=f'tls = true\ntls_ca_file = "{stranger}"')
    try:
        daemon.start()

        def refused() -> dict | None:
            channel = daemon.get("/v1/channels")["data"][0]
            return channel if channel.get("cause") else None

        channel = wait_for("/v1/channels says why", refused)
        check(not channel["up"] and "certificate" in channel["cause"], f"/v1/channels says {channel}")
        equal(smsc.events["bind"], [], "binds with a certificate of a stranger")
    finally:
        daemon.stop()
        smsc.stop()


def smpp_5_is_spoken_by_setting(bench) -> None:
    for setting, version in (("", 0x34), ('version = "5.0"', 0x50)):
        folder = bench.folder / f"{version:x}"
        folder.mkdir()
        bench_of = type(bench)(bench.binary, folder, bench.ports, bench.unseen, bench.totals, bench.rounds)
        with running(bench_of, account=setting, version=version) as (smsc, daemon):
            equal(smsc.wait_bound()["version"], version, "interface_version of the bind")
            _arrives(smsc, daemon, 1, FRENCH, data_coding=8)


CASES = [
    texts_are_read_exactly_by_a_second_library,
    latin_1_is_sent_where_the_account_wants_it,
    an_alphabet_of_the_account_is_what_data_coding_0_means,
    divided("udh", True, False, False),
    divided("udh16", True, False, False),
    divided("sar", False, True, False),
    divided("payload", False, False, True),
    messages_from_handsets_of_a_second_library_are_read_exactly,
    stop_in_any_spelling_is_an_opt_out_and_start_ends_it,
    tls_is_verified_and_carries_everything,
    smpp_5_is_spoken_by_setting,
]
