"""An exec credential plugin, as `aws eks get-token` is one. kubectl runs it; `credential_plugin.py` says what it does.

It imports the standard library only, and is run by its path: its start should cost nothing beside what it acts.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time


def main(folder: str) -> int:
    """What `folder`/behaviour says. Runs and windows are lines in files there: the process's id, the time."""
    with open(os.path.join(folder, "behaviour")) as file:
        behaviour = json.load(file)
    _tell(folder, "runs")
    time.sleep(behaviour["takes"])
    with open(os.path.join(folder, "user")) as user:
        if behaviour["window"]:
            _tell(folder, "windows")
            print("opening a window in the browser", file=sys.stderr, flush=True)
            fcntl.flock(user, fcntl.LOCK_SH)  # until the user is done
    if behaviour["fails"]:
        print(behaviour["fails"], file=sys.stderr)
        return 1
    now = time.time()
    until = now + behaviour["lifetime"]
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
    status = {"token": f"sandbox-{now:.6f}-{until:.6f}-{os.urandom(8).hex()}", "expirationTimestamp": expires}
    asked = json.loads(os.environ.get("KUBERNETES_EXEC_INFO", "{}"))
    version = asked.get("apiVersion", "client.authentication.k8s.io/v1beta1")
    print(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}))
    return 0


def _tell(folder: str, what: str) -> None:
    with open(os.path.join(folder, what), "a") as file:
        file.write(f"{os.getpid()} {time.time()}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
