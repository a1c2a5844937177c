"""Reads and writes the text of short messages, for judging a gateway from outside.

Written from 3GPP TS 23.038 section 6.2.1 (alphabets) and TS 23.040 section 9.2.3.24 (user data
header) and from nothing of the gateway, so that an error there cannot hide behind the same error here.
Octets are as SMPP carries them: one GSM character in each octet, not packed.
"""

from __future__ import annotations

import dataclasses

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {
    0x0A: "\f", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\",
    0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|", 0x65: "€",
}
_ESCAPE = 0x1B
_ENCODE = {c: bytes([i]) for i, c in enumerate(_BASIC) if i != _ESCAPE}
_ENCODE.update({c: bytes([_ESCAPE, i]) for i, c in _EXTENSION.items()})
assert len(_BASIC) == 128

GSM, UCS2 = 0, 8


def decode_gsm(octets: bytes) -> str:
    """The text of unpacked GSM 7-bit octets. An octet above 127 or half an escape is a ValueError."""
    out, i = [], 0
    while i < len(octets):
        octet = octets[i]
        if octet > 127:
            raise ValueError(f"octet 0x{octet:02x} is not a GSM character")
        if octet == _ESCAPE:
            i += 1
            if i == len(octets):
                raise ValueError("the text ends inside an escape sequence")
            if octets[i] not in _EXTENSION:
                raise ValueError(f"0x1b 0x{octets[i]:02x} is not an extension character")
            out.append(_EXTENSION[octets[i]])
        else:
            out.append(_BASIC[octet])
        i += 1
    return "".join(out)


def encode_gsm(text: str) -> bytes:
    """Unpacked GSM 7-bit octets of a text. A character outside the alphabet is a ValueError."""
    try:
        return b"".join(_ENCODE[c] for c in text)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is not in the GSM alphabet") from None


def decode(data_coding: int, octets: bytes) -> str:
    """The text of a short message with this data_coding; strict, so a cut surrogate pair is an error."""
    if data_coding == GSM:
        return decode_gsm(octets)
    if data_coding == UCS2:
        return octets.decode("utf-16-be")
    if data_coding == 1:
        return octets.decode("ascii")
    if data_coding == 3:
        return octets.decode("iso-8859-1")
    raise ValueError(f"data_coding {data_coding} is not one of 0, 1, 3, 8")


@dataclasses.dataclass(frozen=True)
class Part:
    """Where a short message stands in its concatenation, and its text without the header."""

    reference: int | None
    total: int
    number: int
    body: bytes


def split_header(esm_class: int, octets: bytes) -> Part:
    """Takes the user data header off, if esm_class bit 6 announces one (SMPP 3.4 section 5.2.12)."""
    if not esm_class & 0x40:
        return Part(None, 1, 1, octets)
    if not octets or octets[0] + 1 > len(octets):
        raise ValueError("the user data header is longer than the message")
    header, body = octets[1 : octets[0] + 1], octets[octets[0] + 1 :]
    reference, total, number, i = None, 1, 1, 0
    while i < len(header):
        if i + 2 > len(header) or i + 2 + header[i + 1] > len(header):
            raise ValueError("an information element runs over the end of the header")
        kind, value = header[i], header[i + 2 : i + 2 + header[i + 1]]
        if kind == 0x00 and len(value) == 3:
            reference, total, number = value
        elif kind == 0x08 and len(value) == 4:
            reference, total, number = value[0] << 8 | value[1], value[2], value[3]
        i += 2 + len(value)
    if not 1 <= number <= total:
        raise ValueError(f"part {number} of {total} is impossible")
    return Part(reference, total, number, body)


def encode_parts(text: str, coding: int, reference: int) -> list[tuple[int, bytes]]:
    """(esm_class, short_message) of each part of an inbound text, with an 8-bit reference."""
    units = [encode_gsm(c) if coding == GSM else c.encode("utf-16-be") for c in text]
    single, each = (160, 153) if coding == GSM else (140, 134)
    if sum(map(len, units)) <= single:
        return [(0, b"".join(units))]
    bodies = [b""]
    for unit in units:
        if len(bodies[-1]) + len(unit) > each:
            bodies.append(b"")
        bodies[-1] += unit
    return [(0x40, bytes([5, 0, 3, reference, len(bodies), n]) + body) for n, body in enumerate(bodies, 1)]
