"""An SMSC that is not ours: the PyPI package smpp34 behind a control port over HTTP.

The gateway's own simulator shares its reading of SMPP; this one does not. smpp34's Python events leave
some fields out (validity_period, the kind of bind, unbind itself), so a tap stands in front of
its server: it cuts the stream into PDUs, passes them on, and has smpp34's own decoder read each submit_sm.
What answers and sends receipts is the smpp34 server alone. One thing the tap changes: smpp34 1.5.0 answers
the deliver_sm_resp of a receiver with generic_nack and never takes it, so its server is told that a
bind_receiver is a bind_transceiver. The peer sees the kind of bind it asked for.

    python smsc.py --id-form receipt-hex --receipt tlv --delay-ms 60

prints one JSON line {"port", "ctl_port"} when ready. Control: GET /ledger, GET /stats,
POST /mo {from, to, text, coding: "gsm"|"ucs2"}, POST /receipt {id, stat} (one more receipt of a submission,
by the id of its answer), POST /password {password} (from now on; every session is cut), POST /reset. SIGTERM ends it.
smpp34's server lets everybody bind, so a password is the tap's business too.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import signal
import socket
import struct
import time

import smpp34

import sms_text

COMMANDS = {
    0x01: "bind_receiver", 0x02: "bind_transmitter", 0x09: "bind_transceiver", 0x04: "submit_sm",
    0x05: "deliver_sm", 0x06: "unbind", 0x15: "enquire_link", 0x03: "query_sm", 0x08: "cancel_sm",
    0x07: "replace_sm", 0x21: "submit_multi", 0x103: "data_sm", 0x0B: "outbind",
}
FIRST_ID = 3_000_000_001  # The hexadecimal form has letters, the decimal one does not fit 31 bits.
BIND_TRANSCEIVER, BIND_RECEIVER_RESP = 0x09, 0x80000001
ESME_RINVPASWD = 0x0E
MAX_PDU = 64 * 1024
MESSAGE_STATES = {"ENROUTE": 1, "DELIVRD": 2, "EXPIRED": 3, "DELETED": 4, "UNDELIV": 5, "ACCEPTD": 6, "UNKNOWN": 7, "REJECTD": 8}


def command_name(command_id: int) -> str:
    if command_id == 0x80000000:
        return "generic_nack"
    name = COMMANDS.get(command_id & 0x7FFFFFFF, f"0x{command_id:08x}")
    return name + "_resp" if command_id & 0x80000000 else name


class Ledger:
    """Every submit_sm that came in, in the order of the wire, and the messages they make up."""

    def __init__(self) -> None:
        self.submits: list[dict] = []
        self.unanswered: dict[tuple, collections.deque[dict]] = {}
        self.pdus: collections.Counter[str] = collections.Counter()
        self.binds: list[dict] = []
        self.complaints: list[str] = []
        self.connections = 0
        self.refused_binds = 0
        self.receipts = collections.Counter()
        self.reassembled: list[dict] = []
        self.open: dict[tuple, dict] = {}

    def submit(self, pdu: smpp34.SubmitSm, connection: int) -> None:
        tlvs = {t.tag: t.value for t in pdu.tlvs}
        octets = pdu.short_message or tlvs.get(smpp34.TLV_MESSAGE_PAYLOAD, b"")
        entry = {
            "at": time.time(), "connection": connection, "sequence_number": pdu.sequence_number, "service_type": pdu.service_type,
            "source_addr": pdu.source_addr, "source_ton": pdu.source_addr_ton, "source_npi": pdu.source_addr_npi,
            "destination_addr": pdu.destination_addr, "dest_ton": pdu.dest_addr_ton, "dest_npi": pdu.dest_addr_npi,
            "esm_class": pdu.esm_class, "protocol_id": pdu.protocol_id, "priority_flag": pdu.priority_flag,
            "data_coding": pdu.data_coding, "registered_delivery": pdu.registered_delivery,
            "validity_period": pdu.validity_period, "schedule_delivery_time": pdu.schedule_delivery_time,
            "short_message": octets.hex(), "tlvs": {f"0x{t:04x}": v.hex() for t, v in tlvs.items()},
            "text": None, "error": None, "message_id": None, "answered_at": None, "receipt_acknowledged_at": None,
        }
        try:
            part = sms_text.split_header(pdu.esm_class, octets)
            if part.reference is None and smpp34.TLV_SAR_MSG_REF_NUM in tlvs:
                number = lambda tag: int.from_bytes(tlvs[tag], "big")
                part = sms_text.Part(number(smpp34.TLV_SAR_MSG_REF_NUM), number(smpp34.TLV_SAR_TOTAL_SEGMENTS),
                                     number(smpp34.TLV_SAR_SEGMENT_SEQNUM), octets)
            entry |= {"reference": part.reference, "total": part.total, "number": part.number,
                      "text": sms_text.decode(pdu.data_coding, part.body)}
            self._reassemble(entry)
        except (ValueError, KeyError) as error:
            entry["error"] = f"{type(error).__name__}: {error}"
        self.submits.append(entry)
        self.unanswered.setdefault(self._key(pdu), collections.deque()).append(entry)

    def _reassemble(self, entry: dict) -> None:
        """A part joins the open message of its (from, to, reference, total) or begins a new one."""
        key = (entry["source_addr"], entry["destination_addr"], entry["reference"], entry["total"])
        message = self.open.get(key) if entry["reference"] is not None else None
        if message is None or message["complete"]:
            message = {"from": key[0], "to": key[1], "parts": key[3], "texts": {}, "repeated": 0,
                       "data_coding": entry["data_coding"], "complete": False, "text": None}
            self.open[key] = message
            self.reassembled.append(message)
        if entry["number"] in message["texts"]:
            message["repeated"] += 1
        message["texts"][entry["number"]] = entry["text"]
        if len(message["texts"]) == message["parts"]:
            message["complete"] = True
            message["text"] = "".join(message["texts"][n] for n in range(1, message["parts"] + 1))

    def take(self, event: smpp34.SubmitSmEvent) -> dict:
        """The entry that the server's event speaks of; the tap has always seen it first."""
        queue = self.unanswered.get(self._key(event))
        if not queue:
            self.complaints.append("the server raised a submit_sm that the tap had not seen")
            return {}
        return queue.popleft()

    @staticmethod
    def _key(pdu) -> tuple:
        return pdu.source_addr, pdu.destination_addr, pdu.esm_class, pdu.data_coding, bytes(pdu.short_message)

    def json(self) -> dict:
        return {"submits": self.submits,
                "messages": [{k: v for k, v in m.items() if k != "texts"} for m in self.reassembled]}


