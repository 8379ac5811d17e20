"""The machine on which the figures were measured, and the versions of everything."""
import hashlib
import os
import platform
import re
import subprocess
from datetime import date

PACKAGES = {"moodycamel": "libconcurrentqueue-dev", "spdlog": "libspdlog-dev", "oneTBB": "libtbb-dev", "LTTng-UST": "liblttng-ust-dev",
            "librdkafka": "librdkafka-dev", "glibc": "libc6"}
CRATES = {"crossbeam-queue", "crossbeam-channel", "rtrb", "tracing-appender", "opentelemetry_sdk"}


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def library_hash(root):
    return hashlib.sha256((root / "build" / "prefix" / "lib" / "libcapture_pipeline.so").resolve().read_bytes()).hexdigest()


def processor():
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def describe(root):
    versions = {}
    for name, package in PACKAGES.items():
        version = output_of("dpkg-query", "-W", "-f", "${Version}", package)
        if version:
            versions[name] = version
    lock = (root / "benches" / "peers" / "Cargo.lock").read_text()
    for name, version in re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"', lock):
        if name in CRATES:
            versions[name] = version
    library = re.search(r'^version = "(.+)"', (root / "Cargo.toml").read_text(), re.M)
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "virtual": "hypervisor" in open("/proc/cpuinfo").read(),
        "kernel": platform.release(),
        "system": output_of("sh", "-c", ". /etc/os-release && echo $PRETTY_NAME"),
        "gcc": output_of("gcc", "-dumpfullversion"),
        "rustc": output_of("rustc", "--version").removeprefix("rustc "),
        "library": library.group(1) if library else "",
        "versions": versions,
    }


def in_words(m):
    where = f"{m['processors']} processors, {m['processor']}{', a virtual machine' if m['virtual'] else ''}"
    what = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    return f"{where}; {m['system']}, Linux {m['kernel']}; gcc {m['gcc']}, rustc {m['rustc']}\ncapture_pipeline {m['library']}; {what}"
