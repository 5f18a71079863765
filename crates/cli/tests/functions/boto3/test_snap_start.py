"""Versions with SnapStart: Python 3.11 and Node.js 20 with AWS's own runtime clients, unmodified."""

import base64
import json
import os
import pathlib
import subprocess
import time
import uuid

import botocore.exceptions
import support
from test_images import push

PYTHON = """
import os, random, time, uuid
from snapshot_restore_py import register_after_restore, register_before_snapshot

time.sleep(float(os.environ.get("INIT_SECONDS", "0")))
if "BROKEN" in os.environ:
    raise ValueError("there is no such model")
LOADED = uuid.uuid4().hex
HOOKS = []
register_before_snapshot(lambda: HOOKS.append("before"))

@register_after_restore
def after():
    random.seed()
    HOOKS.append("after")

def handler(event, context):
    time.sleep(event.get("seconds", 0))
    return {
        "loaded": LOADED, "hooks": HOOKS, "drawn": random.random(), "system": uuid.uuid4().hex, "now": time.time(),
        "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "version": context.function_version,
    }
"""

NODE = """
const { randomUUID } = require('node:crypto');
const { openSync, readSync } = require('node:fs');
const loaded = randomUUID();
exports.handler = async (event) => {
  await new Promise((done) => setTimeout(done, (event.seconds ?? 0) * 1000));
  const system = Buffer.alloc(16);
  readSync(openSync('/dev/urandom'), system);
  return { loaded, system: system.toString('hex'), now: Date.now() / 1000,
           kind: process.env.AWS_LAMBDA_INITIALIZATION_TYPE };
};
"""

