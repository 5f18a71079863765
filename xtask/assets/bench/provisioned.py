"""Measures provisioned concurrency under a burst, and prints Markdown. Arguments: BOOTSTRAP RUNS.

The question: of 100 requests at once against 50 environments that were started ahead, do the first 50 see no init, and
is their p99 near that of 50 warm environments?
"""

import json
import statistics
import sys
import time

from deploy import OFTEN, aws, create, invocations, metrics, program, session
from load import Target, at_once_each, wait_for_rest

BOOTSTRAP, RUNS = sys.argv[1], int(sys.argv[2])
AHEAD, REQUESTS, SLEEP_MS = 50, 100, 2000
EVENT = json.dumps({"sleep_ms": SLEEP_MS})


def publish(name):
    """A function with a version, and where its invocations go."""
    create(name, Publish=True, **program(BOOTSTRAP))
    aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1", WaiterConfig=OFTEN)
    return Target(f"{invocations(name)}?Qualifier=1", session)


def counted(name, metric):
    found = [value for key, value in metrics().items() if key.startswith(metric + "{") and f'function="{name}"' in key]
    return int(found[0])


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
