"""The credential plugin of the kubectls that kpf-supervise runs: it asks kpf-supervise for the credential.

kubectl runs it by its path, with the socket as its argument. It imports as little as possible, since each kubectl waits
for it.
"""

import _socket
import os
import sys


def asker() -> str:
    """Which program asks: a dispatcher asks before the kubectl that takes its place in the same process."""
    parent = os.getppid()
    try:
        program = os.stat(f"/proc/{parent}/exe").st_ino
    except OSError:  # there is no such file on macOS
        program = 0
    return f"{parent}/{program}"


def main(path: str) -> int:
    """Print the answer, an ExecCredential. If there is none, say why on stderr."""
    kubectl = os.environ.get("KPF_KUBECTL", "")
    asked = os.environ.get("KUBERNETES_EXEC_INFO", "").replace("\n", " ")
    answer = b""
    try:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.connect(path)
        question = f"{kubectl} {asker()} {asked}\n".encode()
        while question:
            question = question[connection.send(question) :]
        while piece := connection.recv(65536):
            answer += piece
    except OSError as error:
        answer = f"-kpf-supervise does not answer: {error.strerror}".encode()
    if answer[:1] == b"+":
        os.write(1, answer[1:])
        return 0
    os.write(2, (answer[1:] or b"kpf-supervise has ended") + b"\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
