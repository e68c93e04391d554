"""A Run that holds a secret, leaves it where it can, and lives until it is told to end."""
import ctypes
import json
import os
import sys

CANARY = sys.argv[1].encode()
held = bytearray(CANARY * 64)
kept = open("secret", "wb+")
kept.write(CANARY)
kept.flush()
os.mkfifo("gate")


def leave(path):
    try:
        with open(path, "wb") as file:
            file.write(CANARY)
    except OSError:
        pass


leave("/tmp/kruntimes-" + sys.argv[1])
leave("/dev/shm/kruntimes-" + sys.argv[1])
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(int(sys.argv[2]), 4096, 0o1600)
if segment >= 0:
    ctypes.memmove(libc.shmat(segment, None, 0), CANARY, len(CANARY))
address = ctypes.addressof(ctypes.c_char.from_buffer(held))
print(json.dumps({"dir": os.getcwd(), "address": address}), flush=True)
open("gate").read()
