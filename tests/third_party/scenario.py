"""The gateway's release binary against software that is not ours: smpp34 and node-smpp (SMSCs), and tshark (a dissector).

    python scenario.py --binary target/release/relais [--only WORD] [--keep]

Each case is a claim. A case has its own SMSC and its own daemon with a fresh data folder, so that none leans on another.
The last line counts them; the exit code is 0 only if at least one ran and all passed.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import datetime
import http.client
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback

import goals
import hostile
import kills
import mailing
import modem_clients
import readme
import second
import smsc_self_test
from capture import Capture
from harness import ADMIN_KEY, PASSWORD, Daemon, Events, Failure, Hook, Ports, Smsc, check, equal, tail, texts, verify_signature, wait_for

TO = "+33612345678"
MIXED = "Vous avez reçu 3 courriers, l'œuvre de Zoë 😀"
# 400 and 180 units: three parts of at most 153 septets, three of at most 67 UTF-16 units.
LONG_GSM = "".join(f"{n:03d} Bonjour à tous, prix: 5 € [ok]. " for n in range(11)).strip()
LONG_UCS2 = "".join(f"{n:02d} Zoë 😀🎉 l'œuvre d'Anaïs. " for n in range(6)).strip()
CRASH_MESSAGES, CRASH_WINDOW = 500, 20
# The receipt cases alone submit 180 messages, the first kill 500.
LEAST_PDUS = 600


class Bench:
    """What a case is given: a folder, ports, and processes that end with it."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, ports: Ports, unseen: Ports,
                 totals: collections.Counter, rounds: int) -> None:
        """On `unseen` ports nothing is captured; `rounds` multiplies the length of loops."""
        self.binary, self.folder, self.ports, self.unseen = binary, folder, ports, unseen
        self.totals, self.rounds = totals, rounds
        self.smsc: Smsc | None = None
        self.daemon: Daemon | None = None

    @contextlib.contextmanager
    def running(self, *smsc_options: object, captured: bool = True, **daemon_options: object):
        """An SMSC and a gateway bound to it. What is not captured is not seen by the dissector: for floods."""
        self.smsc = Smsc(self.folder, self.ports if captured else self.unseen, *smsc_options)
        self.daemon = Daemon(self.binary, self.folder, self.smsc.port, **daemon_options)
        try:
            self.daemon.start()
            self.smsc.wait_bound(2 if daemon_options.get("bind") == "transmitter+receiver" else 1)
            yield self.smsc, self.daemon
            stats = self.smsc.stats()
            equal(stats["complaints"], [], "what smpp34 could not read")
            errors = [s["error"] for s in self.smsc.ledger()["submits"] if s["error"]]
            equal(errors, [], "texts that could not be read")
            if captured:
                self.totals.update(stats["pdus"])
        finally:
            if self.daemon.process and self.daemon.process.poll() is None:
                with contextlib.suppress(Failure):
                    self.daemon.stop()
            self.smsc.stop()


def only_message(smsc: Smsc, text: str, parts: int = 1) -> dict:
    """The one message of the SMSC's ledger, which has exactly this text in this many submissions."""
    ledger = smsc.ledger()
    equal([m["text"] for m in ledger["messages"]], [text], "texts at the SMSC")
    equal((ledger["messages"][0]["parts"], len(ledger["submits"])), (parts, parts), "parts and submissions")
    return ledger["messages"][0]


def text_arrives_exactly_and_is_delivered_over_get_events_and_signed_webhook(bench: Bench) -> None:
    with bench.running() as (smsc, daemon):
        hook = Hook()
        status, webhook = daemon.call("POST", "/v1/webhooks", {"url": hook.url, "types": ["message.sent", "message.delivered"]})
        check(status in (200, 201), f"POST /v1/webhooks: {status} {webhook}")
        events = Events(daemon)
        message = daemon.send(TO, MIXED)
        identity = message["id"]
        check(message["status"] == "pending", f"the 202 says {message['status']}")
        done = daemon.wait_status(identity, "delivered")
        equal((done["label"], done["to"], done["text"], done["parts"]), ("Livré", TO, MIXED, 1), "GET")
        check(done["delivered_at"] and done["sent_at"], "sent_at and delivered_at are set")
        equal(daemon.call("GET", f"/v1/messages/{identity}", headers={"Accept-Language": "en"})[1]["label"], "Delivered", "label")
        only_message(smsc, MIXED)
        wait_for("the event says delivered", lambda: events.says(identity, "delivered"))
        for kind in ("message.sent", "message.delivered"):
            headers, body = wait_for(f"the webhook {kind}", lambda: hook.about(identity, kind))
            verify_signature(webhook["secret"], headers, body)
        changed = body.replace(b"delivered", b"expired!!")
        try:
            verify_signature(webhook["secret"], headers, changed)
        except Failure:
            return
        raise Failure("the signature also fits a changed body")