class Smsc:
    """The smpp34 server with its tap, and the receipts it owes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ledger = Ledger()
        self.sessions: dict[str, smpp34.Esme] = {}
        self.ended: dict[str, asyncio.Future] = {}
        self.next_id = FIRST_ID
        self.answered: dict[str, tuple] = {}
        self.receipt_window = asyncio.Semaphore(50)
        self.tasks: set[asyncio.Task] = set()
        self.links: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        self.inner_port = free_port()  # smpp34 cannot say which port it was given for 0.
        self.server = smpp34.Server(host="127.0.0.1", port=self.inner_port, system_id="THIRDPARTY")
        await self.server.start()
        listener = await asyncio.start_server(self.tap, "127.0.0.1", self.options.port)
        self.spawn(self.events())
        return listener.sockets[0].getsockname()[1]

    def spawn(self, work) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def tap(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ledger.connections += 1
        first = b""
        if self.options.password is not None:
            first = await self.bind_allowed(reader, writer)
            if not first:
                return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.inner_port)
        except OSError:
            writer.close()
            return
        link = {"kind": None, "number": self.ledger.connections}
        self.links.add(writer)
        await asyncio.gather(self.pump(reader, up_writer, link, True, first), self.pump(up_reader, writer, link, False))
        self.links.discard(writer)

    async def bind_allowed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The first PDU if it is a bind with our password; else it is refused, and empty."""
        try:
            head = await reader.readexactly(16)
            length, command_id, _, sequence = struct.unpack(">IIII", head)
            body = await reader.readexactly(length - 16)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return b""
        if body.split(b"\0")[1:2] == [self.options.password.encode()]:
            return head + body
        self.ledger.refused_binds += 1
        writer.write(struct.pack(">IIII", 17, command_id | 0x80000000, ESME_RINVPASWD, sequence) + b"\0")
        writer.close()
        return b""

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: dict, from_esme: bool,
                   octets: bytes = b"") -> None:
        rest = b""
        try:
            while octets or (octets := await reader.read(64 * 1024)):
                whole, rest = self.cut(rest + octets, link, from_esme)
                octets = b""
                writer.write(whole)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def cut(self, octets: bytes, link: dict, from_esme: bool) -> tuple[bytes, bytes]:
        """Notes every whole PDU; (what to pass on, what is left of the last PDU)."""
        whole = []
        while len(octets) >= 16:
            length, command_id = struct.unpack_from(">II", octets)
            if not 16 <= length <= MAX_PDU:
                self.ledger.complaints.append(f"command_length {length}")
                return b"".join(whole) + octets, b""
            if len(octets) < length:
                break
            frame, octets = octets[:length], octets[length:]
            name = command_name(command_id)
            if from_esme:
                self.note(frame, name, link)
            if link["kind"] == "bind_receiver" and name == "bind_receiver":
                frame = struct.pack(">II", length, BIND_TRANSCEIVER) + frame[8:]
            elif link["kind"] == "bind_receiver" and name == "bind_transceiver_resp":
                name = "bind_receiver_resp"
                frame = struct.pack(">II", length, BIND_RECEIVER_RESP) + frame[8:]
            self.ledger.pdus[("esme " if from_esme else "smsc ") + name] += 1
            whole.append(frame)
        return b"".join(whole), octets

    def note(self, frame: bytes, name: str, link: dict) -> None:
        """Reads one PDU of the ESME with smpp34's decoder."""
        try:
            pdu = smpp34.decode(frame)
        except smpp34.SmppError as error:
            self.ledger.complaints.append(f"{name}: {error}")
            return
        if isinstance(pdu, smpp34.SubmitSm):
            self.ledger.submit(pdu, link["number"])
            if link["kind"] == "bind_receiver":
                self.ledger.complaints.append("submit_sm on a receiver")
        elif name.startswith("bind_") and not name.endswith("_resp"):
            link["kind"] = name
            self.ledger.binds.append({"kind": name, "system_id": pdu.body.split(b"\0")[0].decode("latin-1")})

    async def events(self) -> None:
        while True:
            event = await self.server.next()
            if isinstance(event, smpp34.Esme):
                self.sessions[event.session_id] = event
                self.ended[event.session_id] = asyncio.get_running_loop().create_future()
            elif isinstance(event, smpp34.Unbound):
                if self.sessions.pop(event.session_id, None):
                    self.ended.pop(event.session_id).set_result(None)
            elif isinstance(event, smpp34.SubmitSmEvent):
                entry = self.ledger.take(event)
                number, self.next_id = self.next_id, self.next_id + 1
                self.spawn(self.answer(event, entry, number))

    async def answer(self, event: smpp34.SubmitSmEvent, entry: dict, number: int) -> None:
        form = self.options.id_form
        decimal, hexadecimal = str(number), f"{number:x}"
        answered = hexadecimal if form in ("hex", "receipt-dec") else decimal
        reported = {"hex": hexadecimal, "receipt-hex": f"{number:08X}"}.get(form, decimal)
        entry["message_id"] = answered
        wanted = bool(event.registered_delivery & 3)
        if self.options.delay_ms:
            await asyncio.sleep(self.options.delay_ms / 1000)
        if wanted and self.options.receipt_before_response:
            # A gateway that withholds its acknowledgement until it has our answer must not hang here.
            first = asyncio.ensure_future(self.receipt(event, reported))
            await asyncio.wait({first}, timeout=5)
            if first.done():
                entry["receipt_acknowledged_at"] = time.time()
            else:
                self.ledger.receipts["unacknowledged_before_response"] += 1
            entry["answered_at"] = time.time()
            event.accept(answered)
            await first
        else:
            entry["answered_at"] = time.time()
            event.accept(answered)
            if self.options.receipts_by_hand:
                self.answered[answered] = event, reported
                return
            await asyncio.sleep(self.options.receipt_delay_ms / 1000)
            if wanted:
                await self.receipt(event, reported)
        if wanted and self.options.duplicate_receipts:
            await self.receipt(event, reported)
        if wanted:
            entry["receipt_acknowledged_at"] = entry["receipt_acknowledged_at"] or time.time()

    async def receipt(self, event: smpp34.SubmitSmEvent, message_id: str, stat: str = "DELIVRD") -> None:
        """Reports until an ESME acknowledges, as a carrier does over reconnections."""
        now = time.strftime("%y%m%d%H%M")
        text = (f"id:{message_id} sub:001 dlvrd:001 submit date:{now} done date:{now} "
                f"stat:{stat} err:000 text:").encode()
        tlvs = [smpp34.Tlv(smpp34.TLV_RECEIPTED_MESSAGE_ID, message_id.encode() + b"\0"),
                smpp34.Tlv(smpp34.TLV_MESSAGE_STATE, bytes([MESSAGE_STATES[stat]]))]
        while True:
            status = await self.deliver(
                event.source_addr, b"" if self.options.receipt == "tlv" else text,
                source_addr=event.destination_addr, esm_class=0x04,
                source_addr_ton=event.dest_addr_ton, source_addr_npi=event.dest_addr_npi,
                dest_addr_ton=event.source_addr_ton, dest_addr_npi=event.source_addr_npi,
                tlvs=[] if self.options.receipt == "text" else tlvs)
            self.ledger.receipts["acknowledged" if status == 0 else "repeated"] += 1
            if status == 0:
                return
            await asyncio.sleep(0.2)

    async def deliver(self, to: str, octets: bytes, **fields) -> int | None:
        """One deliver_sm to any bound receiver: its command_status, or None when nobody answered."""
        async with self.receipt_window:
            esme = next((s for s in list(self.sessions.values()) if s.can_receive), None)
            if esme is None:
                return None
            # smpp34 goes on waiting for the answer of a session that has ended.
            answer, ended = asyncio.ensure_future(esme.deliver_sm(to, octets, **fields)), self.ended[esme.session_id]
            await asyncio.wait({answer, ended}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                answer.cancel()
                return None
            try:
                return answer.result().command_status
            except smpp34.SmppError:
                return None

    async def inbound(self, wish: dict) -> dict:
        coding = sms_text.UCS2 if wish.get("coding") == "ucs2" else sms_text.GSM
        statuses = []
        for esm_class, octets in sms_text.encode_parts(wish["text"], coding, self.next_id & 0xFF):
            statuses.append(await self.deliver(
                wish["to"], octets, source_addr=wish["from"].lstrip("+"), esm_class=esm_class,
                source_addr_ton=1, source_addr_npi=1, data_coding=coding))
        self.next_id += 1
        return {"statuses": statuses, "acknowledged": all(s == 0 for s in statuses)}

    def stats(self) -> dict:
        ledger = self.ledger
        return {"bound": len(self.sessions), "binds": ledger.binds, "connections": ledger.connections, "refused_binds": ledger.refused_binds,
                "submits": len(ledger.submits), "answers": sum(1 for s in ledger.submits if s["message_id"]),
                "receipts": dict(ledger.receipts), "pdus": dict(ledger.pdus), "complaints": ledger.complaints}

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path = head.split(" ", 2)[:2]
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            status, answer = "200 OK", {}
            match method, path:
                case "GET", "/ledger":
                    answer = self.ledger.json()
                case "GET", "/stats":
                    answer = self.stats()
                case "POST", "/mo":
                    answer = await self.inbound(json.loads(body))
                case "POST", "/receipt":
                    wish = json.loads(body)
                    await self.receipt(*self.answered[wish["id"]], wish["stat"])
                case "POST", "/password":
                    self.options.password = json.loads(body)["password"]
                    for link in list(self.links):
                        link.close()
                case "POST", "/reset":
                    self.ledger = Ledger()
                case _:
                    status, answer = "404 Not Found", {"error": f"{method} {path}"}
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return
        except (ValueError, KeyError) as error:
            status, answer = "400 Bad Request", {"error": repr(error)}
        octets = json.dumps(answer).encode()
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n"
                     f"Content-Length: {len(octets)}\r\n\r\n".encode() + octets)
        writer.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ctl-port", type=int, default=0)
    parser.add_argument("--id-form", choices=["decimal", "hex", "receipt-hex", "receipt-dec"], default="decimal",
                        help="receipt-hex: the answer is decimal and the receipt hexadecimal; receipt-dec: the reverse")
    parser.add_argument("--receipt", choices=["text", "tlv", "both"], default="both")
    parser.add_argument("--delay-ms", type=int, default=0, help="before each submit_sm_resp")
    parser.add_argument("--receipt-delay-ms", type=int, default=50, help="from the answer to its receipt")
    parser.add_argument("--receipt-before-response", action="store_true")
    parser.add_argument("--duplicate-receipts", action="store_true")
    parser.add_argument("--password", help="refuse every bind with another one")
    parser.add_argument("--receipts-by-hand", action="store_true", help="only those that POST /receipt asks for")
    options = parser.parse_args()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    smsc = Smsc(options)
    port = await smsc.start()
    control = await asyncio.start_server(smsc.control, "127.0.0.1", options.ctl_port)
    ctl_port = control.sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "ctl_port": ctl_port, "smpp34": smpp34.__version__}), flush=True)
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
