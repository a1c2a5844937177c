"""The image of a container: built by buildah from the Containerfile, and run with nothing writable but its volume.

Two things differ from an engine's own work. The stage that compiles needs an image of Rust from a registry and half an hour:
its folder is made here by the same script, out of the binary at hand. And what runs the image is bubblewrap: the same root
file system, read-only, as the image's user, without capabilities, with the image's own command lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import stat
import subprocess

from harness import Ports, Smsc, check, equal, free_port, request, spawn, tail, wait_for

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
MOST_BYTES = 40_000_000
PASSWORD = "hush5Ctr"


def refused() -> str:
    """What keeps an image from being laid out and run here; empty if nothing does."""
    if os.geteuid() != 0:
        return "an image with owners of its own can only be laid out by root"
    tried = subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode else ""


class Builder:
    """buildah with a storage of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.storage = ["--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "vfs"]

    def __call__(self, *words: object) -> str:
        done = subprocess.run(["buildah", *self.storage, *map(str, words)], capture_output=True, text=True)
        check(done.returncode == 0, f"buildah {words[0]}: {done.stdout[-800:]}{done.stderr[-800:]}")
        return done.stdout.strip()

    def image(self, binary: pathlib.Path) -> tuple[dict, pathlib.Path]:
        """(the image's configuration, a copy of its root file system that everybody may look into)."""
        compiled, context = self.folder / "compiled", self.folder / "context"
        context.mkdir()
        subprocess.run([REPOSITORY / "deploy/container/rootfs.sh", binary, compiled / "rootfs"], check=True)
        # In the place of the stage "build"; nothing of a registry is asked for.
        self("bud", "--isolation", "chroot", "--format", "docker", "--build-context", f"build={compiled}", "--tag", "relais",
             "--file", REPOSITORY / "deploy/container/Containerfile", context)
        settings = json.loads(self("inspect", "--type", "image", "relais"))["Docker"]["config"]
        mounted, root = self("mount", self("from", "relais")), self.folder / "root"
        subprocess.run(["cp", "--archive", mounted, root], check=True)
        return settings, root


def image_is_small_runs_as_nobody_and_writes_its_volume_alone(binary: pathlib.Path, folder: pathlib.Path) -> None:
    check(os.geteuid() == 0, "an image with owners of its own can only be laid out by root: sudo")
    for above in (folder, folder.parent):
        above.chmod(0o711)
    settings, root = Builder(folder).image(binary)
    user, _, group = settings["User"].partition(":")
    check(int(user) > 0 and int(group) > 0, f"the image runs as {settings['User']}")
    equal(list(settings["Volumes"]), ["/var/lib/relais"], "volumes")
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    check(sum(path.stat().st_size for path in files) < MOST_BYTES, "the image has grown")
    equal([path for path in files if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)], [], "files with more rights than their user")
    equal([str(path.relative_to(root)) for path in files if path.parent.name in ("bin", "sbin")], ["usr/bin/relais"], "programs in the image")

    smsc, port = Smsc(folder, Ports()), free_port()
    volume, etc = folder / "volume", folder / "etc"
    etc.mkdir()
    config = etc / "relais.toml"
    subprocess.run(["cp", "--archive", root / "var/lib/relais", volume], check=True)
    config.write_text(f'[http]\nlisten = "127.0.0.1:{port}"\n[smpp.carrier]\nhost = "127.0.0.1"\nport = {smsc.port}\n'
                      f'system_id = "relais"\npassword = "{PASSWORD}"\nreconnect = "100ms..1s"\n')
    config.chmod(0o600)
    os.chown(config, int(user), int(group))

    def inside(*words: str) -> list[str]:
        return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--",
                "bwrap", "--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
                "--bind", volume, "/var/lib/relais", "--ro-bind", etc, "/etc/relais",
                "--unshare-all", "--share-net", "--cap-drop", "ALL", "--die-with-parent", "--clearenv", "--", *words]

    def healthy() -> bool:
        equal(settings["Healthcheck"]["Test"][0], "CMD", "the health check, without a shell")
        return subprocess.run(inside(*settings["Healthcheck"]["Test"][1:]), capture_output=True).returncode == 0

    try:
        check(not healthy(), "the image is healthy before it runs")
        for turn in range(2):
            log = folder / f"container-{turn}.log"
            process = spawn(inside(*settings["Entrypoint"], *settings["Cmd"]), log)

            def alive() -> None:
                check(process.poll() is None, f"the container ended by itself: {tail(log)}")

            wait_for("the health check passes", healthy, alive=alive)
            smsc.wait_bound()
            key = (volume / "admin.key").read_text().strip()
            body = {"to": "+33612345678", "text": f"Du conteneur {turn}"}
            status, message = request(port, "POST", "/v1/messages", body, key)
            equal(status, 202, f"POST /v1/messages {message}")
            wait_for("the message is delivered",
                     lambda: request(port, "GET", f"/v1/messages/{message['id']}", key=key)[1]["status"] == "delivered", alive=alive)
            found = mounts(relais_of(process.pid))
            equal({at for at, options in found.items() if "rw" in options and not at.startswith(("/dev", "/proc"))},
                  {"/tmp", "/var/lib/relais"}, "what can be written")
            # The signal goes to the program itself: bubblewrap is not what the image runs.
            os.kill(relais_of(process.pid), 15)
            equal(process.wait(30), 0, "exit code after SIGTERM")
        equal(smsc.stats()["submits"], 2, "submissions of two turns on one volume")
    finally:
        smsc.stop()


def image_is_compiled_by_the_rust_that_the_crate_asks_for(_binary: pathlib.Path, _folder: pathlib.Path) -> None:
    wanted = re.search(r'(?m)^rust-version = "(.*)"$', (REPOSITORY / "Cargo.toml").read_text())[1]
    check(f"rust:{wanted}-" in (REPOSITORY / "deploy/container/Containerfile").read_text(), f"the Containerfile does not name rust {wanted}")


def relais_of(process: int) -> int:
    """The gateway's process below this one."""
    below = [process]
    while below:
        process = below.pop()
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{process}/comm").read_text().strip() == "relais":
                return process
            below += map(int, pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split())
    return 0


def mounts(process: int) -> dict[str, list[str]]:
    """Options of every mount that a process sees."""
    check(process, "the gateway's process is not found")
    rows = (line.split() for line in pathlib.Path(f"/proc/{process}/mountinfo").read_text().splitlines())
    return {row[4]: row[5].split(",") for row in rows}


CASES = [image_is_compiled_by_the_rust_that_the_crate_asks_for, image_is_small_runs_as_nobody_and_writes_its_volume_alone]
