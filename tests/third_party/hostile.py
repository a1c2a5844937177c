"""SMSCs that are broken, hostile, silent or slow: the gateway neither dies, swells nor hammers, and comes back.

The peer here is a plain socket server that accepts the bind and then sends what no SMSC should. Its ports are not
captured: the dissector would rightly complain.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import pathlib
import random
import socket
import statistics
import struct
import threading
import time

from harness import PASSWORD, Daemon, Smsc, check, equal, texts, wait_for

BIND_TRANSCEIVER, SUBMIT_SM, DELIVER_SM, UNBIND, ENQUIRE_LINK, GENERIC_NACK = 0x09, 0x04, 0x05, 0x06, 0x15, 0x80000000
RESPONSE = 0x80000000
BACK_S = 15
RSS_LIMIT = 64 << 20
INVALID_PASSWORD = 0x0E
# Beyond the response_timeout of these cases, which is 1 s.
LATE_S = 2.5


def pdu(command: int, body: bytes = b"", sequence: int = 1, status: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">IIII", 16 + len(body) if length is None else length, command, status, sequence) + body


def deliver(message: bytes = b"Bonjour", *, esm_class: int = 0, coding: int = 0, sm_length: int | None = None,
            source: bytes = b"33612345678\0", tail: bytes = b"") -> bytes:
    """The body of a deliver_sm, as wrong as its arguments."""
    length = len(message) if sm_length is None else sm_length
    return (b"\0\1\1" + source + b"\3\0" + b"36111\0" + bytes([esm_class, 0, 0]) + b"\0\0" + bytes([0, 0, coding, 0, length])
            + message + tail)


RECEIPT = b"id:1 sub:001 dlvrd:001 submit date:2601010000 done date:2601010000 stat:DELIVRD err:000 text:"
MALFORMED = {
    "no body": b"",
    "one octet": b"\0",
    "ends in the source": b"\0\1\1" + b"3361234",
    "source without NUL": b"\0\1\1" + b"3" * 200,
    "service_type without NUL": b"x" * 40,
    "every octet 255": b"\xff" * 60,
    "ends before sm_length": deliver()[:-8],
    "sm_length 200 for 7 octets": deliver(sm_length=200),
    "sm_length 0 for 7 octets": deliver(sm_length=0),
    "sm_length 3 for 7 octets": deliver(sm_length=3),
    "TLV runs over the end": deliver(tail=struct.pack(">HH", 0x1E, 60_000) + b"12"),
    "TLV header cut": deliver(tail=b"\x04\x24\x00"),
    "message_payload of length 0": deliver(b"", tail=struct.pack(">HH", 0x424, 0)),
    "message_payload of 60000 octets": deliver(b"", tail=struct.pack(">HH", 0x424, 60_000) + b"A" * 60_000),
    "10000 empty TLVs": deliver(tail=struct.pack(">HH", 0x1401, 0) * 10_000),
    "header longer than the message": deliver(b"\x50abc", esm_class=0x40),
    "header alone": deliver(b"\x05\x00\x03\x01\x01\x01", esm_class=0x40),
    "header of length 0": deliver(b"\0", esm_class=0x40),
    "empty with a header announced": deliver(b"", esm_class=0x40),
    "part 9 of 2": deliver(b"\x05\x00\x03\x01\x02\x09abc", esm_class=0x40),
    "part 0 of 0": deliver(b"\x05\x00\x03\x01\x00\x00abc", esm_class=0x40),
    "element over the end of the header": deliver(b"\x03\x00\xff\x01abc", esm_class=0x40),
    "half a surrogate pair": deliver(b"\xd8\x3d", coding=8),
    "odd UCS-2": deliver(b"\0A\0", coding=8),
    "GSM escape at the end": deliver(b"abc\x1b"),
    "undefined data_coding": deliver(b"\x80\xff\0", coding=0xF7),
    "sender of 66 octets": deliver(source=b"9" * 66 + b"\0"),
    "sender of controls and markup": deliver(source=b"<b>\r\n\x1b[31m\xff\0"),
    "empty receipt": deliver(b"", esm_class=4),
    "receipt of binary": deliver(bytes(range(256))[:254], esm_class=4),
    "receipt id of 250 octets": deliver(b"id:" + b"9" * 247, esm_class=4),
    "receipt with id TLV of length 0": deliver(RECEIPT, esm_class=4, tail=struct.pack(">HH", 0x1E, 0)),
    "receipt with message_state 255": deliver(RECEIPT, esm_class=4, tail=struct.pack(">HHB", 0x427, 1, 255)),
    "receipt with message_state of 4 octets": deliver(RECEIPT, esm_class=4, tail=struct.pack(">HHI", 0x427, 4, 2)),
}


class Peer:
    """A socket server in a thread; `behaviour` decides what a new session meets."""

    def __init__(self) -> None:
        self.binds: list[float] = []
        self.session: Session | None = None
        self.behaviour = "good"
        self.tasks: set[asyncio.Task] = set()
        # The sequence number of our last enquire_link; none of an attack is as high.
        self.asked = 1 << 24
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self, reader, writer)
        try:
            await session.serve()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            session.over = True
            writer.transport.abort()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def send(self, octets: bytes) -> None:
        """To the newest session, which is waited for."""
        def ready() -> Session | None:
            return self.session if self.session and not self.session.over else None
        session = wait_for("a bound session", ready, BACK_S)
        with contextlib.suppress(OSError):
            self.run(session.send(octets))

    def later(self, work) -> None:
        """Runs something beside the sessions; the loop keeps only weak references."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def stop(self) -> None:
        """Ends every session; may be called again."""
        async def close() -> None:
            self.server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        if self.loop.is_running():
            self.run(close())
            self.loop.call_soon_threadsafe(self.loop.stop)


