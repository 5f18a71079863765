"""Measures functions through the gateway, and emulators beside it; prints Markdown.

Arguments: BOOTSTRAP ONNX-ROOT REGISTRY EMULATORS WORK RUNS. Whole requests as a client makes them: signed, over HTTP.
"""

import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys
import time

import emulators
from deploy import aws, create, metrics, settled, zipped
from load import Target, at_once, busy_ms, flood, wait_for_rest

BOOTSTRAP, ONNX_ROOT, REGISTRY, EMULATORS, WORK = sys.argv[1:6]
RUNS = int(sys.argv[6])
# Cold starts of one function are short: more of them for the same time.
COLD_STARTS = 4 * RUNS
AT_ONCE = 20
AT_ONCE_MS = 500
IDLE = 1000
# Long enough for a thousand cold starts on two cores, so that none of them finds an environment that is free again.
IDLE_MS = 60_000
EVENT = '{"a": 1}'
promises, servers = [], []
restless = 0


def promise(what, aim, measured, beside=""):
    promises.append((what, aim, measured, beside))
    print(f"{what}: {measured} {beside}", file=sys.stderr, flush=True)


def change(name, number, **settings):
    """Another configuration: the next invocation is cold. What was there before is gone when this returns."""
    global restless
    aws.update_function_configuration(FunctionName=name, Environment={"Variables": {"NUMBER": str(number)}}, **settings)
    settled(name)
    restless += not wait_for_rest()


def environments():
    values = metrics()
    return {state: int(values[f'lambent_environments{{state="{state}"}}']) for state in ("idle", "busy", "starting")}


def least(values):
    return f"{min(values):.1f} to {max(values):.1f}"


def loaded(name, language, target, body, what):
    """One caller and ten: a row of the table of servers."""
    ten = flood(target, 10, body, RUNS)
    one = flood(target, 1, body, RUNS)
    servers.append((name, language, f"{one[0]:.2f} / {one[1]:.2f}", f"{ten[2]:,.0f}", f"{ten[0]:.2f} / {ten[1]:.2f}", what))
    print(*servers[-1], file=sys.stderr, flush=True)
    return one, ten


def warm():
    code = zipped("bootstrap", pathlib.Path(BOOTSTRAP).read_bytes())
    target = create("echo", Runtime="provided.al2023", Handler="bootstrap", MemorySize=1769, Code=code)
    one, ten = loaded("Lambent, Invoke", "Rust", target, EVENT, "runs it, in 10 sandboxes; each request's signature is checked")
    promise("warm invoke, one caller", "p50 1 ms, p99 5 ms", f"p50 {one[0]:.2f} ms, p99 {one[1]:.2f} ms")
    promise("warm invokes, 10 callers", "3,000 a second", f"{ten[2]:,.0f} a second, p50 {ten[0]:.2f} ms, p99 {ten[1]:.2f} ms")
    url = aws.create_function_url_config(FunctionName="echo", AuthType="NONE")["FunctionUrl"]
    aws.add_permission(FunctionName="echo", StatementId="all", Action="lambda:InvokeFunctionUrl", Principal="*",
                       FunctionUrlAuthType="NONE")
    loaded("Lambent, function URL", "Rust", Target(url), EVENT, "the same; the request becomes an event of version 2.0")
    return target


def node():
    code = zipped("index.js", pathlib.Path(__file__).with_name("handler.js").read_bytes())
    target = create("node", Runtime="nodejs20.x", Handler="index.handler", MemorySize=1769, Code=code)
    loaded("Lambent, Invoke", "Node.js", target, EVENT, "runs it under aws-lambda-ric, in 10 sandboxes")
    aws.delete_function(FunctionName="node")


def beside(name, language, begin, what):
    server, target, body = begin(pathlib.Path(EMULATORS), pathlib.Path(WORK))
    try:
        emulators.post(target, body)
        loaded(name, language, target, body, what)
    finally:
        server.end()


