"""Loads by public tools from Debian: wrk for many requests in a row, h2load (nghttp2-client) for a few at once.

ab sends a first request alone, and the others when it has its answer; h2load sends all at once.

A signature of AWS's (SigV4) holds for five minutes and for any number of equal requests, so one is made by botocore and the
tool sends it again and again.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import tempfile
import time

import botocore.auth
import botocore.awsrequest

SCRIPT = pathlib.Path(__file__).with_name("wrk.lua")
SECONDS = 3

# A thousand callers need as many sockets.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


class Target:
    """Where a request goes; signed anew for each load if it has a session."""

    def __init__(self, url, session=None):
        self.url, self.session = url, session

    def headers(self, body):
        if self.session is None:
            return {}
        headers = {"Content-Type": "application/json"}
        request = botocore.awsrequest.AWSRequest("POST", self.url, data=body, headers=headers)
        signer = botocore.auth.SigV4Auth(self.session.get_credentials(), "lambda", self.session.region_name)
        signer.add_auth(request)
        return {name: request.headers[name] for name in ("Authorization", "X-Amz-Date")}


def flood(target, callers, body, runs):
    """wrk's figures of that many callers with kept connections, medians of the runs: p50 and p99 in ms, requests a second."""
    flood_once(target, callers, body)
    figures = [flood_once(target, callers, body) for _ in range(runs)]
    return [statistics.median(values) for values in zip(*figures)]


def flood_once(target, callers, body):
    headers = "\n".join(f"{name}\t{value}" for name, value in target.headers(body.encode()).items())
    words = ["wrk", "--threads", "1", "--connections", str(callers), "--duration", f"{SECONDS}s", "--timeout", "60s"]
    said = subprocess.run([*words, "--script", SCRIPT, target.url], env=os.environ | {"BODY": body, "HEADERS": headers},
                          check=True, capture_output=True, text=True).stdout
    figures = json.loads(said.splitlines()[-1])
    if figures["failed"]:
        raise SystemExit(f"{target.url}: {figures['failed']} of {figures['requests']} requests failed")
    return figures["p50_us"] / 1000, figures["p99_us"] / 1000, figures["requests"] / figures["us"] * 1e6


def at_once(target, count, body):
    """Milliseconds from the first of these requests' begin to the last one's answer, by h2load; each has a connection."""
    requests = h2load(target, count, body)
    return (max(begin + took for begin, _, took in requests) - min(begin for begin, _, _ in requests)) / 1000


def at_once_each(target, count, body):
    """Milliseconds that each of these requests took."""
    return [took / 1000 for _, _, took in h2load(target, count, body)]


def h2load(target, count, body):
    """Of each request: begin in us since 1970, status, us that it took. All must succeed."""
    with tempfile.TemporaryDirectory() as folder:
        payload, log = pathlib.Path(folder, "payload"), pathlib.Path(folder, "log")
        payload.write_text(body)
        words = ["h2load", "--h1", f"--requests={count}", f"--clients={count}", "--threads=1", f"--data={payload}"]
        words += [f"--log-file={log}", "--header=Content-Type: application/json"]
        words += [f"--header={name}: {value}" for name, value in target.headers(body.encode()).items()]
        subprocess.run([*words, target.url], check=True, capture_output=True)
        requests = [[int(field) for field in line.split()] for line in log.read_text().splitlines()]
    if [status for _, status, _ in requests] != [200] * count:
        raise SystemExit(f"{target.url}: {[status for _, status, _ in requests if status != 200]} among {len(requests)} answers")
    return requests


def busy_ms():
    """Processor time that the machine has spent, all cores, in steps of 10 ms."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    idle = int(fields[3]) + int(fields[4])
    return (sum(map(int, fields[:8])) - idle) * 10


def wait_for_rest():
    """Until the machine is nearly idle: what ended before is taken apart for a while. False if it is not after 10 s."""
    for _ in range(50):
        before = busy_ms()
        time.sleep(0.2)
        if busy_ms() - before <= 20:
            return True
    return False