class Session:
    """One connection; keeps what the gateway sent."""

    def __init__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer, self.reader, self.writer = peer, reader, writer
        self.seen: list[tuple[int, int, int]] = []
        self.over = False

    async def send(self, octets: bytes) -> None:
        if self.writer.is_closing():
            return
        self.writer.write(octets)
        # A peer that does not read us must not stop us.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.writer.drain(), 5)

    async def serve(self) -> None:
        while True:
            length, command, status, sequence = struct.unpack(">IIII", await self.reader.readexactly(16))
            body = await self.reader.readexactly(length - 16)
            behaviour = self.peer.behaviour
            if command == BIND_TRANSCEIVER:
                self.peer.binds.append(time.monotonic())
                if behaviour.startswith("bind:"):
                    self.writer.write(bytes.fromhex(behaviour.removeprefix("bind:")))
                    continue
                if behaviour == "wrong password":
                    self.writer.write(pdu(command | RESPONSE, b"", sequence, INVALID_PASSWORD))
                    continue
                self.writer.write(pdu(command | RESPONSE, b"HOSTILE\0", sequence))
                self.peer.session = self
            elif behaviour == "silent":
                continue
            elif behaviour == "deaf":
                await asyncio.sleep(3600)
            elif command == ENQUIRE_LINK and behaviour != "no enquire":
                self.writer.write(pdu(command | RESPONSE, b"", sequence))
            elif command == SUBMIT_SM and behaviour == "late":
                self.peer.later(self._answer_late(sequence, body))
            elif command == SUBMIT_SM and behaviour != "no answer":
                self.writer.write(pdu(command | RESPONSE, b"%d\0" % sequence, sequence))
            self.seen.append((command, status, sequence))

    async def _answer_late(self, sequence: int, submit: bytes) -> None:
        """The answer after the gateway has stopped waiting for it, then the receipt, with the id in the other base."""
        await asyncio.sleep(LATE_S)
        number = 0xABC000 + sequence
        await self.send(pdu(SUBMIT_SM | RESPONSE, b"%x\0" % number, sequence))
        text = b"id:%d sub:001 dlvrd:001 submit date:2601010000 done date:2601010000 stat:DELIVRD err:000 text:" % number
        # service_type, then two addresses of two octets and a C-string each.
        handset = submit.split(b"\0", 1)[1][2:].split(b"\0", 1)[1][2:].split(b"\0", 1)[0]
        await self.send(pdu(DELIVER_SM, deliver(text, esm_class=4, source=handset + b"\0"), 1_000 + sequence))


def rss(daemon: Daemon, field: str = "VmRSS") -> int:
    for line in pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    raise AssertionError(field)


def back(peer: Peer, daemon: Daemon, after: str) -> float:
    """Seconds until the gateway answers an enquire_link of the peer: it is bound and hears us."""
    began, first = time.monotonic(), peer.asked + 1

    def answered() -> bool:
        session = peer.session
        if session is None or session.over:
            return False
        peer.asked += 1
        with contextlib.suppress(OSError):
            peer.run(session.send(pdu(ENQUIRE_LINK, b"", peer.asked)))
        time.sleep(0.02)
        return any(command == ENQUIRE_LINK | RESPONSE and number >= first for command, _, number in session.seen)

    peer.behaviour = "good"
    wait_for(f"the link is back after {after}", answered, BACK_S, daemon.alive)
    return time.monotonic() - began


