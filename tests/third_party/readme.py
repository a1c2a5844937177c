"""The README's page for people who build applications: its curl lines are run as they stand, and their answers compared.

A block of the page is a dialogue: `$ ` begins a command, which goes on while its quotes are open or a backslash ends the
line; what follows it is its answer, in which `…` stands for anything. Blanks and line ends do not count.
"""

from __future__ import annotations

import pathlib
import re
import subprocess

from harness import ADMIN_KEY, Failure, check

README = pathlib.Path(__file__).parents[2] / "README.md"
# The English chapter and the French one; each goes to the next heading of its rank.
CHAPTERS = ("## Build your application on it", "## Construire son application sur Relais")


def chapter(heading: str) -> str:
    text = README.read_text()
    check(f"\n{heading}\n" in text, f"the README has no chapter {heading!r}")
    return text.split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]


def dialogue(block: str) -> list[tuple[str, str]]:
    """Commands and their answers."""
    found: list[tuple[str, str]] = []
    lines = block.splitlines()
    while lines:
        line = lines.pop(0)
        if not line.startswith("$ "):
            check(found, f"an answer before the first command: {line}")
            found[-1] = (found[-1][0], found[-1][1] + "\n" + line)
            continue
        command = line[2:]
        while command.endswith("\\") or command.count("'") % 2:
            check(lines, f"a command does not end: {command}")
            command += "\n" + lines.pop(0)
        found.append((command, ""))
    return found


def matches(expected: str, answer: str) -> bool:
    bare = [re.sub(r"\s+", "", text) for text in (expected, answer)]
    pattern = ".*".join(map(re.escape, bare[0].split("…")))
    return re.fullmatch(pattern, bare[1], re.DOTALL) is not None


def play(daemon, blocks: list[str]) -> int:
    """Runs every command of the blocks in one shell after the other's end; what one block sets, the next has."""
    steps = [step for block in blocks for step in dialogue(block)]
    script = [
        f"URL=http://127.0.0.1:{daemon.port} ADMIN={ADMIN_KEY}; KEY=$ADMIN",
        "c() { curl -sS -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' \"$@\"; }",
        f"relais() {{ RELAIS_KEY=$ADMIN RELAIS_URL=$URL '{daemon.binary}' \"$@\"; }}",
    ]
    for index, (command, _) in enumerate(steps):
        script.append(f"printf '\\n<<<{index}>>>\\n'\n{command}")
    done = subprocess.run(["bash", "-euo", "pipefail"], input="\n".join(script), capture_output=True, text=True, timeout=120)
    answers = re.split(r"\n<<<\d+>>>\n", done.stdout)[1:]
    check(done.returncode == 0, f"exit {done.returncode}, after {len(answers)} commands: {done.stderr[-500:]}\n{answers[-1:]}")
    for (command, expected), answer in zip(steps, answers, strict=True):
        if not matches(expected, answer):
            raise Failure(f"$ {command}\n  is said to answer\n{expected}\n  and answers\n{answer}")
    return len(steps)


def story(heading: str):
    def case(bench) -> None:
        blocks = re.findall(r"^```console\n(.*?)^```", chapter(heading), re.DOTALL | re.MULTILINE)
        # One story for each of the five applications, and what is common to them.
        check(len(blocks) >= 5, f"{heading!r} has {len(blocks)} dialogues")
        mail = '[email]\nhost = "127.0.0.1"\ntls = "none"\nfrom = "club@example.org"'
        with bench.running(account='stop = "36111"', more=mail) as (_, daemon):
            print(f"       {play(daemon, blocks)} commands of {len(blocks)} dialogues", flush=True)

    return case


def named(case, name: str):
    case.__name__ = name
    return case


CASES = [
    named(story(CHAPTERS[0]), "the_stories_of_the_readme_answer_as_it_says"),
    named(story(CHAPTERS[1]), "the_french_stories_of_the_readme_answer_as_it_says"),
]
