"""Sends the frames that come on the standard input by INTERFACE, and prints those that come back.

Each frame has its length before it, in two bytes of network order; a length of 0 says that as many
milliseconds as the next two bytes say are to be waited.
"""
import socket
import struct
import sys
import threading
import time

interface = sys.argv[1]
ETH_P_ALL, OUTGOING = 3, 4
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
wire.bind((interface, ETH_P_ALL))
wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer


def receive():
    while True:
        frame, address = wire.recvfrom(65535)
        if address[2] == OUTGOING:
            continue
        outgoing.write(struct.pack("!H", len(frame)) + frame)
        outgoing.flush()


threading.Thread(target=receive, daemon=True).start()
outgoing.write(struct.pack("!H", 0))
outgoing.flush()
while True:
    head = incoming.read(2)
    if len(head) < 2:
        break
    (length,) = struct.unpack("!H", head)
    if length == 0:
        time.sleep(struct.unpack("!H", incoming.read(2))[0] / 1000)
        continue
    frame = incoming.read(length)
    while True:
        try:
            wire.send(frame)
            break
        except OSError:
            # The queue of the interface is full: what was sent has to be received first.
            time.sleep(0.001)
