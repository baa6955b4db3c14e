"""`slowest.py REPORT…`: what took longest, by the JUnit reports of pytest.

Owns: sums and their order. Never: a verdict; how long a test takes is no property of the code.
"""

import re
import sys
from collections import Counter
from xml.etree import ElementTree

MANY = 10


def main(reports: list[str]) -> None:
    """Print the slowest files, and the slowest tests, over all reports."""
    files: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for report in reports:
        for case in ElementTree.parse(report).iter("testcase"):
            seconds, module = float(case.get("time", 0)), case.get("classname", "")
            file = re.sub(r"\.[A-Z]\w*$", "", module)
            files[file] += seconds
            tests[f"{module}::{case.get('name')}"] += seconds
    for what, found in (("files", files), ("tests", tests)):
        sys.stdout.write(f"the slowest {what}, in seconds of one worker:\n")
        for name, seconds in found.most_common(MANY):
            sys.stdout.write(f"{seconds:8.1f}  {name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
