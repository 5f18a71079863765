"""Measures functions through the gateway; prints Markdown. Arguments: BOOTSTRAP ONNX-ROOT REGISTRY COLD-RUNS.

Whole requests as a client makes them: signed, over HTTP with a kept connection. The load is ab's (Debian's apache2-utils).
"""

import concurrent.futures
import io
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config

BOOTSTRAP, ONNX_ROOT, REGISTRY, RUNS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
AT_ONCE = 20
IDLE = 1000
SETTINGS = botocore.config.Config(max_pool_connections=IDLE, read_timeout=300, retries={"total_max_attempts": 1})
session = boto3.Session()
aws = session.client("lambda", config=SETTINGS)
rows = []


def row(what, aim, measured, beside=""):
    rows.append((what, aim, measured, beside))
    print(f"{what}: {measured} {beside}", file=sys.stderr, flush=True)


def ms(values, share=0.5):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def bootstrap_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, pathlib.Path(BOOTSTRAP).read_bytes())
    return buffer.getvalue()


def settled(name):
    aws.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 12000})
    aws.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 12000})


def create(name, **settings):
    aws.create_function(FunctionName=name, Role="arn:aws:iam::000000000000:role/bench", Timeout=60, **settings)
    settled(name)


def change(name, number):
    """Another configuration: the next invocation is cold."""
    aws.update_function_configuration(FunctionName=name, Environment={"Variables": {"QUIET": "1", "NUMBER": str(number)}})
    settled(name)


def invoke(name, event):
    begin = time.perf_counter()
    answer = aws.invoke(FunctionName=name, Payload=json.dumps(event))
    payload = answer["Payload"].read()
    took = time.perf_counter() - begin
    if "FunctionError" in answer:
        raise SystemExit(f"{name}: {payload}")
    return took


def ab(name, count, callers):
    """The load tool's own figures: milliseconds by per cent, and requests in a second."""
    endpoint = aws.meta.endpoint_url
    url = f"{endpoint}/2015-03-31/functions/{name}/invocations"
    body = b'{"do": "echo"}'
    request = botocore.awsrequest.AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"})
    botocore.auth.SigV4Auth(session.get_credentials(), "lambda", session.region_name).add_auth(request)
    with tempfile.TemporaryDirectory() as folder:
        payload, table = pathlib.Path(folder, "payload"), pathlib.Path(folder, "table")
        payload.write_bytes(body)
        words = ["ab", "-q", "-k", "-n", str(count), "-c", str(callers), "-e", str(table), "-p", str(payload)]
        words += ["-T", "application/json"]
        for header in ("Authorization", "X-Amz-Date"):
            words += ["-H", f"{header}: {request.headers[header]}"]
        said = subprocess.run([*words, url], check=True, capture_output=True, text=True).stdout
        if "Non-2xx" in said or "Failed requests:        0" not in said:
            raise SystemExit(said)
        shares = dict(line.split(",") for line in table.read_text().splitlines()[1:])
        rate = float(said.split("Requests per second:")[1].split()[0])
    return float(shares["50"]), float(shares["99"]), rate


def warm():
    create("echo", Runtime="provided.al2023", Handler="bootstrap", MemorySize=1769, Code={"ZipFile": bootstrap_zip()},
           Environment={"Variables": {"QUIET": "1"}})
    invoke("echo", {"do": "echo"})
    p50, p99, _ = ab("echo", 5000, 1)
    row("warm invoke, one caller", "p50 1 ms, p99 5 ms", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    ab("echo", 2000, 10)
    p50, p99, rate = ab("echo", 30000, 10)
    row("warm invokes, 10 callers", "3,000 a second", f"{rate:.0f} a second, p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def cold():
    times = []
    for number in range(RUNS):
        change("echo", number)
        times.append(invoke("echo", {"do": "echo"}))
    one = ms(times)
    row("cold start of the Rust function", "60 ms", f"p50 {one:.1f} ms, p99 {ms(times, 0.99):.1f} ms ({RUNS} starts)")
    ratios = []
    for number in range(3):
        change("echo", f"at once {number}")
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            together = list(pool.map(lambda _: invoke("echo", {"do": "sleep", "ms": 500}), range(AT_ONCE)))
        ratios.append((max(together) - 0.5) * 1000)
    last = statistics.median(ratios)
    row(f"{AT_ONCE} cold starts at once, until the last", "4 times one", f"{last:.0f} ms, {last / one:.1f} times one")


def python():
    bare = []
    inside = "cd /function && exec python3 -c 'import handler'"
    subprocess.run(["mount", "--bind", "/dev", f"{ONNX_ROOT}/dev"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", f"{ONNX_ROOT}/proc"], check=True)
    program = ["chroot", ONNX_ROOT, "/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", inside]
    try:
        for _ in range(RUNS // 2 + 1):
            begin = time.perf_counter()
            subprocess.run(program, check=True, capture_output=True)
            bare.append(time.perf_counter() - begin)
    finally:
        subprocess.run(["umount", f"{ONNX_ROOT}/dev", f"{ONNX_ROOT}/proc"], check=True)
    bare = ms(bare)
    create("embedder", PackageType="Image", MemorySize=3538, Code={"ImageUri": f"{REGISTRY}/embedder:v1"})
    first = invoke("embedder", {"sentences": ["first"]}) * 1000
    times = []
    for number in range(RUNS // 2 + 1):
        change("embedder", number)
        times.append(invoke("embedder", {"sentences": ["cold"]}))
    cold_ms = ms(times)
    row("cold start of onnxruntime in Python, page cache warm", "1.3 times the bare import",
        f"p50 {cold_ms:.0f} ms, {cold_ms / bare:.2f} times", f"import in a chroot {bare:.0f} ms; the very first start {first:.0f} ms")


def available():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) / 1024


def idle():
    aws.update_function_configuration(FunctionName="echo", MemorySize=128)
    settled("echo")
    before = available()
    with concurrent.futures.ThreadPoolExecutor(IDLE) as pool:
        list(pool.map(lambda _: invoke("echo", {"do": "sleep", "ms": 30000}), range(IDLE)))
    time.sleep(2)
    used = before - available()
    text = session.client("lambda", config=SETTINGS).meta.endpoint_url
    metrics = subprocess.run(["curl", "-s", f"{text}/metrics"], capture_output=True, text=True).stdout
    count = [line for line in metrics.splitlines() if "environment" in line and "idle" in line]
    row(f"{IDLE} idle environments of the Rust function", "8 GiB", f"{used / 1024:.2f} GiB", "; ".join(count)[:120])


for step in (warm, cold, python, idle):
    try:
        step()
    except Exception as error:
        row(step.__name__, "", f"failed: {str(error)[:300]}")

print("| what | aim | measured | beside it |\n|---|---|---|---|")
for line in rows:
    print("| " + " | ".join(line) + " |")
