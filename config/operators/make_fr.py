#!/usr/bin/env python3
"""Writes fr.toml: which operator a number of the French number space was given to.

    python3 -m venv venv && venv/bin/pip install phonenumbers==9.0.43
    venv/bin/python config/operators/make_fr.py > config/operators/fr.toml

The source is the carrier table of libphonenumber, in the form that the PyPI package `phonenumbers` carries. Operators
with fewer than LEAST prefixes in metropolitan France are joined in `[operators.others]`, so that a number of theirs that
lies within a bigger one's prefix is not taken for the bigger one's. Each territory overseas has `others-xx` for what the
table does not know. Nothing is fetched here; the same version of the package gives the same file.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import defaultdict

import phonenumbers
from phonenumbers.carrierdata import CARRIER_DATA

LEAST = 5

# By the region that libphonenumber gives their numbers: +262 is Réunion and Mayotte.
TERRITORIES = [
    ("FR", "Europe/Paris", "metropolitan France"),
    ("GP", "America/Guadeloupe", "Guadeloupe, Saint-Martin, Saint-Barthélemy"),
    ("MQ", "America/Martinique", "Martinique"),
    ("GF", "America/Cayenne", "French Guiana"),
    ("YT", "Indian/Mayotte", "Mayotte"),
    ("RE", "Indian/Reunion", "Réunion"),
    ("PM", "America/Miquelon", "Saint-Pierre-et-Miquelon"),
    ("NC", "Pacific/Noumea", "New Caledonia"),
    ("PF", "Pacific/Tahiti", "French Polynesia"),
    ("WF", "Pacific/Wallis", "Wallis-et-Futuna"),
]
COUNTRY_CODES = ("33", "590", "596", "594", "262", "508", "687", "689", "681")

# Numbers overseas that the table does not know yet still have their territory's hours.
OTHERS = [
    ("GP", "590"),
    ("MQ", "596"),
    ("GF", "594"),
    ("RE", "262"),
    ("YT", "262269"),
    ("YT", "262639"),
    ("PM", "508"),
    ("NC", "687"),
    ("PF", "689"),
    ("WF", "681"),
]

# The table's names, by the name that people know them by.
NAMES = {
    "Orange France": "orange",
    "SFR/Rife": "sfr",
    "SFR Caraibe": "sfr",
    "Bouygues": "bouygues",
    "Free Mobile": "free",
    "Free Caraïbe": "free",
    "Free Caraibe": "free",
    "Euroinformation Telecom": "euro-information",
    "La poste telecom": "la-poste",
    "Lebara France Limited": "lebara",
    "Telco OI": "free",
    "BJT": "maore",
    "ZEOP Mobile": "zeop",
    "Service des Postes et Télécommunications": "spt",
}

# Pagers and satellites.
NO_HANDSETS = {"e*Message", "Globalstar Europe", "Airbus Defence and Space", "TDF"}


def slug(carrier: str) -> str:
    plain = unicodedata.normalize("NFD", carrier).encode("ascii", "ignore").decode().lower()
    return NAMES.get(carrier) or re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def territory(prefix: str) -> str | None:
    """The region of the shortest number that begins so; Saint-Martin and Saint-Barthélemy are numbered as Guadeloupe."""
    for length in range(8, 13):
        for digit in "0123456789":
            number = phonenumbers.parse("+" + prefix.ljust(length, digit))
            region = phonenumbers.region_code_for_number(number)
            if region is not None:
                return {"MF": "GP", "BL": "GP"}.get(region, region)
    return None


def joined(prefixes: set[str]) -> list[str]:
    """The same numbers in fewer prefixes: ten neighbours are one that is shorter."""
    while True:
        parents = defaultdict(set)
        for prefix in prefixes:
            parents[prefix[:-1]].add(prefix)
        whole = {parent: ten for parent, ten in parents.items() if len(ten) == 10}
        if not whole:
            return sorted(prefixes)
        for parent, ten in whole.items():
            prefixes = prefixes - ten | {parent}


def longest(number: str, owners: dict[str, str]) -> str | None:
    return next((owners[number[:n]] for n in range(len(number), 0, -1) if number[:n] in owners), None)


def main() -> None:
    operators: dict[tuple[str, str], set[str]] = defaultdict(set)
    carriers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for prefix, names in CARRIER_DATA.items():
        carrier = names.get("en") or names.get("fr", "")
        if not prefix.startswith(COUNTRY_CODES) or carrier in NO_HANDSETS:
            continue
        place = territory(prefix)
        if place not in [code for code, _, _ in TERRITORIES]:
            sys.exit(f"+{prefix} of {carrier} lies in {place}")
        name = slug(carrier)
        if place != "FR":
            name = name.removesuffix(f"-{place.lower()}") + f"-{place.lower()}"
        operators[place, name].add(prefix)
        carriers[place, name].add(carrier)

    for place, prefix in OTHERS:
        operators[place, f"others-{place.lower()}"].add(prefix)

    for key in [key for key, prefixes in operators.items() if key[0] == "FR" and len(prefixes) < LEAST]:
        operators["FR", "others"] |= operators.pop(key)
        carriers["FR", "others"] |= carriers.pop(key)

    out = [
        "# Operators of the French number space, by the prefixes that they were given.",
        "#",
        f"# Made by make_fr.py from the carrier table of libphonenumber {phonenumbers.__version__}; do not edit.",
        '# In relais.toml:  include = ["operators/fr.toml"]',
        "#",
        "# A number that was taken along to another operator still has the prefix of the first: a prefix is a guess. What",
        "# relais.toml says of an operator (route, retry, validity, ...) is joined to what stands here under its name.",
    ]
    written: dict[str, str] = {}
    for place in TERRITORIES:
        code, zone, title = place
        mine = sorted(name for (where, name) in operators if where == code)
        out += ["", f"# -- {title}"]
        for name in mine:
            out += ["", f"[operators.{name}]"]
            if carriers[code, name] and name != "others":
                out.append(f"# {', '.join(sorted(carriers[code, name]))}")
            if code != "FR":
                out += [f'territory = "{code}"', f'timezone = "{zone}"']
            out.append("prefixes = [")
            line = "   "
            for prefix in joined(operators[code, name]):
                if written.setdefault(prefix, name) != name:
                    sys.exit(f"+{prefix} belongs to {name} and to {written[prefix]}")
                item = f' "+{prefix}",'
                if len(line) + len(item) > 110:
                    out.append(line)
                    line = "   "
                line += item
            out += [line, "]"]
    for (_, name), prefixes in operators.items():
        for prefix in prefixes:
            if longest(prefix, written) != name:
                sys.exit(f"+{prefix} of {name} would be taken for one of {longest(prefix, written)}")
    print("\n".join(out))
    print(f"{len(operators)} operators", file=sys.stderr)


if __name__ == "__main__":
    main()
