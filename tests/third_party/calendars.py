"""Compares what the gateway knows of French calendars and clocks with two other implementations of them.

Public holidays from 2024 to 2040 of every part of France with PyPI's `holidays`, and every change of the hour of their
zones with Python's `zoneinfo` over PyPI's `tzdata`. Both tables (tests/data/holidays.txt, tests/data/clocks.txt) are
held to the gateway's own code by tests/operators/calendars.rs. Every difference must be one that is explained here, in
all of its years; and every one explained here must be found, so that an explanation cannot outlive its reason.
"""

from __future__ import annotations

import datetime
import pathlib
import sys
import zoneinfo

import holidays

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
YEARS = range(2024, 2041)

# By what name `holidays` knows each part.
PARTS = {
    "FR": None, "FR-57": "57", "GP": "971", "MQ": "972", "GF": "973", "RE": "974", "YT": "976", "MF": "MF", "BL": "BL",
    "PM": "PM", "NC": "NC", "PF": "PF", "WF": "WF",
}

PRACTICE = "local practice, not in the Code du travail: who keeps it adds it in [holidays]"
COUNCIL = (
    "Code du travail L3422-2 has 27 May for Saint-Martin; its council chose 28 May in 2015, which the Code has not "
    "followed"
)
# (part, whose it is alone, its name there or its date here): the years, and why.
EXPLAINED = {
    ("GP", "theirs", "Mi-Careme"): (YEARS, PRACTICE),
    ("GP", "theirs", "Good Friday"): (YEARS, PRACTICE),
    ("GP", "theirs", "Victor Schoelcher Day"): (YEARS, PRACTICE),
    ("MQ", "theirs", "Victor Schoelcher Day"): (YEARS, PRACTICE),
    ("MF", "theirs", "Victor Schoelcher Day"): (YEARS, PRACTICE),
    ("MF", "theirs", "Abolition of Slavery"): (YEARS, COUNCIL),
    ("MF", "ours", "05-27"): (YEARS, COUNCIL),
    ("NC", "theirs", "Citizenship Day"): (YEARS, PRACTICE),
    ("PF", "theirs", "Missionary Day"): (YEARS, PRACTICE),
    ("PF", "theirs", "Good Friday"): (YEARS, PRACTICE),
    ("PF", "theirs", "Internal Autonomy Day"): (range(2024, 2025), PRACTICE),
    ("PF", "theirs", "Matāri'i"): (range(2025, 2041), PRACTICE),
    ("WF", "theirs", "Feast of Saint Peter Chanel"): (YEARS, PRACTICE),
    ("WF", "theirs", "Saints Peter and Paul Day"): (YEARS, PRACTICE),
    ("WF", "theirs", "Territory Day"): (YEARS, PRACTICE),
}


def holidays_differ() -> tuple[int, list[str]]:
    """The number of holidays compared, and what is not as explained."""
    ours: dict[tuple[str, int], set[str]] = {}
    for line in (DATA / "holidays.txt").read_text().splitlines():
        part, *days = line.split()
        ours[part, int(days[0][:4])] = set(days)
    expected = {(part, year) for part in PARTS for year in YEARS}
    if set(ours) != expected:
        return 0, [f"the table has other parts or years: {sorted(set(ours) ^ expected)[:5]}"]
    found: dict[tuple[str, str, str], set[int]] = {}
    compared = 0
    for (part, year), mine in ours.items():
        other = holidays.country_holidays("FR", subdiv=PARTS[part], years=year, language="en_US")
        theirs = {day.isoformat(): name for day, name in other.items()}
        compared += len(mine | set(theirs))
        for day in mine - set(theirs):
            found.setdefault((part, "ours", day[5:]), set()).add(year)
        for day in set(theirs) - mine:
            found.setdefault((part, "theirs", theirs[day]), set()).add(year)
    problems = []
    for what in sorted(set(found) | set(EXPLAINED)):
        years, explained = found.get(what, set()), set(EXPLAINED.get(what, ((), ""))[0])
        if years != explained:
            problems.append(f"{what}: differs in {sorted(years)}, explained for {sorted(explained)}")
    return compared, problems


def clocks_differ() -> tuple[int, list[str]]:
    """The number of changes of the hour compared, and what is not the same."""
    ours: dict[str, list[tuple[str, int]]] = {}
    for line in (DATA / "clocks.txt").read_text().splitlines():
        zone, at, offset = line.split()
        ours.setdefault(zone, []).append((at, int(offset)))
    # The machine's own tables may be old.
    zoneinfo.reset_tzpath(to=[])
    problems = []
    compared = 0
    for zone, mine in ours.items():
        clock = zoneinfo.ZoneInfo(zone)
        at = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
        end = datetime.datetime(2041, 1, 1, tzinfo=datetime.timezone.utc)
        theirs: list[tuple[str, int]] = []
        # Changes of the hour fall on whole hours of UTC in all of these zones.
        while at < end:
            offset = int(at.astimezone(clock).utcoffset().total_seconds())
            if not theirs or theirs[-1][1] != offset:
                theirs.append((at.strftime("%Y-%m-%dT%H:%M:%SZ"), offset))
            at += datetime.timedelta(hours=1)
        compared += len(theirs)
        if mine != theirs:
            problems.append(f"{zone}: here only {sorted(set(mine) - set(theirs))[:3]}, "
                            f"there only {sorted(set(theirs) - set(mine))[:3]}")
    if len(ours) != 12:
        problems.append(f"{len(ours)} zones, not 12")
    return compared, problems


def main() -> int:
    days, of_days = holidays_differ()
    changes, of_clocks = clocks_differ()
    for problem in of_days + of_clocks:
        print(f"  {problem}", file=sys.stderr)
    explained = sum(len(years) for years, _ in EXPLAINED.values())
    print(f"{days} public holidays as PyPI's holidays {holidays.__version__} has them, but {explained} that are "
          f"explained; {changes} clocks and changes of the hour as zoneinfo has them")
    return 1 if of_days or of_clocks else 0


if __name__ == "__main__":
    sys.exit(main())
