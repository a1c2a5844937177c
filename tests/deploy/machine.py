"""A machine to throw away: a copy-on-write view of this one, with a systemd and a network of its own.

It is made of namespaces and an overlay that lives in memory, so that what is installed, started or broken in
it goes with its first process, and this machine never knows. Nothing but loopback is reachable in it, and
every port is free. It needs root, overlayfs and cgroup v2, no container engine, and no systemd outside.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import tempfile
import time

from harness import Failure, check, spawn, tail, wait_for

# The first process there: mounts, then becomes systemd. $1 is an empty folder.
BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs -o size=2g machine "$1"
mkdir "$1/changed" "$1/work" "$1/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/changed",workdir="$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
# A /dev of its own: systemd puts sockets there.
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do : >dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
: >etc/machine-id
# Services may start here.
rm -f usr/sbin/policy-rc.d
# The index of manuals would take longer than all else that is installed.
rm -f var/lib/man-db/auto-update
ip link set lo up
mkdir tmp/outside
pivot_root . tmp/outside
umount -l tmp/outside
rmdir tmp/outside
# As systemd has it outside containers; without it a unit's credentials are not passed on.
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target
"""

# What of it this machine may forbid.
TRIAL = """
set -e
mount --make-rprivate /
mount -t tmpfs trial "$1"
mkdir "$1/changed" "$1/work" "$1/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/changed",workdir="$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount -t sysfs sysfs "$1/root/sys"
mount -t cgroup2 cgroup2 "$1/root/sys/fs/cgroup"
"""


class Machine:
    """A running one; ends with `stop`, or with this process."""

    def __init__(self, log: pathlib.Path) -> None:
        check(os.geteuid() == 0, "a machine to throw away can only be made by root: sudo")
        self.log = log
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="relais-machine-"))
        self.cgroup = self._cgroups() / f"relais-test-{os.getpid()}"
        self.cgroup.mkdir()
        # Were this process killed, the machine would end as well.
        self.process = spawn(
            ["setpriv", "--pdeathsig", "KILL", "sh", "-c", 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"', "sh", self.cgroup,
             "unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup",
             "sh", "-c", BOOT, "boot", self.folder], log)
        try:
            self.first = wait_for("the machine's first process", self._first, alive=self._alive)
            wait_for("systemd is up", self._up, 60, self._alive)
        except Failure:
            self.stop()
            raise

    @classmethod
    def refused(cls) -> str:
        """What keeps anybody from making one here; empty if nothing does."""
        if os.geteuid() != 0:
            return "only root can make a machine to throw away"
        try:
            trial = cls._cgroups() / f"relais-trial-{os.getpid()}"
            trial.mkdir()
            trial.rmdir()
        except (Failure, OSError) as error:
            return str(error)
        with tempfile.TemporaryDirectory(prefix="relais-trial-") as folder:
            made = subprocess.run(
                ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup", "sh", "-c", TRIAL, "trial", folder],
                capture_output=True, text=True)
        return made.stderr.strip() if made.returncode else ""

    @staticmethod
    def _cgroups() -> pathlib.Path:
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            if line.split()[2] == "cgroup2":
                return pathlib.Path(line.split()[1])
        raise Failure("there is no cgroup v2 here, which systemd needs")

    def _first(self) -> int:
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _up(self) -> bool:
        # Before the change of root this would ask this machine's systemd.
        if pathlib.Path(f"/proc/{self.first}/comm").read_text().strip() != "systemd":
            return False
        return self.run("systemctl", "is-system-running", fails=True).stdout.strip() in ("running", "degraded")

    def _alive(self) -> None:
        check(self.process.poll() is None, f"the machine ended by itself:\n{tail(self.log)}")

    def inside(self, *argv: object, user: str | None = None) -> list[str]:
        """The command line that runs `argv` there, for those who start processes themselves."""
        argv = [str(word) for word in argv]
        if user:
            argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *argv]
        return ["nsenter", f"--target={self.first}", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup",
                "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", *argv]

    def run(self, *argv: object, fails: bool = False, stdin: str | None = None, user: str | None = None,
            deadline_s: float = 120) -> subprocess.CompletedProcess:
        """Runs a command there to its end, as root or as `user`. Whether it may fail, `fails` says."""
        given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(self.inside(*argv, user=user), capture_output=True, text=True, timeout=deadline_s, **given)
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(str(a) for a in argv)}\n{done.stdout}{done.stderr}")
        check(fails or done.returncode == 0, f"{' '.join(str(a) for a in argv)}: exit {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done

    def start(self, name: str, *argv: object, **options) -> subprocess.Popen:
        """Starts a command there that goes on."""
        return spawn(self.inside(*argv), self.log.with_name(f"{name}.log"), **options)

    def write(self, path: str, text: str) -> None:
        """Replaces a file there; owner and mode of one that exists stay."""
        self.run("sh", "-c", 'cat >"$1"', "sh", path, stdin=text)

    def take_in(self, file: pathlib.Path, path: str) -> None:
        """Copies a file of this machine to a path there."""
        with file.open("rb") as source:
            subprocess.run(self.inside("sh", "-c", 'cat >"$1"', "sh", path), stdin=source, check=True)

    def read(self, path: str) -> str:
        return self.run("cat", path).stdout

    def has(self, path: str) -> bool:
        return self.run("test", "-e", path, fails=True).returncode == 0

    def journal(self, lines: int = 40) -> str:
        return self.run("journalctl", "--no-pager", "--unit=relais", f"--lines={lines}", fails=True).stdout

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for _ in range(100):
            with contextlib.suppress(OSError):
                for folder, _, _ in os.walk(self.cgroup, topdown=False):
                    os.rmdir(folder)
            if not self.cgroup.exists():
                break
            time.sleep(0.05)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
