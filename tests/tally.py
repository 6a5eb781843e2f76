"""Counts what tests/run did and writes its last line.

usage: tally.py RESULTS REPORTS PART...

Every part that was asked for has to have passed something: a part that ran
nothing is a failure.
"""

import json
import os
import re
import sys
import xml.etree.ElementTree

SYNTHESIS = re.compile(r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| "
                       r"Failing: (\d+) \| Crashing: (\d+)")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def listed(path):
    """Lines of "ok name" and "not ok name"."""
    if not os.path.exists(path):
        return 0, 0
    with open(path) as file:
        lines = file.read().splitlines()
    failed = sum(line.startswith("not ok ") for line in lines)
    return len(lines) - failed, failed


def unit(path, ended):
    """Criterion's own counts; a program that gave none counts as one, and so
    does a line that is cut. ended: a list of how meson ended, which counts
    where nothing else has failed."""
    passed = failed = 0
    if not os.path.exists(path):
        return 0, 1
    with open(path, errors="replace") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                print("the log of the unit tests is cut: %s" % line[:60])
                failed += 1
                continue
            text = COLOURS.sub("", (row.get("stdout") or "") +
                               (row.get("stderr") or ""))
            found = SYNTHESIS.search(text)
            good = row["result"] in ("OK", "EXPECTEDFAIL")
            tested = passing = broken = 0
            if found:
                tested, passing, failing, crashing = map(int, found.groups())
                broken = failing + crashing
                if tested == 0:
                    print("%s: no test in it" % row["name"])
                    broken = 1
            elif good:  # not Criterion's: the program is the test
                passing = 1
            if not good and broken == 0:
                print("%s: %s" % (row["name"], row["result"]))
                broken = 1
            passed += passing
            failed += broken
    if failed == 0 and listed(ended)[1] > 0:
        print("meson says that a unit test failed; its log names none")
        failed = 1
    return passed, failed


def system(path):
    """pytest's; skipped tests are named, and are neither."""
    if not os.path.exists(path):
        print("the system tests did not end in time")
        return 0, 1
    passed = failed = 0
    try:
        root = xml.etree.ElementTree.parse(path).getroot()
    except xml.etree.ElementTree.ParseError as error:
        print("the log of the system tests is cut: %s" % error)
        return 0, 1
    for case in root.iter("testcase"):
        name = "%s::%s" % (case.get("classname"), case.get("name"))
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed += 1
        elif "skipped" in kinds:
            print("skipped: %s: %s" % (name, case.find("skipped")
                                       .get("message")))
        else:
            passed += 1
    return passed, failed


def reported(directory):
    """One failure for each file of a sanitizer."""
    names = sorted(os.listdir(directory))
    for name in names[:5]:
        print("--- %s" % name)
        with open(os.path.join(directory, name), errors="replace") as file:
            print("".join(file.readlines()[:40]))
    if names:
        print("sanitizer reports: %d, in %s" % (len(names), directory))
    return 0, len(names)


def main():
    results, reports, parts = sys.argv[1], sys.argv[2], sys.argv[3:]
    counts = {}
    for part in parts:
        path = os.path.join(results, part)
        if part == "unit":
            counts[part] = unit(path + ".json", path)
        elif part == "system":
            counts[part] = system(path + ".xml")
        else:
            counts[part] = listed(path)
        optional = part == "fuzz" and not os.path.isdir("tests/fuzz")
        if counts[part] == (0, 0) and not optional:
            print("%s: nothing ran" % part)
            counts[part] = (0, 1)
    counts["sanitizers"] = reported(reports)
    for part, (passed, failed) in counts.items():
        print("%-10s %4d passed, %d failed" % (part, passed, failed))
    passed = sum(count[0] for count in counts.values())
    failed = sum(count[1] for count in counts.values())
    print("%d passed, %d failed" % (passed, failed))
    return 0 if passed and not failed else 1


sys.exit(main())
