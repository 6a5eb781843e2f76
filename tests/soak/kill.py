import argparse
import sys

from stand import Stand

from harness import kills


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=kills.VICTIMS)
    return parser.parse_args()


def main():
    given = arguments()
    with Stand() as stand:
        stand.relay.start()
        problems = kills.run(stand.relay, stand.sink, given.rounds,
                             given.seed, given.only)
    for problem in problems:
        print("FAILED: " + problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
