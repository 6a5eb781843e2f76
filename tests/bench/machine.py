"""What the machine is, and what the primitives cost on it."""

import os
import platform
import re
import statistics
import subprocess
import tempfile


def processor():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*: (.*)", file.read(), re.M)
    return found.group(1) if found else platform.machine()


def _speed(*arguments):
    """What openssl speed says for those who parse it."""
    return subprocess.run(
        ["openssl", "speed", "-mr", "-seconds", "1", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def rsa_microseconds():
    """What one RSA-2048 signature costs here, by OpenSSL's own measure."""
    found = re.search(rb"^\+F2:\d+:2048:([0-9.e+-]+):", _speed("rsa2048"),
                      re.M)
    if not found:
        return None
    value = float(found.group(1))  # seconds each, or in newer ones how many
    return value * 1e6 if value < 1 else 1e6 / value


def sha256_bytes_per_second():
    """In blocks of 16 KiB."""
    found = re.search(rb"^\+F:\d+:\w+:(?:[0-9.e+]+:)*([0-9.e+]+)\s*$",
                      _speed("-evp", "sha256", "-bytes", "16384"), re.M)
    return float(found.group(1)) if found else None


def commit_microseconds(directory):
    """What one commit of the store's engine costs now, by itself."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        said = subprocess.run(
            [os.path.join(os.environ["BUILD"], "tests/bench/bench-commit"),
             place], stdout=subprocess.PIPE, check=True).stdout
    return statistics.median(map(int, said.split()))


def facts():
    return {"cores": os.cpu_count(), "processor": processor(),
            "rsa_us": rsa_microseconds(),
            "sha256_bytes_per_s": sha256_bytes_per_second()}


def sentence(machine):
    return "%d cores, %s; OpenSSL signs RSA-2048 in %s µs; medians" % (
        machine["cores"], machine["processor"],
        "%.0f" % machine["rsa_us"] if machine["rsa_us"] else "?")
