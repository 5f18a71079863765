"""Measures provisioned concurrency under a burst, and prints Markdown. Arguments: BOOTSTRAP RUNS.

The question: of 100 requests at once against 50 environments that were started ahead, do the first 50 see no init, and
is their p99 near that of 50 warm environments?
"""

import io
import json
import pathlib
import statistics
import sys
import time
import urllib.request
import zipfile

import boto3
import botocore.config

from load import Target, at_once_each, wait_for_rest

BOOTSTRAP, RUNS = sys.argv[1], int(sys.argv[2])
AHEAD, REQUESTS, SLEEP_MS = 50, 100, 2000
EVENT = json.dumps({"sleep_ms": SLEEP_MS})
session = boto3.Session()
aws = session.client("lambda", config=botocore.config.Config(read_timeout=300, retries={"total_max_attempts": 1}))
OFTEN = {"Delay": 0.05, "MaxAttempts": 12000}


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, pathlib.Path(BOOTSTRAP).read_bytes())
    return {"ZipFile": buffer.getvalue()}


def publish(name):
    """A function with a version, and where its invocations go."""
    aws.create_function(
        FunctionName=name,
        Role="arn:aws:iam::000000000000:role/bench",
        Timeout=60,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Code=zipped(),
        Publish=True,
    )
    aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1", WaiterConfig=OFTEN)
    return Target(f"{aws.meta.endpoint_url}/2015-03-31/functions/{name}/invocations?Qualifier=1", session)


def counted(name, metric):
    with urllib.request.urlopen(f"{aws.meta.endpoint_url}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith(metric + "{") and f'function="{name}"' in line]
    return int(float(found[0].rsplit(" ", 1)[1]))


def provision(name, count):
    aws.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=count)
    while True:
        found = aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
        if found["Status"] == "READY":
            return
        if found["Status"] == "FAILED":
            raise SystemExit(f"provisioned concurrency failed: {found}")
        time.sleep(0.05)


def p99(values):
    return sorted(values)[-(-len(values) * 99 // 100) - 1]


def shown(values):
    return f"{statistics.median(values):.1f} ms ({min(values):.1f} to {max(values):.1f})"


def main():
    warm = publish("warm")
    # So many warm environments as the others have ahead.
    at_once_each(warm, AHEAD, EVENT)
    ready, warm_p99, first_p99, all_p99, served, spilled = [], [], [], [], [], []
    for run in range(RUNS):
        # Another function each time: what spilled over before is warm and would hide what it costs.
        name = f"ahead-{run}"
        ahead = publish(name)
        began = time.monotonic()
        provision(name, AHEAD)
        ready.append((time.monotonic() - began) * 1000)
        wait_for_rest()
        warm_p99.append(p99(at_once_each(warm, AHEAD, EVENT)) - SLEEP_MS)
        wait_for_rest()
        times = sorted(at_once_each(ahead, REQUESTS, EVENT))
        served.append(counted(name, "lambent_provisioned_concurrency_invocations_total"))
        spilled.append(counted(name, "lambent_provisioned_concurrency_spillover_invocations_total"))
        first_p99.append(p99(times[:AHEAD]) - SLEEP_MS)
        all_p99.append(p99(times) - SLEEP_MS)
        print(f"run {run}: {warm_p99[-1]:.1f} {first_p99[-1]:.1f} {all_p99[-1]:.1f} ms", file=sys.stderr, flush=True)
        aws.delete_function(FunctionName=name)
    print("| what | aim | measured |")
    print("|---|---|---|")
    print(f"| {AHEAD} environments started ahead, from the call to READY | | {shown(ready)} |")
    print(f"| p99 of {AHEAD} at once, {AHEAD} warm environments, above the {SLEEP_MS} ms that each sleeps | | {shown(warm_p99)} |")
    print(f"| p99 of the first {AHEAD} of {REQUESTS} at once, {AHEAD} environments ahead | 1.2 of it | {shown(first_p99)} |")
    print(f"| p99 of all {REQUESTS} | | {shown(all_p99)} |")
    print(f"| served by environments ahead; spilled over, in each run | {AHEAD}; {REQUESTS - AHEAD} | {served}; {spilled} |")


main()
