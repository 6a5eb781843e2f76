import argparse
import sys

from stand import Stand

from harness import bad_disk, signet
from harness.preload import DiskFaults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    with Stand() as stand:
        faults = DiskFaults(stand.directory)
        stand.relay = signet.Relay(stand.setup, env=faults.environment)
        problems = bad_disk.run(stand.relay, stand.account, faults,
                                given.seconds)
    for problem in problems:
        print("FAILED: " + problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
