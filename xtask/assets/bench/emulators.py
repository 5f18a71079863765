"""Lambda emulators from the registries, as a load tool meets them: started, flooded, ended."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import boto3

from load import Target

ASSETS = pathlib.Path(__file__).parent
START_SECONDS_MAX = 60


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Running:
    """A server in a process group of its own, which ends with it."""

    def __init__(self, words, folder, port, **environment):
        self.process = subprocess.Popen(words, cwd=folder, env=os.environ | environment, start_new_session=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.end()
                    raise SystemExit(f"{words[0]} does not serve: {error}") from error
                time.sleep(0.05)

    def end(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(timeout=10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


def post(target, body):
    headers = {"Content-Type": "application/json"} | target.headers(body.encode())
    request = urllib.request.Request(target.url, data=body.encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=300) as answer:
        return answer.read().decode()


def cargo_lambda(installed, work):
    """Ten processes, as Lambent has ten environments; built by cargo at the first invocation."""
    folder = work / "cargo-lambda"
    (folder / "src").mkdir(parents=True)
    shutil.copy(ASSETS / "handler.rs", folder / "src/main.rs")
    manifest = '[package]\nname = "echo"\nversion = "0.1.0"\nedition = "2024"\n\n[workspace]\n'
    (folder / "Cargo.toml").write_text(manifest)
    port = free_port()
    words = [installed / "python/bin/cargo-lambda", "lambda", "watch", "--release", "--ignore-changes", "--concurrency", "10"]
    server = Running([*words, "--invoke-address", "127.0.0.1", "--invoke-port", str(port)], folder, port,
                     CARGO_TARGET_DIR=str(folder / "target"))
    return server, Target(f"http://127.0.0.1:{port}/2015-03-31/functions/echo/invocations"), '{"a": 1}'


def moto(_installed, _work):
    port = free_port()
    server = Running([shutil.which("moto_server"), "--host", "127.0.0.1", "--port", str(port)], None, port)
    endpoint = f"http://127.0.0.1:{port}"
    post(Target(f"{endpoint}/moto-api/config"), json.dumps({"lambda": {"use_docker": False}}))
    # It tells services apart by their signatures, which it does not check.
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1")
    client = lambda service: session.client(service, endpoint_url=endpoint)
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = client("iam").create_role(RoleName="bench", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    empty_zip = b"PK\x05\x06" + bytes(18)
    client("lambda").create_function(FunctionName="echo", Role=role, Runtime="provided.al2023", Handler="bootstrap",
                                     Code={"ZipFile": empty_zip})
    return server, Target(f"{endpoint}/2015-03-31/functions/echo/invocations", session), '{"a": 1}'


def lambda_local(installed, _work):
    port = free_port()
    words = [installed / "node/node_modules/.bin/lambda-local", "--lambda-path", ASSETS / "handler.js"]
    server = Running([*words, "--handler", "handler", "--timeout", "60", "--verboselevel", "0", "--watch", str(port)], None, port)
    return server, Target(f"http://127.0.0.1:{port}/"), '{"event": {"a": 1}}'


def serverless_offline(installed, work):
    folder = work / "serverless"
    folder.mkdir(parents=True)
    shutil.copy(ASSETS / "handler.js", folder)
    # Serverless looks for plugins beside the service.
    (folder / "node_modules").symlink_to(installed / "node/node_modules")
    service = {"service": "bench", "frameworkVersion": "3", "plugins": ["serverless-offline"],
               "provider": {"name": "aws", "runtime": "nodejs20.x"},
               "functions": {"echo": {"handler": "handler.handler", "timeout": 60}}}
    (folder / "serverless.json").write_text(json.dumps(service))
    http, port = free_port(), free_port()
    words = [installed / "node/node_modules/.bin/serverless", "offline", "start", "--host", "127.0.0.1"]
    server = Running([*words, "--httpPort", str(http), "--lambdaPort", str(port)], folder, port, SLS_TELEMETRY_DISABLED="1",
                     SLS_NOTIFICATIONS_MODE="off", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
    return server, Target(f"http://127.0.0.1:{port}/2015-03-31/functions/bench-dev-echo/invocations"), '{"a": 1}'


# Name, language of the handler, how it is begun, and what it really does.
ALL = [
    ("cargo-lambda 1.9.2 (PyPI)", "Rust", cargo_lambda, "runs it, in 10 plain processes; no signature is checked, no sandbox"),
    ("serverless-offline 13.9.0 (npm)", "Node.js", serverless_offline, "runs it, in worker threads; no signature, no sandbox"),
    ("lambda-local 2.2.0 (npm)", "Node.js", lambda_local, "runs it, in the server's own thread; no signature, no sandbox"),
    ("moto 5.2.5 (PyPI), without Docker", "none", moto, "runs nothing: a mock that gives the payload back"),
]
ABSENT = ("Not measured: LocalStack and AWS SAM (PyPI) run functions in Docker alone; python-lambda-local (PyPI) is a command that "
          "runs one event, not a server; AWS's Runtime Interface Emulator is a file of GitHub's releases and was found in no registry.")