def cold(target):
    one, ratio = [], []
    busy = 0
    for number in range(COLD_STARTS):
        change("echo", number)
        before = busy_ms()
        one.append(at_once(target, 1, EVENT))
        busy += busy_ms() - before
    middle = statistics.median(one)
    promise("cold start of the Rust function", "60 ms", f"p50 {middle:.1f} ms ({least(one)})",
            f"{COLD_STARTS} starts, {busy / COLD_STARTS:.1f} ms of processor time each")
    busy = 0
    for number in range(RUNS):
        change("echo", f"at once {number}")
        before = busy_ms()
        ratio.append(at_once(target, AT_ONCE, json.dumps({"sleep_ms": AT_ONCE_MS})) - AT_ONCE_MS)
        busy += busy_ms() - before
    last = statistics.median(ratio)
    each = busy / RUNS / AT_ONCE
    promise(f"{AT_ONCE} cold starts at once, until the last", "4 times one", f"{last:.0f} ms ({least(ratio)}), {last / middle:.1f} times one",
            f"{each:.1f} ms of processor time each, so two cores need {each * AT_ONCE / 2:.0f} ms")


def python():
    bare = []
    inside = "cd /function && exec python3 -c 'import handler'"
    subprocess.run(["mount", "--bind", "/dev", f"{ONNX_ROOT}/dev"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", f"{ONNX_ROOT}/proc"], check=True)
    program = ["chroot", ONNX_ROOT, "/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", inside]
    try:
        for _ in range(RUNS + 1):
            begin = time.perf_counter()
            subprocess.run(program, check=True, capture_output=True)
            bare.append((time.perf_counter() - begin) * 1000)
    finally:
        subprocess.run(["umount", f"{ONNX_ROOT}/dev", f"{ONNX_ROOT}/proc"], check=True)
    # The first one has read the files from the disk.
    bare = statistics.median(bare[1:])
    target = create("embedder", PackageType="Image", MemorySize=3538, Code={"ImageUri": f"{REGISTRY}/embedder:v1"})
    event = json.dumps({"sentences": ["cold"]})
    first = at_once(target, 1, event)
    times = []
    for number in range(RUNS):
        change("embedder", number)
        times.append(at_once(target, 1, event))
    middle = statistics.median(times)
    promise("cold start of onnxruntime in Python, page cache warm", "1.3 times the bare import",
            f"p50 {middle:.0f} ms ({least(times)}), {middle / bare:.2f} times",
            f"import in a chroot {bare:.0f} ms; the very first start {first:.0f} ms")
    aws.delete_function(FunctionName="embedder")


def available_mb():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) / 1024


def idle(target):
    change("echo", "idle", MemorySize=128)
    before = available_mb()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        load = pool.submit(at_once, target, IDLE, json.dumps({"sleep_ms": IDLE_MS}))
        begin, busy = time.monotonic(), 0
        while not load.done() and busy < IDLE:
            busy = environments()["busy"]
            time.sleep(0.1)
        took = time.monotonic() - begin
        load.result()
    # Each freezes a moment after its answer.
    wait_for_rest()
    used, count = before - available_mb(), environments()["idle"]
    promise(f"{IDLE:,} idle environments of the Rust function", "8 GiB", f"{used / 1024:.2f} GiB for {count:,}",
            f"all of them busy at once {took:.0f} s after the first request")


def attempt(step, *arguments):
    """A step that fails is a row that says so; the others are measured all the same."""
    try:
        return step(*arguments)
    except (Exception, SystemExit) as error:
        promise(step.__name__, "", f"failed: {str(error)[:300]}")


def main():
    target = warm()
    attempt(node)
    for emulator in emulators.ALL:
        attempt(beside, *emulator)
    attempt(cold, target)
    attempt(python)
    attempt(idle, target)
    print("| what | aim | measured | beside it |\n|---|---|---|---|")
    for line in promises:
        print("| " + " | ".join(line) + " |")
    if restless:
        print(f"\nOther work disturbed it: before {restless} of the cold starts the machine was not idle within 10 s.")
    print("\nThe same handler, which gives back its event, behind other servers:\n")
    print("| server | handler | 1 caller, p50 / p99 ms | 10 callers, a second | p50 / p99 ms | what it does with the handler |")
    print("|---|---|---|---|---|---|")
    for line in servers:
        print("| " + " | ".join(line) + " |")
    print(f"\n{emulators.ABSENT}")


main()
