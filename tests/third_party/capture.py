"""Has Wireshark's SMPP dissector, written by nobody of us, read everything that a run put on the wire.

Only what belongs to SMPP counts: an expert item is charged when it stands inside an `smpp` element of the dissection,
a malformed mark when its frame is on an SMSC port and it follows `smpp` or names it. Notes of TCP itself (a reset at
`kill -9`, a port used again) stand in the `tcp` element and are left out by their place, not by a list of texts.
"""

from __future__ import annotations

import codecs
import collections
import pathlib
import re
import signal
import subprocess
import time
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from typing import IO

from harness import Ports, check, spawn, tail, wait_for

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class Capture:
    """tshark on the loopback interface for the whole block of SMSC ports."""

    def __init__(self, folder: pathlib.Path, ports: Ports) -> None:
        self.file, self.log, self.ports = folder / "run.pcapng", folder / "tshark.log", ports
        span = f"tcp portrange {ports.first}-{ports.first + ports.SIZE - 1}"
        self.process = spawn(["tshark", "-q", "-i", "lo", "-B", "64", "-w", self.file, "-f", span], self.log)
        # tshark writes the file's header once it captures.
        wait_for("tshark captures", lambda: self.file.exists() and self.file.stat().st_size > 0, alive=self._alive)

    def _alive(self) -> None:
        check(self.process.poll() is None, f"tshark ended: {tail(self.log)}")

    def stop(self) -> None:
        self._alive()
        # Packets that the kernel has not handed over yet are lost at the signal.
        wait_for("the capture has come to rest", self._rests)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        dropped = re.search(r"(\d+) packets? dropped", self.log.read_text(errors="replace"))
        check(not dropped or dropped[1] == "0", f"the capture is not whole: {dropped and dropped[0]}")

    def _rests(self) -> bool:
        size = self.file.stat().st_size
        time.sleep(0.6)
        return self.file.stat().st_size == size

    def judge(self) -> tuple[collections.Counter, list[str]]:
        """(PDUs by command, complaints) of the dissection."""
        argv = ["tshark", "-r", str(self.file), "-T", "pdml", "-Y", "smpp || _ws.malformed"]
        for port in self.ports.used:
            argv += ["-d", f"tcp.port=={port},smpp"]
        counts: collections.Counter = collections.Counter()
        complaints: list[str] = []
        errors = self.file.with_suffix(".dissect.log")
        with errors.open("wb") as sink:
            reader = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=sink, stdin=subprocess.DEVNULL)
            for packet in _packets(reader.stdout):
                number = next((f.get("show") for f in packet.iter("field") if f.get("name") == "frame.number"), "?")
                for proto in packet.findall("proto"):
                    name = proto.get("name")
                    if name == "smpp":
                        command = next((f for f in proto.iter("field") if f.get("name") == "smpp.command_id"), None)
                        counts[command.get("showname", "").split(": ")[-1].split(" (")[0] if command is not None else "?"] += 1
                        for item in proto.iter("field"):
                            if item.get("name") in ("_ws.expert", "_ws.malformed"):
                                complaints.append(f"frame {number}: {item.get('showname')}")
                    elif name == "_ws.malformed":
                        complaints.append(f"frame {number}: {proto.get('showname')}")
            check(reader.wait() == 0, f"tshark could not read its capture: {tail(errors)}")
        return counts, complaints


def _packets(stream: IO[bytes]) -> Iterator[xml.Element]:
    """The packets of a PDML stream. tshark writes control characters of a payload as they are, which XML forbids."""
    parser = xml.XMLPullParser(["end"])
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while octets := stream.read(1 << 16):
        parser.feed(_FORBIDDEN.sub("?", decoder.decode(octets)))
        for _, element in parser.read_events():
            if element.tag == "packet":
                yield element
                element.clear()
    parser.close()
