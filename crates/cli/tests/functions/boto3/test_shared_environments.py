"""Several invocations at once in one environment, for functions with the tag lambent:concurrency. AWS's own runtime
client for Python is unchanged: it is told by AWS_LAMBDA_MAX_CONCURRENCY."""

import base64
import json
import threading
import time

from support import FunctionTest, function_arn, together, zip_of

SOURCE = """
import os
import signal
import time

def handler(event, context):
    time.sleep(event.get("seconds", 0))
    if event.get("do") == "fail":
        raise ValueError("as you wish")
    if event.get("do") == "crash":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    print("item", event.get("item"))
    return {
        "item": event.get("item"),
        "process": os.getpid(),
        "environment": context.log_stream_name,
        "id": context.aws_request_id,
        "told": os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY"),
    }
"""


def capacity(most):
    """CapacityProviderConfig that names the machines of the endpoint."""
    arn = function_arn("any").replace("function:any", "capacity-provider:lambent")
    config = {"CapacityProviderArn": arn}
    if most is not None:
        config["PerExecutionEnvironmentMaxConcurrency"] = most
    return {"LambdaManagedInstancesCapacityProviderConfig": config}


class SharedEnvironments(FunctionTest):
    def shared(self, concurrency="4", **settings):
        """A function of the handler with the tag, whose first environment runs."""
        name = self.create(
            Code={"ZipFile": zip_of({"app.py": SOURCE})},
            Handler="app.handler",
            Runtime="python3.11",
            Tags={"lambent:concurrency": concurrency},
            **{"MemorySize": 1769, **settings},
        )
        self.assertEqual(self.ask(name)["told"], concurrency)
        return name

    def test_invocations_share_an_environment(self):
        name = self.shared()
        calls = [lambda item=item: self.invoke(name, {"item": item, "seconds": 3}) for item in range(4)]
        responses = together(calls)
        answers = [json.loads(response["Payload"]) for response in responses]
        self.assertEqual([answer["item"] for answer in answers], [0, 1, 2, 3])
        self.assertEqual(len({answer["environment"] for answer in answers}), 1)
        self.assertEqual(len({answer["process"] for answer in answers}), 4)
        for response, answer in zip(responses, answers):
            self.assertEqual(response["ResponseMetadata"]["RequestId"], answer["id"])
            for word in ["START", "END", "REPORT"]:
                self.assertEqual(len(self.logged(name, f"{word} RequestId: {answer['id']}")), 1)

    def test_beyond_its_seats_another_environment_serves(self):
        name = self.shared("2")
        answers = together([lambda: self.ask(name, {"seconds": 3}) for _ in range(3)])
        environments = [answer["environment"] for answer in answers]
        self.assertEqual(sorted(environments.count(one) for one in set(environments)), [1, 2])

    def test_it_rests_and_serves_again(self):
        name = self.shared()
        first = self.ask(name)["environment"]
        for _ in range(3):
            together([lambda: self.ask(name, {"seconds": 0.1}) for _ in range(4)])
            self.assertEqual(self.ask(name)["environment"], first)

    def test_an_error_is_ones_own(self):
        name = self.shared()
        bad = lambda: self.invoke(name, {"do": "fail", "seconds": 0.3})
        good = lambda: self.invoke(name, {"item": 1, "seconds": 0.6})
        failed, answered = together([bad, good])
        self.assertEqual(json.loads(failed["Payload"])["errorType"], "ValueError")
        self.assertNotIn("FunctionError", answered)

    def test_a_crash_fails_all_that_run_there(self):
        name = self.shared()
        results = together(
            [
                lambda: self.failure(name, {"do": "crash", "seconds": 3}),
                lambda: self.failure(name, {"seconds": 30}),
            ]
        )
        for error in results:
            self.assertEqual(error["errorType"], "Runtime.ExitError", error)
        self.assertEqual(self.ask(name, {"item": 7})["item"], 7)

    def test_one_that_takes_too_long_ends_the_environment(self):
        name = self.shared(Timeout=6)
        results = {}
        run = lambda: results.update(late=self.failure(name, {"seconds": 30}))
        late = threading.Thread(target=run)
        begin = time.monotonic()
        late.start()
        # Others are served meanwhile, and do not prolong its time.
        while time.monotonic() - begin < 1:
            self.ask(name)
        other = self.failure(name, {"seconds": 30})
        late.join()
        self.assertEqual(results["late"]["errorType"], "Sandbox.Timedout", results)
        self.assertIn("Task timed out after 6.00 seconds", results["late"]["errorMessage"])
        self.assertEqual(other["errorType"], "Runtime.ExitError", other)

    def test_each_may_have_the_log(self):
        name = self.shared()
        responses = together([lambda item=item: self.invoke(name, {"item": item}, LogType="Tail") for item in range(3)])
        for response in responses:
            log = base64.b64decode(response["LogResult"]).decode()
            self.assertIn(f"REPORT RequestId: {response['ResponseMetadata']['RequestId']}", log)

    def test_the_tag_decides(self):
        name = self.shared("2")
        resource = {"Resource": function_arn(name)}
        self.aws.untag_resource(TagKeys=["lambent:concurrency"], **resource)
        self.assertIsNone(self.ask(name)["told"])
        self.aws.tag_resource(Tags={"lambent:concurrency": "3"}, **resource)
        self.assertEqual(self.ask(name)["told"], "3")
        for value in ["0", "257", "many", ""]:
            message = f"The value '{value}' of tag 'lambent:concurrency' is not valid: "
            arguments = {"Tags": {"lambent:concurrency": value}, **resource}
            self.refused("InvalidParameterValueException", self.aws.tag_resource, message, 400, **arguments)

    def test_the_capacity_provider_of_the_endpoint_gives_them_too(self):
        name = self.create(
            Code={"ZipFile": zip_of({"app.py": SOURCE})},
            Handler="app.handler",
            Runtime="python3.11",
            CapacityProviderConfig=capacity(4),
        )
        self.assertEqual(self.ask(name)["told"], "4")
        answers = together([lambda: self.ask(name, {"seconds": 1}) for _ in range(4)])
        self.assertEqual(len({answer["environment"] for answer in answers}), 1)
        found = self.aws.get_function_configuration(FunctionName=name)["CapacityProviderConfig"]
        self.assertEqual(found, capacity(4))
        version = self.aws.publish_version(FunctionName=name)["Version"]
        self.aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
        self.aws.update_function_configuration(FunctionName=name, CapacityProviderConfig=capacity(None))
        self.active(name)
        self.assertIsNone(self.ask(name)["told"])
        # It belongs to the version.
        self.assertEqual(self.ask(name, Qualifier=version)["told"], "4")

    def test_capacity_that_is_not_there_is_refused(self):
        name = self.create()
        update = self.aws.update_function_configuration
        own = capacity(4)["LambdaManagedInstancesCapacityProviderConfig"]
        other = own["CapacityProviderArn"].replace("capacity-provider:lambent", "capacity-provider:other")
        for code, message, change in [
            ("ResourceNotFoundException", f"Capacity provider not found: {other}.", {"CapacityProviderArn": other}),
            ("InvalidParameterValueException", "can be at most 256", {"PerExecutionEnvironmentMaxConcurrency": 257}),
            ("InvalidParameterValueException", "MemoryGiBPerVCpu", {"ExecutionEnvironmentMemoryGiBPerVCpu": 4.0}),
        ]:
            config = {"LambdaManagedInstancesCapacityProviderConfig": {**own, **change}}
            status = 404 if code == "ResourceNotFoundException" else 400
            self.refused(code, update, message, status, FunctionName=name, CapacityProviderConfig=config)
        both = {"CapacityProviderConfig": capacity(2), "SnapStart": {"ApplyOn": "PublishedVersions"}}
        message = "SnapStart is not supported for functions with CapacityProviderConfig"
        self.refused("InvalidParameterValueException", update, message, 400, FunctionName=name, **both)