ON = {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
OFF = {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
PENDING = "The operation cannot be performed at this time. The function is currently in the following state: Pending"
# How far the clocks of a clone may lie from ours, s.
CLOCKS = 60


def lambent(*words):
    """What a command of the operator's says."""
    command = [os.environ["LAMBENT"], *words, "--data", os.environ["LAMBENT_DATA"]]
    environment = {name: value for name, value in os.environ.items() if name != "RUST_LOG"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def add_runtime(name, image):
    """Makes an image of the corpus the base of a runtime."""
    lambent("runtime", "add", name, f"oci:{os.path.join(os.environ['LAMBENT_CORPUS'], image)}")


def processes(owner):
    """How many processes have the variable OWNER with this value."""
    wanted, count = f"OWNER={owner}\0".encode(), 0
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            count += wanted in path.read_bytes()
        except OSError:
            pass  # It has ended.
    return count


class SnapStartTest(support.FunctionTest):
    """Functions whose versions have snapshots."""

    def python(self, variables=None, **settings):
        defaults = {
            "Runtime": "python3.11",
            "Handler": "app.handler",
            "Code": {"ZipFile": support.zip_of({"app.py": PYTHON})},
            "MemorySize": 512,
            "Timeout": 30,
            "SnapStart": {"ApplyOn": "PublishedVersions"},
            "Environment": {"Variables": variables or {}},
        }
        return self.create(**{**defaults, **settings})

    def state(self, name, version="1"):
        return self.aws.get_function_configuration(FunctionName=name, Qualifier=version)

    def wait_active(self, name, version="1"):
        """Waits as boto3 does, only more often; gives the configuration."""
        waiter = self.aws.get_waiter("published_version_active")
        waiter.wait(FunctionName=name, Qualifier=version, WaiterConfig={"Delay": 1, "MaxAttempts": 200})
        return self.state(name, version)

    def clones(self, name, count=2):
        """Answers and REPORT lines of as many new environments."""
        # As long as each sleeps, no other invocation can have its environment.
        call = lambda: self.invoke(name, {"seconds": 3}, Qualifier="1", LogType="Tail")
        responses = support.together([call] * count)
        for response in responses:
            self.assertNotIsInstance(response, Exception)
            self.assertNotIn("FunctionError", response, response["Payload"])
        answers = [json.loads(response["Payload"]) for response in responses]
        tails = [base64.b64decode(response["LogResult"]).decode() for response in responses]
        return answers, [next(line for line in tail.splitlines() if line.startswith("REPORT")) for tail in tails]

    def starts(self, name, count):
        """Cold starts as the operator sees them."""

        def look():
            found = json.loads(lambent("function", "starts", name, "--json"))
            return found if len(found) >= count else None

        return [start["start"] for start in support.eventually(look, f"{name} has {count} cold starts")]

    def restored(self, name, count=1):
        """Expects that all cold starts, so many, were restores."""
        for start in self.starts(name, count):
            self.assertIn("restore", [part["name"] for part in start["parts"]], start)
            self.assertIsNone(start["fell_back"])

    def check_clones(self, name):
        """Two environments from one snapshot; gives their answers."""
        answers, reports = self.clones(name)
        self.assertEqual(answers[0]["loaded"], answers[1]["loaded"], "initialised once")
        self.assertNotEqual(answers[0]["system"], answers[1]["system"])
        for answer, report in zip(answers, reports):
            self.assertEqual(answer["kind"], "snap-start")
            self.assertLess(abs(answer["now"] - time.time()), CLOCKS)
            self.assertRegex(report, r"\tRestore Duration: [0-9.]+ ms\tBilled Restore Duration: [0-9]+ ms")
            self.assertNotIn("Init Duration", report)
        self.restored(name, 2)
        return answers


class SnapStart(SnapStartTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        add_runtime("python3.11", "python-runtime")
        add_runtime("nodejs20.x", "node-runtime")

    def test_python_goes_on_from_its_snapshot(self):
        name = self.python()
        self.assertEqual(self.aws.get_function_configuration(FunctionName=name)["SnapStart"], OFF)
        published = self.aws.publish_version(FunctionName=name)
        found = [published[member] for member in ("Version", "State", "StateReasonCode", "StateReason")]
        self.assertEqual(found, ["1", "Pending", "Creating", "The function is being created."])
        found = self.wait_active(name)
        self.assertEqual((found["SnapStart"], found.get("StateReason")), (ON, None))
        self.assertEqual(self.aws.get_function_configuration(FunctionName=name)["SnapStart"], OFF)
        answers = self.check_clones(name)
        for answer in answers:
            self.assertEqual((answer["hooks"], answer["version"]), (["before", "after"], "1"))
        self.assertNotEqual(answers[0]["drawn"], answers[1]["drawn"])
        shown = lambent("function", "starts", name)
        self.assertRegex(shown, r"(?m)^ *1 +restore ")
        # The function itself starts as ever.
        self.assertEqual(self.ask(name)["kind"], "on-demand")

    def test_node_goes_on_from_its_snapshot(self):
        code = {"ZipFile": support.zip_of({"index.js": NODE})}
        name = self.python(Runtime="nodejs20.x", Handler="index.handler", Code=code)
        self.aws.publish_version(FunctionName=name)
        self.assertEqual(self.wait_active(name)["SnapStart"], ON)
        self.check_clones(name)

    def test_a_program_without_hooks_goes_on_from_its_snapshot(self):
        name = self.create(SnapStart={"ApplyOn": "PublishedVersions"})
        self.aws.publish_version(FunctionName=name)
        self.assertEqual(self.wait_active(name)["SnapStart"], ON)
        self.assertEqual(self.ask(name, {"do": "sleep", "ms": 1}, Qualifier="1"), "slept")
        self.restored(name)

    def test_an_image_goes_on_from_its_snapshot(self):
        name = support.new_name()
        self.aws.create_function(
            FunctionName=name, PackageType="Image", Code={"ImageUri": push("sklearn-function", "scorer:snap")}, Timeout=60,
            Role=support.ROLE, MemorySize=1769, SnapStart={"ApplyOn": "PublishedVersions"},
        )  # fmt: skip
        self.addCleanup(support.remove, self.aws, name)
        self.active(name)
        self.aws.publish_version(FunctionName=name)
        self.assertEqual(self.wait_active(name)["SnapStart"], ON)
        # Answered by the application: its words for a body without features.
        self.assertEqual(self.ask(name, {"body": "{}"}, Qualifier="1")["statusCode"], 400)
        self.restored(name)

    def test_publishing_with_the_code_takes_a_snapshot_too(self):
        name = self.python(wait=False, Publish=True)
        self.assertEqual(self.created["State"], "Pending")
        found = self.wait_active(name)
        self.assertEqual((found["Version"], found["SnapStart"]), ("1", ON))
        self.aws.get_waiter("function_active_v2").wait(FunctionName=name)

    def test_a_version_is_refused_until_it_is_active(self):
        name = self.python({"INIT_SECONDS": "4"})
        self.aws.publish_version(FunctionName=name)
        self.refused("ResourceConflictException", self.invoke, PENDING, 409, name=name, Qualifier="1")
        self.wait_active(name)
        self.assertEqual(self.ask(name, Qualifier="1")["version"], "1")

    def test_an_initialisation_that_fails_fails_the_version(self):
        name = self.python({"BROKEN": "yes"})
        self.aws.publish_version(FunctionName=name)
        with self.assertRaises(botocore.exceptions.WaiterError):
            self.wait_active(name)
        found = self.state(name)
        self.assertEqual((found["State"], found["StateReasonCode"]), ("Failed", "FunctionError.RuntimeInitError"))
        self.assertIn("there is no such model", found["StateReason"])
        self.assertEqual(found["SnapStart"], OFF)
        self.refused("ResourceConflictException", self.invoke, "Failed", 409, name=name, Qualifier="1")

    def test_what_is_deleted_meanwhile_leaves_no_process(self):
        owner = f"{os.environ['LAMBENT_DATA']}/{uuid.uuid4().hex}"
        name = self.python({"INIT_SECONDS": "100", "OWNER": owner})
        self.aws.publish_version(FunctionName=name)
        support.eventually(lambda: processes(owner), "it initialises")
        self.aws.delete_function(FunctionName=name, Qualifier="1")
        support.eventually(lambda: not processes(owner), "it has ended")

    def test_what_snapshots_cannot_have_is_refused(self):
        name = self.python()
        change = self.aws.update_function_configuration
        message = "EphemeralStorage of 1024 MB is not supported for SnapStart enabled functions."
        storage = {"FunctionName": name, "EphemeralStorage": {"Size": 1024}}
        self.refused("InvalidParameterValueException", change, message, 400, **storage)
        self.aws.publish_version(FunctionName=name)
        self.wait_active(name)
        message = "Provisioned Concurrency is not supported for SnapStart enabled functions."
        wish = {"FunctionName": name, "Qualifier": "1", "ProvisionedConcurrentExecutions": 1}
        call = self.aws.put_provisioned_concurrency_config
        self.refused("InvalidParameterValueException", call, message, 400, **wish)
