"""What is under deploy/, tried for real: the Debian package, the image of a container, the watching, the first day.

    sudo python run.py --binary target/release/relais --deb target/deb/relais_….deb [--only WORD] [--keep]

Each case is a claim. The last line counts them; the exit code is 0 only if at least one ran and none failed. Where this
machine forbids what a case needs (namespaces, overlays, control groups), the case is named and counted as not run.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "third_party"))

import container  # noqa: E402
import first_day  # noqa: E402
import package  # noqa: E402
import service  # noqa: E402
import watch  # noqa: E402
from harness import Failure, tail  # noqa: E402
from machine import Machine  # noqa: E402


class Run:
    """Counts claims and prints a line for each."""

    def __init__(self, root: pathlib.Path, only: str) -> None:
        self.root, self.only = root, only
        self.passed = self.failed = self.not_run = 0

    def wanted(self, cases: list, refused: str = "") -> list:
        """The cases to run: none of them if this machine refuses what they need."""
        wanted = [case for case in cases if self.only in case.__name__]
        if not refused:
            return wanted
        self.not_run += len(wanted)
        for case in wanted:
            print(f"NOT RUN {case.__name__}: this machine does not allow it: {refused}", flush=True)
        return []

    def folder(self, name: str) -> pathlib.Path:
        folder = self.root / name
        folder.mkdir()
        return folder

    def claim(self, name: str, proof, folder: pathlib.Path) -> None:
        began = time.monotonic()
        try:
            proof()
        except Exception as error:  # noqa: BLE001: any error of a case is that case's failure
            self.failed += 1
            print(f"FAILED {name} ({time.monotonic() - began:.1f} s)\n  {error}", flush=True)
            if not isinstance(error, Failure):
                traceback.print_exc(file=sys.stdout)
            for log in sorted(folder.glob("*.log")):
                print(f"  the end of {log.name}:\n{tail(log)}", flush=True)
        else:
            self.passed += 1
            print(f"ok     {name} ({time.monotonic() - began:.1f} s)", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--deb", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="", help="only cases whose name holds this")
    parser.add_argument("--keep", action="store_true", help="keep the folders with logs")
    options = parser.parse_args()
    # An end from outside must also run the handlers that end our children.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = pathlib.Path(tempfile.mkdtemp(prefix="relais-deploy-"))
    binary, deb = options.binary.resolve(strict=True), options.deb.resolve(strict=True)
    run = Run(root, options.only)
    try:
        refused = Machine.refused()
        for case in run.wanted(package.CASES + first_day.CASES, refused):
            folder = run.folder(case.__name__)
            run.claim(case.__name__, lambda: case(deb, folder), folder)
        if cases := run.wanted(service.CASES, refused):
            folder = run.folder("service")
            machine = Machine(folder / "machine.log")
            try:
                package.install(machine, deb)
                for case in cases:
                    run.claim(case.__name__, lambda: case(machine), folder)
            finally:
                machine.stop()
        for case in run.wanted(container.CASES, container.refused()):
            folder = run.folder(case.__name__)
            run.claim(case.__name__, lambda: case(binary, folder), folder)
        if cases := run.wanted(watch.CASES):
            folder = run.folder("watch")
            watched = watch.Watched(binary, folder)
            try:
                for case in cases:
                    run.claim(case.__name__, lambda: case(watched), folder)
            finally:
                watched.stop()
    except Failure as failure:
        run.failed += 1
        print(f"FAILED {failure}")
    finally:
        if options.keep or run.failed:
            print(f"logs are in {root}")
        else:
            shutil.rmtree(root)
    not_run = f", {run.not_run} NOT RUN" if run.not_run else ""
    print(f"{run.passed} passed, {run.failed} failed{not_run}", flush=True)
    return 0 if run.passed and not run.failed else 1


if __name__ == "__main__":
    sys.exit(main())