def _long_text(bench: Bench, text: str, coding: int, encoding: str) -> None:
    with bench.running("--delay-ms", 10) as (smsc, daemon):
        hook = Hook()
        identity = daemon.send(TO, text, webhook_url=hook.url)["id"]
        done = daemon.wait_status(identity, "delivered")
        equal(done["parts"], 3, "parts")
        equal(only_message(smsc, text, 3)["data_coding"], coding, f"data_coding of {encoding}")
        for submit in smsc.ledger()["submits"]:
            check(len(submit["short_message"]) // 2 <= (160 if coding == 0 else 140), "a part is longer than the air allows")
        equal(len(daemon.get("/v1/messages")["data"]), 1, "messages in the list")
        wait_for("the webhook", lambda: hook.about(identity, "message.delivered"))
        kinds = [body for _, body in hook.calls if b'"message.delivered"' in body]
        equal(len(kinds), 1, "webhooks that say delivered")


def three_part_gsm_text_is_reassembled_exactly_with_one_status(bench: Bench) -> None:
    _long_text(bench, LONG_GSM, 0, "gsm")


def three_part_ucs2_text_with_emoji_is_reassembled_exactly_with_one_status(bench: Bench) -> None:
    _long_text(bench, LONG_UCS2, 8, "ucs2")


def receipts_match(*options: str):
    """A case: whatever the form of ids and receipts, every message ends delivered and every receipt is acknowledged."""

    def case(bench: Bench) -> None:
        with bench.running(*options) as (smsc, daemon):
            wanted = [daemon.send(f"+3361234{n:04d}", f"Colis {n}")["id"] for n in range(12)]
            for identity in wanted:
                daemon.wait_status(identity, "delivered")
            equal(smsc.stats()["submits"], len(wanted), "submissions")
            copies = 2 if "--duplicate-receipts" in options else 1
            wait_for("every receipt is acknowledged",
                     lambda: smsc.stats()["receipts"].get("acknowledged", 0) == copies * len(wanted))
            check("unacknowledged_before_response" not in smsc.stats()["receipts"],
                  "a receipt before its answer is not acknowledged until the answer comes")

    case.__name__ = "receipts_match_with " + " ".join(o.removeprefix("--") for o in options)
    return case


def inbound_message_is_acknowledged_and_stored(bench: Bench) -> None:
    with bench.running() as (smsc, daemon):
        texts = [("Oui, 5 € [ok]", "gsm"), ("D'accord, à bientôt chez Zoë 😀", "ucs2"), (LONG_UCS2, "ucs2")]
        for text, coding in texts:
            answer = smsc.inbound(TO, "36111", text, coding)
            check(answer["acknowledged"], f"deliver_sm answered {answer['statuses']}")

        def stored():
            found = daemon.get("/v1/inbound")["data"]
            return found if len(found) >= len(texts) else None

        found = wait_for("the inbound messages are listed", stored)
        equal(sorted(m["text"] for m in found), sorted(t for t, _ in texts), "inbound texts")
        equal({m["from"] for m in found}, {TO}, "inbound sender")
        equal({m["to"] for m in found}, {"36111"}, "inbound recipient")
        daemon.kill()
        daemon.start()
        equal(len(daemon.get("/v1/inbound")["data"]), len(texts), "inbound messages after kill -9")


def transmitter_and_receiver_binds_work_together(bench: Bench) -> None:
    with bench.running(bind="transmitter+receiver") as (smsc, daemon):
        equal(sorted(b["kind"] for b in smsc.stats()["binds"]), ["bind_receiver", "bind_transmitter"], "binds")
        identity = daemon.send(TO, MIXED)["id"]
        daemon.wait_status(identity, "delivered")
        only_message(smsc, MIXED)
        check(smsc.inbound(TO, "36111", "Merci", "gsm")["acknowledged"], "deliver_sm on the receiver is not acknowledged")
        wait_for("the inbound message is listed", lambda: daemon.get("/v1/inbound")["data"])


def addresses_receipt_request_and_validity_are_set_as_carriers_expect(bench: Bench) -> None:
    with bench.running() as (smsc, daemon):
        senders = {"Relais": ("Relais", 5, 0), "+33612000001": ("33612000001", 1, 1), "36111": ("36111", 3, 0)}
        for number, sender in enumerate(senders):
            identity = daemon.send(f"+3361234567{number}", f"from {number}", **{"from": sender}, validity="2h")["id"]
            daemon.wait_status(identity, "delivered")
        submits = smsc.ledger()["submits"]
        equal([(s["source_addr"], s["source_ton"], s["source_npi"]) for s in submits], list(senders.values()), "senders")
        for number, submit in enumerate(submits):
            equal((submit["destination_addr"], submit["dest_ton"], submit["dest_npi"]), (f"3361234567{number}", 1, 1), "recipient")
            equal(submit["registered_delivery"] & 3, 1, "registered_delivery")
            validity_s = remaining_s(submit["validity_period"])
            check(7200 - 120 <= validity_s <= 7200 + 60, f"validity_period {submit['validity_period']!r} is {validity_s:.0f} s, not 2 h")


def remaining_s(period: str) -> float:
    """Seconds that an SMPP time (3.4 section 7.1.1), relative or absolute, is ahead of now."""
    match = re.fullmatch(r"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d)(\d\d)([R+-])", period)
    check(match, f"validity_period {period!r} is no SMPP time")
    years, months, days, hours, minutes, seconds, tenths, quarters = map(int, match.groups()[:8])
    if match[9] == "R":
        return ((years * 365 + months * 30 + days) * 24 + hours) * 3600 + minutes * 60 + seconds
    offset = datetime.timedelta(minutes=15 * quarters) * (1 if match[9] == "+" else -1)
    then = datetime.datetime(2000 + years, months, days, hours, minutes, seconds, tenths * 100_000, datetime.timezone(offset))
    return then.timestamp() - time.time()


def settings_of_the_account_reach_the_carrier(bench: Bench) -> None:
    """Over SMPP 5.0, with TLVs of the carrier's own; the dissector reads all of it too."""
    account = """version = "5.0"
service_type = "CMT"
system_type = "SMPP"
protocol_id = 0x40
registered_delivery = 17
priority_flag = [0, 2, 2, 3]
source_ton = 5
source_npi = 9
dest_ton = 2
dest_npi = 8
[smpp.thirdparty.tlvs]
"0x1400" = "hex:0A0B"
"0x1401" = "1101234567890"
"0x1402" = "u16:500"
"""
    with bench.running(account=account) as (smsc, daemon):
        for text in (MIXED, LONG_GSM):
            daemon.wait_status(daemon.send(TO, text, **{"from": "Relais"})["id"], "delivered")
        submits = smsc.ledger()["submits"]
        equal(len(submits), 4, "submissions")
        for submit in submits:
            equal({tag: submit["tlvs"].get(tag) for tag in ("0x1400", "0x1401", "0x1402")},
                  {"0x1400": "0a0b", "0x1401": b"1101234567890".hex(), "0x1402": "01f4"}, "TLVs")
            equal([submit[name] for name in ("service_type", "protocol_id", "registered_delivery", "priority_flag",
                                             "source_ton", "source_npi", "dest_ton", "dest_npi")],
                  ["CMT", 0x40, 17, 2, 5, 9, 2, 8], "fields")


def sigterm_unbinds_exits_zero_and_restart_keeps_statuses(bench: Bench) -> None:
    with bench.running() as (smsc, daemon):
        done = [daemon.send(f"+3361234{n:04d}", f"Lettre {n}")["id"] for n in range(20)]
        for identity in done:
            daemon.wait_status(identity, "delivered")
        tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
        waiting = daemon.send(TO, "Demain", send_at=tomorrow.isoformat(timespec="seconds"))["id"]
        equal(daemon.stop(), 0, "exit code after SIGTERM")
        wait_for("unbind at the SMSC", lambda: smsc.stats()["pdus"].get("esme unbind", 0) == 1)
        daemon.start()
        smsc.wait_bound()
        equal({i: daemon.message(i)["status"] for i in done}, dict.fromkeys(done, "delivered"), "statuses after the restart")
        equal(daemon.message(waiting)["status"], "pending", "the scheduled message after the restart")
        equal(smsc.stats()["submits"], len(done), "submissions after the restart")
        daemon.wait_status(daemon.send(TO, "Encore")["id"], "delivered")


def _post_until_dead(daemon: Daemon, numbers: range) -> dict[str, str]:
    """Posts one message per number over one connection; {id: recipient} of the acknowledged ones."""
    taken: dict[str, str] = {}
    for number in numbers:
        to = f"+33612{number:06d}"
        try:
            taken[daemon.send(to, f"Message {number}")["id"]] = to
        except (OSError, http.client.HTTPException):
            break  # No 202, no promise: the daemon was killed.
    return taken


def _crash(bench: Bench, kill_while_posting: bool) -> None:
    with bench.running("--delay-ms", 300, window=CRASH_WINDOW) as (smsc, daemon), concurrent.futures.ThreadPoolExecutor(8) as pool:
        share = CRASH_MESSAGES // 4
        posts = [pool.submit(_post_until_dead, daemon, range(n, n + share)) for n in range(0, CRASH_MESSAGES, share)]
        if not kill_while_posting:
            concurrent.futures.wait(posts, timeout=120)
        wait_for("submissions are in flight", lambda: smsc.stats()["submits"] >= 2 * CRASH_WINDOW, alive=daemon.alive)
        daemon.kill()
        acknowledged = {i: to for post in posts for i, to in post.result(60).items()}
        before = smsc.stats()["submits"]
        check(acknowledged, "nothing was acknowledged before the kill")
        check(kill_while_posting or len(acknowledged) == CRASH_MESSAGES, f"only {len(acknowledged)} messages were acknowledged")
        check(before < len(acknowledged), "nothing was left in flight at the kill, so the case proves nothing")
        daemon.start()
        smsc.wait_bound()
        left, until = set(acknowledged), time.monotonic() + 180
        while left and time.monotonic() < until:
            left = {i for i in left if daemon.message(i)["status"] != "delivered"}
            time.sleep(0.3)
        states = collections.Counter((m["status"], m.get("why"), m.get("reason")) for m in map(daemon.message, left))
        check(not left, f"{len(left)} acknowledged messages are not delivered 180 s after the restart: {dict(states)}")
        submitted = collections.Counter("+" + s["destination_addr"] for s in smsc.ledger()["submits"])
        equal([to for to in acknowledged.values() if not submitted[to]], [], "delivered without a submission")
        again = sum(submitted.values()) - len(submitted)
        check(again <= CRASH_WINDOW, f"{again} messages were submitted again, the window is {CRASH_WINDOW}")
        print(f"       {len(acknowledged)} acknowledged, {before} submitted at the kill, {again} submitted again", flush=True)


def kill_9_with_500_messages_in_flight_loses_none(bench: Bench) -> None:
    _crash(bench, kill_while_posting=False)


def kill_9_while_messages_are_posted_loses_none_acknowledged(bench: Bench) -> None:
    _crash(bench, kill_while_posting=True)


CASES = [
    text_arrives_exactly_and_is_delivered_over_get_events_and_signed_webhook,
    three_part_gsm_text_is_reassembled_exactly_with_one_status,
    three_part_ucs2_text_with_emoji_is_reassembled_exactly_with_one_status,
    *(receipts_match("--id-form", form, "--receipt", receipt)
      for form in ("decimal", "hex", "receipt-hex", "receipt-dec") for receipt in ("text", "tlv", "both")),
    receipts_match("--receipt-before-response"),
    receipts_match("--receipt-before-response", "--id-form", "receipt-hex", "--receipt", "text"),
    receipts_match("--duplicate-receipts"),
    inbound_message_is_acknowledged_and_stored,
    transmitter_and_receiver_binds_work_together,
    addresses_receipt_request_and_validity_are_set_as_carriers_expect,
    settings_of_the_account_reach_the_carrier,
    sigterm_unbinds_exits_zero_and_restart_keeps_statuses,
    kill_9_with_500_messages_in_flight_loses_none,
    kill_9_while_messages_are_posted_loses_none_acknowledged,
    *goals.CASES,
    *kills.CASES,
    *hostile.CASES,
    *second.CASES,
    *mailing.CASES,
    *modem_clients.CASES,
    *readme.CASES,
]


class Run:
    """Counts claims and prints a line for each."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def claim(self, name: str, proof, logs=lambda: []) -> None:
        began = time.monotonic()
        try:
            proof()
        except Exception as error:  # noqa: BLE001: any error of a case is that case's failure
            self.failed += 1
            print(f"FAILED {name} ({time.monotonic() - began:.1f} s)\n  {error}", flush=True)
            if not isinstance(error, Failure):
                traceback.print_exc(file=sys.stdout)
            for log in logs():
                print(f"  the end of {log.name}:\n{tail(log)}", flush=True)
        else:
            self.passed += 1
            print(f"ok     {name} ({time.monotonic() - began:.1f} s)", flush=True)


def logs_tell_no_text_number_or_secret(root: pathlib.Path, whole_run: bool) -> None:
    """Over every gateway of the run, whatever its log level; a panic in any of them is charged here too."""
    whole_number = re.compile(r"(?<!\d)(?:\+|00)?33[67]\d{8}(?!\d)|(?<!\d)0[67]\d{8}(?!\d)")
    # Our own ids are random: every few thousand of them hold the digits of a French mobile number by chance.
    an_id = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")
    told = [t for t in texts if len(t) >= 7]
    logs, complaints = list(root.rglob("relais*.log")), []
    for log in logs:
        for number, line in enumerate(log.read_text(errors="replace").splitlines(), 1):
            where = f"{log.relative_to(root)}:{number}"
            if "panicked at" in line:
                complaints.append(f"{where} a panic: {line:.200}")
            if whole_number.search(an_id.sub("an id", line)):
                complaints.append(f"{where} a whole number: {line:.200}")
            if ADMIN_KEY in line or PASSWORD in line:
                complaints.append(f"{where} a secret: {line:.200}")
            complaints += [f"{where} a text: {line:.200}" for text in told if text[:40] in line]
    check(logs or not whole_run, "there are no logs")
    check(not complaints, f"{len(complaints)} complaints:\n  " + "\n  ".join(complaints[:20]))


def tshark_finds_nothing_malformed(capture: Capture, totals: collections.Counter, whole_run: bool) -> None:
    """Also that it saw at least what the SMSCs counted: an empty or a foreign capture proves nothing."""
    capture.stop()
    counts, complaints = capture.judge()
    print(f"       {sum(counts.values())} SMPP PDUs: " + ", ".join(f"{n} {c}" for n, c in sorted(counts.items())), flush=True)
    check(not complaints, f"{len(complaints)} complaints:\n  " + "\n  ".join(complaints[:20]))
    check(sum(counts.values()) > 0 or not totals, "tshark saw no SMPP at all")
    for shown, name in (("Submit_sm", "esme submit_sm"), ("Submit_sm - resp", "smsc submit_sm_resp"),
                        ("Deliver_sm", "smsc deliver_sm"), ("Deliver_sm - resp", "esme deliver_sm_resp")):
        least = LEAST_PDUS if whole_run else 0
        check(totals[name] >= least, f"the SMSCs counted {totals[name]} {name}, a whole run has at least {least}")
        check(counts[shown] >= totals[name], f"tshark saw {counts[shown]} {shown}, the SMSCs counted {totals[name]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="", help="only cases whose name holds this")
    parser.add_argument("--self-test", action="store_true", help="only prove the SMSC and the dissector, without a gateway")
    parser.add_argument("--rounds", type=int, default=1, help="how many times as long the kill loops are")
    parser.add_argument("--keep", action="store_true", help="keep the folders with logs and capture")
    options = parser.parse_args()
    # An end from outside must also run the handlers that end our children.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = pathlib.Path(tempfile.mkdtemp(prefix="relais-third-party-"))
    run, ports, totals = Run(), Ports(), collections.Counter()
    unseen = Ports(beside=ports)
    binary = options.binary.resolve()
    if not options.self_test and not binary.is_file():
        print(f"FAILED {binary} does not exist\n0 passed, 1 failed")
        return 1
    try:
        for name, proof in smsc_self_test.cases(root):
            run.claim(name, proof)
        chosen = [] if options.self_test else [c for c in CASES if options.only in c.__name__]
        check(options.self_test or chosen, f"no case is named {options.only!r}")
        if chosen:
            capture = Capture(root, ports)
            for number, case in enumerate(chosen):
                folder = root / f"{number:02d}"
                folder.mkdir()
                bench = Bench(binary, folder, ports, unseen, totals, options.rounds)
                run.claim(case.__name__, lambda: case(bench), lambda: sorted(folder.glob("*.log")))
            run.claim(logs_tell_no_text_number_or_secret.__name__, lambda: logs_tell_no_text_number_or_secret(root, chosen == CASES))
            run.claim(tshark_finds_nothing_malformed.__name__, lambda: tshark_finds_nothing_malformed(capture, totals, chosen == CASES))
    except Failure as failure:
        run.failed += 1
        print(f"FAILED {failure}")
    finally:
        if options.keep or run.failed:
            print(f"logs and capture are in {root}")
        else:
            shutil.rmtree(root)
    print(f"{run.passed} passed, {run.failed} failed", flush=True)
    return 0 if run.passed and not run.failed else 1


if __name__ == "__main__":
    sys.exit(main())
