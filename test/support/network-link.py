#!/usr/bin/python3
# Two new network namespaces, joined by a link on which every packet takes its time and some get lost: each end is a TUN
# device, and this program carries the packets between them. (The kernel's own tool for this, netem, is not everywhere.)
#
#   network-link.py SEED     says "ready FD FD" on standard output: /proc/PID/fd/FD of this process are the namespaces of the
#                            client (10.99.0.1) and of the server (10.99.0.2), for nsenter --net=
#   standard input           "link DELAY_MS LOSS": one way, and the share of packets to lose from now on; its end ends all
#                            "hold BYTES": once so many have left the client nothing is carried any more, until the next "link"
#   standard output          "passed BYTES": what has left the client for the server, now and then
#
# The namespaces have no names: they are gone when the last process in them is.
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_INFO = 0x1001
REPORT_EVERY = 128 * 1024
LONGEST_QUEUE = 20000

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def current_namespace():
    return os.open("/proc/self/ns/net", os.O_RDONLY)


def make_end(address, peer):
    """A new namespace with one device: (namespace, device)."""
    home = current_namespace()
    check(libc.unshare(CLONE_NEWNET))
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH14x", b"link0", IFF_TUN_WITHOUT_INFO))
    for words in (
        ["addr", "add", address, "peer", peer, "dev", "link0"],
        ["link", "set", "link0", "up", "mtu", "1500", "txqueuelen", "5000"],
        ["link", "set", "lo", "up"],
    ):
        subprocess.run(["ip", *words], check=True)
    namespace = current_namespace()
    check(libc.setns(home, CLONE_NEWNET))
    os.close(home)
    return namespace, device


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    chance = random.Random(int(sys.argv[1]))
    client_namespace, client = make_end("10.99.0.1", "10.99.0.2")
    server_namespace, server = make_end("10.99.0.2", "10.99.0.1")
    other_end = {client: server, server: client}
    delay, loss = 0.0, 0.0
    under_way = []
    number = passed = reported = 0
    most = float("inf")
    say(f"ready {client_namespace} {server_namespace}")
    commands = b""
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        readable, _, _ = select.select([0, client, server], [], [], wait)
        if 0 in readable:
            data = os.read(0, 4096)
            if not data:
                return
            *lines, commands = (commands + data).split(b"\n")
            for line in lines:
                word, *values = line.split()
                if word == b"hold":
                    most = int(values[0])
                else:
                    assert word == b"link"
                    delay, loss = float(values[0]) / 1000, float(values[1])
                    most = float("inf")
            if passed >= most:
                say(f"passed {passed}")
        for end in (client, server):
            if end not in readable:
                continue
            for _ in range(256):
                try:
                    packet = os.read(end, 65536)
                except BlockingIOError:
                    break
                if passed >= most:
                    continue
                if end == client:
                    passed += len(packet)
                    if passed >= most:
                        say(f"passed {passed}")
                if len(under_way) >= LONGEST_QUEUE or chance.random() < loss:
                    continue
                number += 1
                heapq.heappush(under_way, (time.monotonic() + delay, number, other_end[end], packet))
        if passed - reported >= REPORT_EVERY:
            reported = passed
            say(f"passed {passed}")
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, end, packet = heapq.heappop(under_way)
            try:
                os.write(end, packet)
            except OSError:
                pass  # What a full device does not take is lost, as on any link.


main()