@contextlib.contextmanager
def besieged(bench, grace: str = "300ms", **options: object):
    """(peer, gateway, good SMSC): the gateway has a hostile account for most numbers and a good one for +33699.

    What is in doubt rests for `grace` before it is sent again.
    """
    peer = Peer()
    second = f"""
[smpp.second]
host = "127.0.0.1"
port = {{port}}
system_id = "relais"
password = "{PASSWORD}"
reconnect = "100ms..1s"

[operators.second]
prefixes = ["+33699"]
route = ["second"]

[delivery]
in_doubt_grace = "{grace}"
"""
    good = Smsc(bench.folder, bench.unseen, "--delay-ms", 5)
    daemon = Daemon(bench.binary, bench.folder, peer.port, window=10, log_level="debug",
                    account='enquire_link = "1s"\nresponse_timeout = "1s"', more=second.format(port=good.port, grace=grace), **options)
    try:
        daemon.start()
        good.wait_bound()
        yield peer, daemon, good
        daemon.alive()
    finally:
        if daemon.process.poll() is None:
            daemon.kill()
        good.stop()
        with contextlib.suppress(Exception):
            peer.stop()


class Pace:
    """Sends over the good account all the while and knows how long each message took to its SMSC."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon, self.began, self.ended = daemon, {}, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.ended.wait(0.1):
            to = f"33699{len(self.began):06d}"
            self.began[to] = time.time()
            try:
                self.daemon.send(f"+{to}", f"Bon compte {to[-6:]}")
            except OSError:
                return  # The gateway is gone, which is the case's failure.

    def took(self, good: Smsc, least: int) -> list[float]:
        """Milliseconds from POST to submit_sm, sorted."""
        wait_for("messages of the good account", lambda: len(self.began) >= least, alive=self.daemon.alive)
        self.ended.set()
        self.thread.join(30)
        wait_for("all of the good account", lambda: good.stats()["submits"] >= len(self.began), alive=self.daemon.alive)
        return sorted((s["at"] - self.began[s["destination_addr"]]) * 1000 for s in good.ledger()["submits"])


def hostile_smsc_neither_kills_swells_nor_slows_the_gateway(bench) -> None:
    noise = random.Random(4711)
    lengths = {"0": 0, "1": 1, "15": 15, "2 GB": 1 << 31, "4 GB - 1": 0xFFFFFFFF}
    with besieged(bench) as (peer, daemon, good):
        wait_for("the hostile session", lambda: peer.session, alive=daemon.alive)
        calm, pace = rss(daemon), Pace(daemon)
        took: dict[str, float] = {}

        def attack(name: str, octets: bytes, close: bool = False) -> None:
            peer.send(octets)
            if close:
                peer.run(_close(peer))
            took[name] = back(peer, daemon, name)

        answers = {}
        for number, (name, body) in enumerate(MALFORMED.items(), 0x2000):
            first = peer.session
            attack(name, pdu(DELIVER_SM, body, number))
            # An enquire_link is answered at once, a message once it is stored.
            answered = lambda: [s[1] for s in first.seen if s[2] == number and s[0] in (DELIVER_SM | RESPONSE, GENERIC_NACK)]
            wait_for(f"an answer to {name}", lambda: first.over or answered(), BACK_S, daemon.alive)
            answers[name] = next(iter(answered()), None)
        taken = [name for name, status in answers.items() if status == 0 and "receipt" not in name]
        equal(len(daemon.listed("/v1/inbound")), len(taken), f"stored of {len(taken)} broken messages that were acknowledged: {taken}")
        for name, length in lengths.items():
            attack(f"command_length {name}", pdu(DELIVER_SM, b"x" * 64, 78, length=length))
        for size in (16, 100, 5_000, 200_000):
            attack(f"{size} random octets", noise.randbytes(size))
        whole = pdu(DELIVER_SM, deliver(), 79)
        for cut in (1, 4, 15, 16, 17, len(whole) - 1):
            attack(f"cut after {cut} octets", whole[:cut], close=True)
        for _ in range(3):
            attack("a random body in a right frame", b"".join(
                pdu(noise.choice([DELIVER_SM, 0x103, 0x0B, 0x102]), noise.randbytes(noise.randrange(300)), n) for n in range(20)))
        attack("responses to nothing", b"".join(pdu(c | RESPONSE, b"x\0", n) for n in range(500) for c in (SUBMIT_SM, 0x15, 0)))
        peer.behaviour = "bind:" + pdu(BIND_TRANSCEIVER | RESPONSE, b"x", length=0xFFFFFFFF).hex()
        peer.run(_close(peer))
        wait_for("another bind", lambda count=len(peer.binds): len(peer.binds) > count, BACK_S, daemon.alive)
        took["bind answered with 4 GB"] = back(peer, daemon, "a bind answered with 4 GB")
        # What is wrong with a PDU is worth a line; a flood of wrong ones is not worth a full disk.
        logged = daemon.log.stat().st_size
        attack("a flood of broken PDUs among whole ones", b"".join(
            pdu(DELIVER_SM, body, n) + pdu(ENQUIRE_LINK, b"", n) for n in range(5_000) for body in (b"", deliver(b"", esm_class=4))))
        logged = daemon.log.stat().st_size - logged
        swollen = rss(daemon, "VmHWM") - calm
        paces = pace.took(good, 40)
        given = collections.Counter(answers.values())
        print("       answers to broken deliver_sm: " + ", ".join(
            f"{count} with {'nothing' if status is None else f'status {status}'}" for status, count in given.items())
            + f"\n       {len(took)} attacks, {len(peer.binds)} binds; back after {statistics.median(took.values()):.2f} s, at most {max(took.values()):.2f} s "
              f"({max(took, key=took.get)}); RSS {calm >> 20} MiB, at most {swollen >> 20} MiB more; the good account: "
              f"{len(paces)} messages, median {statistics.median(paces):.1f} ms, most {paces[-1]:.1f} ms", flush=True)
        check(swollen < RSS_LIMIT, f"RSS grew by {swollen >> 20} MiB")
        check(logged < 256 << 10, f"10000 broken PDUs made {logged >> 10} KiB of log")
        check(paces[-1] < 5_000, f"a message of the good account waited {paces[-1]:.0f} ms")
        port = peer.port
        peer.stop()
        smsc = Smsc(bench.folder, bench.unseen, port=port)
        try:
            daemon.wait_status(daemon.send("+33612345678", "Après la tempête")["id"], "delivered")
        finally:
            smsc.stop()


async def _close(peer: Peer, reset: bool = False) -> None:
    session = peer.session
    if session is None:
        return
    if reset:
        # Closing with a linger of 0 s is a reset.
        session.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        session.writer.transport.abort()
    else:
        session.writer.close()
    session.over = True


def unknown_commands_are_nacked_on_a_kept_session(bench) -> None:
    with besieged(bench) as (peer, daemon, _):
        wait_for("the session", lambda: peer.session, alive=daemon.alive)
        session, commands = peer.session, [0x0A, 0x10, 0x99, 0x0FFF, 0x00010200, 0x7FFFFFFF]
        for number, command in enumerate(commands):
            peer.send(pdu(command, b"whatever\0", 500 + number))
        wait_for("an answer to each", lambda: len([s for s in session.seen if s[2] >= 500]) >= len(commands), alive=daemon.alive)
        equal([s for s in session.seen if s[2] >= 500], [(GENERIC_NACK, 3, 500 + n) for n in range(len(commands))], "answers")
        back(peer, daemon, "unknown commands")
        check(peer.session is session and len(peer.binds) == 1, "the session was not kept")


def silent_and_deaf_links_are_replaced_and_lose_nothing(bench) -> None:
    """enquire_link and response_timeout are 1 s each here: the goal is 2 s and a bind."""
    with besieged(bench) as (peer, daemon, good):
        wait_for("the session", lambda: peer.session, alive=daemon.alive)
        calm, pace, took, ids = rss(daemon), Pace(daemon), {}, []
        for behaviour in ("silent", "deaf", "flood", "reset", "unbind", "no enquire", "no answer"):
            count, began = len(peer.binds), time.monotonic()
            peer.behaviour = {"flood": "deaf", "reset": "no answer", "unbind": "no answer"}.get(behaviour, behaviour)
            ids += [daemon.send(f"+3361288{len(ids) + n:04d}", f"Sous {behaviour}")["id"] for n in range(20)]
            if behaviour == "flood":
                # 16 MB of questions whose answers nobody reads.
                peer.send(pdu(ENQUIRE_LINK, b"", 9) * 500_000 + pdu(DELIVER_SM, deliver(), 9) * 100_000)
            if behaviour in ("reset", "unbind"):
                session, before = peer.session, len([s for s in peer.session.seen if s[0] == SUBMIT_SM])
                wait_for("submissions in flight", lambda: len([s for s in session.seen if s[0] == SUBMIT_SM]) >= before + 3, alive=daemon.alive)
                began = time.monotonic()
                if behaviour == "reset":
                    peer.run(_close(peer, reset=True))
                else:
                    peer.send(pdu(UNBIND, b"", 77))
                    wait_for("unbind_resp", lambda: (UNBIND | RESPONSE, 0, 77) in session.seen, BACK_S, daemon.alive)
            if behaviour != "no answer":
                wait_for(f"a new bind after {behaviour}", lambda: len(peer.binds) > count, BACK_S, daemon.alive)
            else:
                time.sleep(1.5)  # Every submission of the window runs into its deadline.
            took[behaviour] = time.monotonic() - began
            back(peer, daemon, behaviour)
            for identity in ids:
                daemon.wait_status(identity, "sent")
        swollen, paces = rss(daemon, "VmHWM") - calm, pace.took(good, 10)
        print("       replaced after " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items() if name != "no answer")
              + f"; RSS {calm >> 20} MiB, at most {swollen >> 20} MiB more; the good account: {len(paces)} messages, "
              f"median {statistics.median(paces):.1f} ms, most {paces[-1]:.1f} ms", flush=True)
        check(swollen < RSS_LIMIT, f"RSS grew by {swollen >> 20} MiB")
        check(paces[-1] < 5_000, f"a message of the good account waited {paces[-1]:.0f} ms")


def late_answers_still_bind_their_ids_and_nothing_is_sent_twice(bench) -> None:
    """Answers after 2.5 s where 1 s is awaited; receipts in decimal where the answers were hexadecimal."""
    with besieged(bench, grace="20s") as (peer, daemon, _):
        wait_for("the session", lambda: peer.session, alive=daemon.alive)
        session, peer.behaviour = peer.session, "late"
        ids = [daemon.send(f"+3361277{n:04d}", f"En retard {n}")["id"] for n in range(10)]
        wait_for("doubt", lambda: daemon.message(ids[0]).get("why") == "in_doubt", alive=daemon.alive)
        for identity in ids:
            done = daemon.wait_status(identity, "delivered")
            check(not done.get("maybe_duplicate"), "a late answer leaves no doubt")
        equal(len([s for s in session.seen if s[0] == SUBMIT_SM]), len(ids), "submissions")
        check(peer.session is session, "the session was not kept")


def wrong_password_is_named_and_not_hammered(bench) -> None:
    peer = Peer()
    peer.behaviour = "wrong password"
    daemon = Daemon(bench.binary, bench.folder, peer.port)
    try:
        daemon.start()
        wait_for("a bind", lambda: peer.binds, alive=daemon.alive)
        identity = daemon.send("+33612345678", "Sans transporteur")["id"]

        def refused() -> dict | None:
            channel = daemon.get("/v1/channels")["data"][0]
            return channel if channel.get("cause") else None

        channel = wait_for("/v1/channels says why", refused, alive=daemon.alive)
        check("ESME_RINVPASWD" in channel["cause"] and not channel["up"], f"/v1/channels says {channel}")
        until = peer.binds[0] + 60
        time.sleep(max(0, until - time.monotonic()))
        count = len([b for b in peer.binds if b <= until])
        loud = [line for line in daemon.log.read_text().splitlines() if "ERROR" in line]
        print(f"       {count} binds in 60 s, {len(loud)} loud line(s); {channel['cause']!r}", flush=True)
        check(count <= 2, f"{count} binds in 60 s with a wrong password")
        check(len(loud) == 1 and "check the account" in loud[0], f"the log is loud {len(loud)} times")
        message = daemon.message(identity)
        equal((message["status"], message.get("why")), ("pending", "no_channel"), "the waiting message")
        equal(daemon.call("GET", "/readyz")[0], 200, "/readyz")
    finally:
        if daemon.process.poll() is None:
            daemon.stop()
        peer.stop()


texts.add("Bonjour")
CASES = [
    hostile_smsc_neither_kills_swells_nor_slows_the_gateway,
    unknown_commands_are_nacked_on_a_kept_session,
    silent_and_deaf_links_are_replaced_and_lose_nothing,
    late_answers_still_bind_their_ids_and_nothing_is_sent_twice,
    wrong_password_is_named_and_not_hammered,
]
