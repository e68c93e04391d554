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


# Where there is something for the probes to find.
left = []
for place in ("/tmp", "/dev/shm"):
    try:
        with open(f"{place}/kruntimes-{sys.argv[1]}", "wb") as file:
            file.write(CANARY)
        left.append(place)
    except OSError:
        pass
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(int(sys.argv[2]), 4096, 0o1600)
if segment >= 0:
    ctypes.memmove(libc.shmat(segment, None, 0), CANARY, len(CANARY))
    left.append("sysv")
address = ctypes.addressof(ctypes.c_char.from_buffer(held))
print(json.dumps({"left": left, "dir": os.getcwd(), "address": address}), flush=True)
open("gate").read()
