"""tools/find-kubectl, on a PATH of its own: what it takes, what it downloads, what it refuses."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kubectls import ROOT

TOOLS = ("cat", "chmod", "cp", "cut", "dirname", "expr", "mkdir", "mktemp", "mv", "rm", "sed", "sha256sum", "shasum")
SITE = "https://dl.k8s.io/"

# Stands for curl (-o FILE URL) and wget (-O FILE URL): serves the files of ./site and notes what was asked for.
DOWNLOADER = f"""#!/bin/sh
while [ $# -gt 1 ]; do
    case $1 in -o | -O) file=$2 ;; esac
    shift
done
echo "$1" >>asked
cp "site/${{1#{SITE}}}" "$file" 2>/dev/null || exit 22
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def kubectl_says(version: str) -> str:
    return f'#!/bin/sh\necho \'{{"clientVersion": {{"gitVersion": "{version}"}}}}\'\n'


@dataclass(frozen=True)
class Machine:
    """A folder with a copy of the tool, and a PATH that holds little else."""

    root: Path

    def on_path(self, name: str, text: str) -> Path:
        return script(self.root / "bin" / name, text)

    def uname(self, system: str, machine: str) -> None:
        self.on_path("uname", f"#!/bin/sh\n[ $1 = -s ] && echo {system} || echo {machine}\n")

    def release(self, version: str, platform: str, *, published: str | None = None) -> None:
        """Put one release on the stand-in site, by default with the true checksum."""
        binary = script(self.root / f"site/release/{version}/bin/{platform}/kubectl", kubectl_says(version))
        checksum = hashlib.sha256(binary.read_bytes()).hexdigest()
        (self.root / "site/release/stable.txt").write_text(version)
        binary.with_suffix(".sha256").write_text(published or checksum)

    @property
    def asked(self) -> list[str]:
        log = self.root / "asked"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def cached(self) -> list[str]:
        return [p.name for p in self.root.glob(".cache/kubectl/*")]

    def run(self, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "tools/find-kubectl"],
            cwd=self.root,
            env={"PATH": str(self.root / "bin"), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Linux machine with curl, and without kubectl."""
    made = Machine(tmp_path)
    script(tmp_path / "tools/find-kubectl", (ROOT / "tools/find-kubectl").read_text())
    for name in TOOLS:
        if path := shutil.which(name):
            made.on_path(name, f'#!/bin/sh\nexec {path} "$@"\n')
    made.on_path("curl", DOWNLOADER)
    made.uname("Linux", "x86_64")
    return made


def test_takes_the_one_on_path(machine: Machine) -> None:
    found = machine.on_path("kubectl", kubectl_says("v1.20.2"))
    result = machine.run()
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{found}\n", "")
    assert machine.asked == []


def test_the_users_word_goes_before_path(machine: Machine) -> None:
    machine.on_path("kubectl", kubectl_says("v1.33.1"))
    named = script(machine.root / "my kubectl", kubectl_says("v1.35.0+k3s1"))
    assert machine.run(KUBECTL=str(named)).stdout == f"{named}\n"


@pytest.mark.parametrize("text", [kubectl_says("v1.19.16"), kubectl_says("v1.9.0"), "#!/bin/sh\nexit 1\n"])
def test_the_users_word_is_refused_and_not_replaced(machine: Machine, text: str) -> None:
    machine.on_path("kubectl", kubectl_says("v1.33.1"))
    named = script(machine.root / "named", text)
    result = machine.run(KUBECTL=str(named))
    assert (result.returncode, result.stdout) == (1, "")
    assert f"$KUBECTL is '{named}'" in result.stderr


@pytest.mark.parametrize("downloader", ["curl", "wget"])
def test_downloads_checks_and_keeps_the_stable_release(machine: Machine, downloader: str) -> None:
    (machine.root / "bin/curl").rename(machine.root / "bin" / downloader)
    machine.release("v1.36.4", "linux/amd64")
    folder = f"{SITE}release/v1.36.4/bin/linux/amd64/"
    asked = [f"{SITE}release/stable.txt", f"{folder}kubectl.sha256", f"{folder}kubectl"]

    first = machine.run()
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{machine.root}/.cache/kubectl/kubectl\n"
    assert f"downloading {folder}kubectl\n" in first.stderr
    assert machine.asked == asked
    assert machine.cached == ["kubectl"]

    second = machine.run()
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
    assert machine.asked == asked


def test_passes_over_one_that_is_too_old(machine: Machine) -> None:
    old = machine.on_path("kubectl", kubectl_says("v1.18.20"))
    machine.release("v1.36.4", "linux/amd64")
    result = machine.run()
    assert f"{old} is kubectl 1.18, too old" in result.stderr
    assert result.stdout == f"{machine.root}/.cache/kubectl/kubectl\n"


def test_takes_the_one_that_ci_unpacked(machine: Machine) -> None:
    found = script(machine.root / ".cache/debian/usr/bin/kubectl", kubectl_says("v1.20.2"))
    assert machine.run().stdout == f"{found}\n"
    assert machine.asked == []


@pytest.mark.parametrize(
    ("system", "machine_name", "platform"),
    [
        ("Darwin", "arm64", "darwin/arm64"),
        ("Darwin", "x86_64", "darwin/amd64"),
        ("Linux", "aarch64", "linux/arm64"),
        ("Linux", "armv7l", "linux/arm"),
    ],
)
def test_asks_for_this_machines_platform(machine: Machine, system: str, machine_name: str, platform: str) -> None:
    machine.uname(system, machine_name)
    machine.release("v1.36.4", platform)
    assert machine.run().returncode == 0


@pytest.mark.parametrize("published", ["0" * 64, "<html>"])
def test_refuses_a_download_with_another_checksum(machine: Machine, published: str) -> None:
    machine.release("v1.36.4", "linux/amd64", published=published)
    result = machine.run()
    assert (result.returncode, result.stdout) == (1, "")
    assert "refused: the download's SHA-256 is" in result.stderr
    assert machine.cached == []


def test_refuses_to_go_without_a_checksum_tool(machine: Machine) -> None:
    for name in ("sha256sum", "shasum"):
        (machine.root / "bin" / name).unlink(missing_ok=True)
    machine.release("v1.36.4", "linux/amd64")
    result = machine.run()
    assert (result.returncode, result.stdout) == (1, "")
    assert "neither sha256sum nor shasum" in result.stderr
    assert machine.cached == []


def test_refuses_an_answer_that_is_no_version(machine: Machine) -> None:
    machine.release("v1.36.4", "linux/amd64")
    (machine.root / "site/release/stable.txt").write_text("<html>Please log in to the hotel's network</html>")
    result = machine.run()
    assert (result.returncode, result.stdout) == (1, "")
    assert "does not hold a version" in result.stderr
    assert machine.asked == [f"{SITE}release/stable.txt"]


@pytest.mark.parametrize("case", ["offline", "no downloader", "no release"])
def test_says_how_to_install_when_nothing_helps(machine: Machine, case: str) -> None:
    if case == "no downloader":
        (machine.root / "bin/curl").unlink()
    if case == "no release":
        machine.uname("SunOS", "sun4v")
    result = machine.run()
    assert (result.returncode, result.stdout) == (1, "")
    for way in ("brew install kubectl", "apt-get install kubernetes-client", "KUBECTL=/path/to/kubectl"):
        assert way in result.stderr
    assert machine.cached == []
