"""A hostile Run: tries to reach its neighbour, and says of each try whether it could."""
import ctypes
import json
import os
import socket
import struct
import subprocess
import sys

T = json.loads(os.environ["TARGET"])
CANARY, PID, DIR, SERVER = T["canary"].encode(), T["pid"], T["dir"], T["server"]
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p


def read(path, at=None, length=-1):
    with open(path, "rb", 0) as file:
        if at is not None:
            file.seek(at)
        return file.read(length)


def held(pid, at):
    return read(f"/proc/{pid}/mem", at, 64)


def server_memory():
    line = next(line for line in read(f"/proc/{SERVER}/maps").decode().splitlines() if " rw-p " in line)
    return held(SERVER, int(line.split("-")[0], 16))


def open_files():
    for name in os.listdir(f"/proc/{PID}/fd"):
        path = f"/proc/{PID}/fd/{name}"
        if os.path.isfile(path) and CANARY in read(path, 0):
            return True


def other_memory():
    buffer = ctypes.create_string_buffer(64)
    local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 64)
    remote = (ctypes.c_void_p * 2)(T["address"], 64)
    return libc.process_vm_readv(PID, local, 1, remote, 1, 0) > 0 and CANARY[:32] in buffer.raw


def planted():
    with open(f"{DIR}/planted", "w"):
        return True


def signal(pid):
    os.kill(pid, 0)
    return True


def unix(address):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        return True


def token():
    return read(f"{T['control']}/token").strip()


def field(number, value):
    return bytes([number << 3 | 2, len(value)]) + value


def call(port, method, message):
    """What a server answers, as bytes of its data frames; with the token where it can be had."""
    try:
        secret = token()
    except OSError:
        secret = b""
    headers = b""
    for name, value in [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", method), (b":authority", b"pod"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"kruntimes-token", secret),
    ]:
        headers += b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value
    body = b"\0" + struct.pack(">I", len(message)) + message

    def frame(kind, flags, stream, content):
        return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content

    answer = b""
    with socket.create_connection((T["ip"], port), 5) as connection:
        connection.settimeout(5)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        connection.sendall(frame(1, 4, 1, headers) + frame(0, 1, 1, body))
        stream = connection.makefile("rb")
        while True:
            head = stream.read(9)
            content = stream.read(int.from_bytes(head[:3], "big"))
            if head[3] == 0:
                answer += content
            if int.from_bytes(head[5:], "big") == 1 and (head[4] & 1 or head[3] == 3):
                return answer


def status(port, run):
    return call(port, b"/executor.v1.Runtime/Status", field(1, run))


WANTED = field(1, b"default") + field(2, b"artful") + field(3, b"loot")


def execute():
    run = b"intruder"
    call(9091, b"/executor.v1.Runtime/Execute", field(1, run) + field(2, b"sleep 100"))
    return run in status(9091, run)


def cancel():
    before = execute()
    call(9091, b"/executor.v1.Runtime/Cancel", field(1, b"intruder"))
    return before and b"intruder" not in status(9091, b"intruder")


def segment():
    found = libc.shmget(T["key"], 0, 0)
    return found >= 0 and ctypes.string_at(libc.shmat(found, None, 0), len(CANARY)) == CANARY


def trick(environment, command):
    code = f"open('{T['control']}/token').read() and print('LOOT')"
    os.makedirs("trick", exist_ok=True)
    with open("trick/sitecustomize.py", "w") as file:
        file.write(code)
    with open("trick/bash", "w") as file:
        file.write(f"cat '{T['control']}/token' >/dev/null && echo LOOT")
    with open("trick/preload.c", "w") as file:
        file.write('#include <stdio.h>\n__attribute__((constructor)) static void begin(void) '
                   '{ if (fopen("%s/token", "r")) puts("LOOT"); }' % T["control"])
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "trick/preload.so", "trick/preload.c"], check=True)
    ran = subprocess.run(command, env=os.environ | environment, capture_output=True)
    return b"LOOT" in ran.stdout


PROBES = {
    "environ": lambda: CANARY in read(f"/proc/{PID}/environ"),
    "cmdline": lambda: CANARY in read(f"/proc/{PID}/cmdline"),
    "mem": lambda: CANARY[:32] in held(PID, T["address"]),
    "fd": open_files,
    "root": lambda: CANARY in read(f"/proc/{PID}/root{DIR}/secret"),
    "cwd": lambda: CANARY in read(f"/proc/{PID}/cwd/secret"),
    "workspace": lambda: CANARY in read(f"{DIR}/secret"),
    "workspace-write": planted,
    "workspaces-list": lambda: os.path.basename(os.path.dirname(DIR)) in os.listdir(os.path.dirname(os.path.dirname(DIR))),
    "token": token,
    "server-environ": lambda: read(f"/proc/{SERVER}/environ"),
    "server-memory": server_memory,
    # PTRACE_SEIZE: it ends with this process.
    "ptrace": lambda: libc.ptrace(0x4206, PID, 0, 0) == 0,
    "process_vm_readv": other_memory,
    "signal": lambda: signal(PID),
    "signal-server": lambda: signal(SERVER),
    "signal-supervisor": lambda: signal(T["supervisor"]),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, PID, 1) is None,
    "status-9091": lambda: T["uid"].encode() in status(9091, T["uid"].encode()),
    "execute-9091": execute,
    "cancel-9091": cancel,
    "status-9093": lambda: T["uid"].encode() in status(9093, T["uid"].encode()),
    "download-9093": lambda: CANARY in call(9093, b"/artifact.v1.ArtifactService/Download", WANTED),
    "socket-abstract": lambda: unix("\0" + T["abstract"]),
    # The path itself is longer than an address may be.
    "socket-path": lambda: unix(f"/proc/self/fd/{os.open(DIR, os.O_PATH)}/sock"),
    "tmp": lambda: CANARY in read("/tmp/kruntimes-" + T["canary"]),
    "shm": lambda: CANARY in read("/dev/shm/kruntimes-" + T["canary"]),
    "shm-sysv": segment,
    "BASH_ENV": lambda: trick({"BASH_ENV": "trick/bash"}, ["bash", "-c", ":"]),
    "PYTHONPATH": lambda: trick({"PYTHONPATH": "trick"}, ["python3", "-c", "0"]),
    "LD_PRELOAD": lambda: trick({"LD_PRELOAD": "trick/preload.so"}, ["true"]),
}
for name, probe in PROBES.items():
    try:
        could, why = probe(), ""
    except (OSError, StopIteration) as error:
        could, why = False, repr(error)
    print("probe", name, "LEAK" if could else "blocked")
    print(name, why, file=sys.stderr)
subprocess.Popen(["setsid", "sleep", T["nap"]], stdin=subprocess.DEVNULL)
