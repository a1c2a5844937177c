"""Proves the third-party SMSC with smpp34's own client, before it is allowed to judge anything."""

from __future__ import annotations

import asyncio
import pathlib
import socket
import struct

import smpp34

import sms_text
from capture import Capture
from harness import Ports, Smsc, check, equal, wait_for


def _talk(port: int, work, bind_type: str = "TRX"):
    async def run():
        client = smpp34.Client("127.0.0.1", port, "relais", "secret", bind_type=bind_type)
        session = await asyncio.wait_for(client.connect(), 10)
        try:
            return await work(session)
        finally:
            await session.unbind()
    return asyncio.run(run())


def gsm_text_survives_encoding_and_decoding() -> None:
    text = "Aé ñ [€] {x}~^|\\ Ω"
    equal(sms_text.decode_gsm(sms_text.encode_gsm(text)), text, "text")
    for octets in (b"\x80", b"a\x1b", b"\x1b\x00"):
        try:
            sms_text.decode_gsm(octets)
        except ValueError:
            continue
        check(False, f"{octets.hex()} was read as GSM text")


def smsc_reassembles_parts_and_reports_each(smsc: Smsc) -> None:
    text = "L'œuvre de Zoë 😀 " * 10
    parts = sms_text.encode_parts(text, sms_text.UCS2, 7)
    check(len(parts) > 1, "the sample is not long enough")

    async def work(session):
        answers, receipts = [], []
        for esm_class, octets in parts:
            answers.append(await session.submit_sm(
                "33612345678", octets, source_addr="Relais", source_addr_ton=5, dest_addr_ton=1, dest_addr_npi=1,
                esm_class=esm_class, data_coding=8, registered_delivery=1, validity_period="000002000000000R"))
        while len(receipts) < len(parts):
            receipts.append(await asyncio.wait_for(session.next(), 10))
        return [a.message_id for a in answers], receipts

    ids, receipts = _talk(smsc.port, work)
    ledger = smsc.ledger()
    equal([m["text"] for m in ledger["messages"]], [text], "reassembled")
    equal({s["validity_period"] for s in ledger["submits"]}, {"000002000000000R"}, "validity_period")
    equal([s["message_id"] for s in ledger["submits"]], ids, "message ids")
    reported = {int(t.as_string().rstrip("\0"), 16) for r in receipts for t in r.tlvs if t.tag == 0x1E}
    equal(reported, {int(i) for i in ids}, "ids of the receipts, read as hexadecimal")
    wait_for("the unbind is seen", lambda: smsc.stats()["pdus"].get("esme unbind"))
    equal(smsc.stats()["complaints"], [], "complaints")


def smsc_reports_before_it_answers_and_twice(smsc: Smsc) -> None:
    async def work(session):
        answer = asyncio.ensure_future(session.submit_sm("33612345678", b"one", source_addr="R", registered_delivery=1))
        first = await asyncio.wait_for(session.next(), 10)
        second = await asyncio.wait_for(session.next(), 10)
        return (await answer).message_id, first.short_message, second.short_message

    identity, first, second = _talk(smsc.port, work)
    (submit,) = smsc.ledger()["submits"]
    check(submit["receipt_acknowledged_at"] <= submit["answered_at"], "the receipt came after the answer")
    equal(first[:30], second[:30], "both receipts")
    check(f"id:{identity} ".encode() in first, "the receipt has another id")


def smsc_sends_an_inbound_message(smsc: Smsc) -> None:
    async def work(session):
        loop = asyncio.get_running_loop()
        sent = loop.run_in_executor(None, smsc.inbound, "+33612345678", "36111", "Oui, 5 €", "gsm")
        event = await asyncio.wait_for(session.next(), 10)
        return sms_text.decode(event.data_coding, event.short_message), event.source_addr, (await sent)["acknowledged"]

    equal(_talk(smsc.port, work, "RX"), ("Oui, 5 €", "33612345678", True), "inbound")


def dissector_notices_a_malformed_pdu(folder: pathlib.Path) -> None:
    """A submit_sm whose destination never ends, and a whole enquire_link, so that the port is read as SMPP at all."""
    ports = Ports()
    capture = Capture(folder, ports)
    with socket.create_server(("127.0.0.1", ports.take())) as listener:
        with socket.create_connection(listener.getsockname()) as link, listener.accept()[0] as peer:
            link.sendall(struct.pack(">IIII", 16, 0x15, 0, 1))
            broken = b"\0\0\0sender\0\1\0013361234"
            link.sendall(struct.pack(">IIII", 16 + len(broken), 0x04, 0, 2) + broken)
            equal(len(peer.recv(16, socket.MSG_WAITALL)), 16, "octets")
    wait_for("the capture is written", lambda: capture.file.stat().st_size > 900)
    capture.stop()
    counts, complaints = capture.judge()
    equal(counts["Enquire_link"], 1, "enquire_link in the dissection")
    check(complaints, "the dissector finds nothing wrong with a submit_sm without an end")


def cases(folder: pathlib.Path):
    """(name, function) of each proof."""
    ports = Ports()

    def with_smsc(proof, *options):
        def run():
            smsc = Smsc(folder, ports, *options)
            try:
                proof(smsc)
            finally:
                smsc.stop()
        return proof.__name__, run

    yield gsm_text_survives_encoding_and_decoding.__name__, gsm_text_survives_encoding_and_decoding
    yield with_smsc(smsc_reassembles_parts_and_reports_each, "--id-form", "receipt-hex", "--delay-ms", 20)
    yield with_smsc(smsc_reports_before_it_answers_and_twice, "--receipt-before-response", "--duplicate-receipts", "--receipt", "text")
    yield with_smsc(smsc_sends_an_inbound_message)
    inner = folder / "malformed"
    inner.mkdir()
    yield dissector_notices_a_malformed_pdu.__name__, lambda: dissector_notices_a_malformed_pdu(inner)
