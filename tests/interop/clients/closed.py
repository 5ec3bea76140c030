"""Can somebody of the same user look into a Sluice that runs? closed.py SLUICE CONFIG LOG. Says what can be done and should not.
What root may do is no measure: then it is another user, and so is the Sluice that it starts."""
import ctypes
import os
import resource
import signal
import subprocess
import sys

sluice, config, log = sys.argv[1:]
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
if hard == 0:
    print("a core could not be written whatever Sluice does: its hard limit is 0")

with open(log, "wb") as output:
    process = subprocess.Popen([sluice, "run", "--config", config], stdout=subprocess.PIPE, stderr=output)
    for line in process.stdout:
        output.write(line)
        if b'"event":"started"' in line:
            break
    else:
        sys.exit("it does not start")

    for name in ("environ", "mem", "maps", "auxv"):
        try:
            with open(f"/proc/{process.pid}/{name}", "rb") as file:
                file.read(1)
            print(f"/proc/PID/{name} can be read")
        except PermissionError:
            pass
        except OSError as error:  # mem was opened, and has nothing at its beginning
            print(f"/proc/PID/{name} can be opened: {error}")
    attach, detach = 16, 17
    if ctypes.CDLL(None, use_errno=True).ptrace(attach, process.pid, None, None) == 0:
        print("a debugger can be attached")
        os.waitpid(process.pid, 0)
        ctypes.CDLL(None).ptrace(detach, process.pid, None, None)
    with open(f"/proc/{process.pid}/limits") as limits:
        core = next(line for line in limits if line.startswith("Max core file size"))
    if core.split()[4] != "0":
        print(f"its limit of cores is {core.split()[4]}")

    process.send_signal(signal.SIGSEGV)
    output.write(process.stdout.read())
    _, status = os.waitpid(process.pid, 0)
    if not os.WIFSIGNALED(status):
        print(f"it did not end by the signal: {status}")
    elif os.WCOREDUMP(status):
        print("it leaves a core")
