"""Destinations and dead-letter queues of asynchronous events, and recursion detection."""

import json
import os
import pathlib
import re
import sqlite3
import subprocess

import accounts
import message_services
from message_services import Hook, Queue, hook_arn
from support import ACCOUNT, REGION, FunctionTest, eventually, function_arn, make, send

OTHER = "111122223333"


class Destinations(FunctionTest):
    def destinations(self, name, success=None, failure=None, **settings):
        config = {}
        if success:
            config["OnSuccess"] = {"Destination": success}
        if failure:
            config["OnFailure"] = {"Destination": failure}
        self.aws.put_function_event_invoke_config(FunctionName=name, DestinationConfig=config, **settings)

    def send(self, name, event, **options):
        response = self.invoke(name, event, InvocationType="Event", **options)
        self.assertEqual(response["StatusCode"], 202)
        return response["ResponseMetadata"]["RequestId"]

    def events(self, name):
        """How often a function has begun."""
        return len([line for line in self.messages(name) if line.startswith("START ")])

    def test_a_success_is_told_to_a_queue(self):
        queue, name = Queue(), self.create()
        self.destinations(name, success=queue.arn)
        event = {"do": "echo", "number": 1.5}
        request_id = self.send(name, event)
        record = json.loads(queue.take()["Body"])
        self.assertRegex(record.pop("timestamp"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        expected = {
            "version": "1.0",
            "requestContext": {
                "requestId": request_id,
                "functionArn": function_arn(name, "$LATEST"),
                "condition": "Success",
                "approximateInvokeCount": 1,
            },
            "requestPayload": event,
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": event,
        }
        self.assertEqual(record, expected)

    def test_a_failure_is_told_after_two_more_tries(self):
        queue, letters = Queue(), Queue()
        name = self.create(DeadLetterConfig={"TargetArn": letters.arn}, Publish=True)
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        config = {"OnFailure": {"Destination": queue.arn}, "OnSuccess": {"Destination": queue.arn}}
        self.aws.put_function_event_invoke_config(FunctionName=name, Qualifier="live", DestinationConfig=config)
        request_id = self.send(name, {"do": "fail"}, Qualifier="live")
        record = json.loads(queue.take()["Body"])
        expected = {
            "requestId": request_id,
            "functionArn": function_arn(name, "live"),
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        }
        self.assertEqual(record["requestContext"], expected)
        context = {"statusCode": 200, "executedVersion": "1", "functionError": "Unhandled"}
        self.assertEqual(record["responseContext"], context)
        self.assertEqual(record["responsePayload"], {"errorType": "Asked", "errorMessage": "as you wish"})
        letter = letters.take()
        self.assertEqual(json.loads(letter["Body"]), {"do": "fail"})
        attributes = {key: (value["DataType"], value["StringValue"]) for key, value in letter["MessageAttributes"].items()}
        expected = {
            "RequestID": ("String", request_id),
            "ErrorCode": ("Number", "200"),
            "ErrorMessage": ("String", "as you wish"),
        }
        self.assertEqual(attributes, expected)
        self.assertEqual(queue.counts(), (0, 0), "one record for each event")

    def test_a_topic_is_told(self):
        queue, sns = Queue(), message_services.client("sns")
        topic = sns.create_topic(Name=queue.name)["TopicArn"]
        options = {"RawMessageDelivery": "true"}
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn, Attributes=options)
        name = self.create(DeadLetterConfig={"TargetArn": topic})
        self.destinations(name, success=topic, MaximumRetryAttempts=0)
        request_id = self.send(name, {"do": "echo"})
        self.assertEqual(json.loads(queue.take()["Body"])["requestContext"]["requestId"], request_id)
        request_id = self.send(name, {"do": "fail"})
        letter = queue.take()
        self.assertEqual(json.loads(letter["Body"]), {"do": "fail"})
        self.assertEqual(letter["MessageAttributes"]["RequestID"]["StringValue"], request_id)

    def test_another_function_is_told(self):
        name, listener = self.create(), self.create()
        self.destinations(name, success=function_arn(listener))
        request_id = self.send(name, {"do": "echo", "marker": "passed on"})
        line = self.logged(listener, "passed on")[0]
        record = json.loads(line.removeprefix("event "))
        self.assertEqual(record["requestContext"]["requestId"], request_id)
        self.assertEqual(record["responsePayload"], {"do": "echo", "marker": "passed on"})

    def test_an_http_endpoint_that_is_down_is_told_when_it_is_up(self):
        name = self.create()
        self.destinations(name, success=hook_arn("hook"))
        retried = 'lambent_deliveries_total{kind="on-success",result="retried"}'
        before = self.metric(retried) or 0
        request_id = self.send(name, {"do": "echo"})
        eventually(lambda: (self.metric(retried) or 0) > before, "a try fails")
        hook = Hook(status=503)
        self.addCleanup(hook.close)
        eventually(lambda: hook.requests, "the endpoint refuses")
        hook.status = 204
        answered = len(hook.requests)
        eventually(lambda: len(hook.requests) > answered, "the endpoint is told")
        path, headers, record = hook.requests[-1]
        self.assertEqual((path, headers["content-type"]), ("/hook", "application/json"))
        self.assertEqual(headers["x-amzn-requestid"], request_id)
        self.assertIn("Lineage=", headers["x-amzn-trace-id"])
        self.assertEqual(record["requestContext"]["requestId"], request_id)

    def test_what_nobody_takes_is_kept_and_shown(self):
        name = self.create()
        self.destinations(name, success=hook_arn("nobody"))
        request_id = self.send(name, {"do": "echo", "marker": "kept"})
        command = [os.environ["LAMBENT"], "function", "failures", name, "--json", "--data", os.environ["LAMBENT_DATA"]]

        def failures():
            return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

        (failure,) = eventually(failures, "the delivery is given up", 60)
        self.assertEqual((failure["request_id"], failure["kind"]), (request_id, "on-success"))
        self.assertEqual(failure["target"], hook_arn("nobody"))
        self.assertGreater(failure["attempts"], 2)
        self.assertRegex(failure["reason"], "HTTP destination nobody.*refused")
        self.assertEqual(json.loads(failure["body"])["requestPayload"]["marker"], "kept")
        self.assertTrue(self.metric('lambent_deliveries_total{kind="on-success",result="failed"}'))

    def test_a_queue_that_is_not_there_yet_is_told_later(self):
        queue, name = Queue(), self.create()
        queue.sqs.delete_queue(QueueUrl=queue.url)
        self.destinations(name, success=queue.arn)
        before = self.metric('lambent_deliveries_total{kind="on-success",result="retried"}')
        self.send(name, {"do": "echo"})
        more = lambda: self.metric('lambent_deliveries_total{kind="on-success",result="retried"}') > before
        eventually(more, "a try fails")
        queue.sqs.create_queue(QueueName=queue.name)
        self.assertIn("requestContext", queue.take()["Body"])

    def test_a_function_that_is_switched_off_tells_at_once(self):
        queue, name = Queue(), self.create()
        self.destinations(name, failure=queue.arn)
        self.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        self.send(name, {"do": "echo"})
        record = json.loads(queue.take()["Body"])
        self.assertEqual(record["requestContext"]["condition"], "ZeroReservedConcurrency")
        self.assertEqual(record["requestContext"]["approximateInvokeCount"], 0)
        self.assertNotIn("responseContext", record)

    def test_a_loop_of_functions_is_stopped(self):
        queue, first, second = Queue(), self.create(), self.create()
        self.destinations(first, success=function_arn(second), failure=queue.arn)
        self.destinations(second, success=function_arn(first), failure=queue.arn)
        self.send(first, {"do": "version"})
        record = json.loads(queue.take()["Body"])
        self.assertEqual(record["responsePayload"]["errorType"], "RecursiveInvocationException")
        self.assertEqual(record["requestContext"]["functionArn"], function_arn(first, "$LATEST"))
        eventually(lambda: (self.events(first), self.events(second)) == (16, 16), "both ran 16 times")

    def test_a_loop_that_is_allowed_goes_on(self):
        first, second = self.create(), self.create()
        for name in (first, second):
            self.aws.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
        self.destinations(first, success=function_arn(second))
        self.destinations(second, success=function_arn(first))
        self.send(first, {"do": "version"})
        eventually(lambda: self.events(first) > 18, "the loop goes on", 60)
        self.aws.delete_function(FunctionName=first)

    def test_a_caller_in_a_loop_is_told(self):
        name = self.create()
        trace = self.ask(name, {"do": "headers"})["lambda-runtime-trace-id"]
        lineage = re.search(r"Lineage=([0-9a-f]{8}):1$", trace)
        self.assertTrue(lineage, trace)
        path = f"/2015-03-31/functions/{name}/invocations"
        header = lambda count: {"X-Amzn-Trace-Id": f"Root=1-0-0;Lineage={lineage[1]}:{count}"}
        self.assertEqual(self.sent("POST", path, b"{}", header(15)).status, 200)
        refused = self.sent("POST", path, b"{}", header(16))
        self.assertEqual((refused.status, refused.headers["x-amzn-errortype"]), (400, "RecursiveInvocationException"))

    def test_destinations_without_a_way_are_refused(self):
        name = self.create()
        for arn in [hook_arn("unheard-of"), "arn:aws:s3:::bucket", "arn:aws:events:us-east-1:123456789012:event-bus/default"]:
            with self.subTest(arn):
                config = {"OnSuccess": {"Destination": arn}}
                put = self.aws.put_function_event_invoke_config
                code = "InvalidParameterValueException"
                self.refused(code, put, status=400, FunctionName=name, DestinationConfig=config)

    def test_queues_and_topics_of_other_accounts_are_refused(self):
        name = self.create()
        put, code = self.aws.put_function_event_invoke_config, "InvalidParameterValueException"
        for service in ["sqs", "sns"]:
            arn = f"arn:aws:{service}:{REGION}:{OTHER}:theirs"
            says = f"lambent up --message-access {ACCOUNT}={arn}"
            for kind in ["OnSuccess", "OnFailure"]:
                config = {kind: {"Destination": arn}}
                self.refused(code, put, says, 400, FunctionName=name, DestinationConfig=config)
            letters = {"DeadLetterConfig": {"TargetArn": arn}}
            self.refused(code, self.aws.update_function_configuration, says, 400, FunctionName=name, **letters)
            self.refused(code, self.create, says, 400, wait=False, **letters)
            own = f"arn:aws:{service}:{REGION}:{ACCOUNT}:ours"
            self.destinations(name, success=own)
        # The operator lets this account use the topics that others may not.
        topic = f"arn:aws:sns:{REGION}:{message_services.MESSAGES_ACCOUNT}:t"
        self.destinations(name, success=topic)
        other = accounts.client("lambda", accounts.key(OTHER))
        theirs = make(other, self.addCleanup, {})["FunctionName"]
        config = {"OnSuccess": {"Destination": topic}}
        put = other.put_function_event_invoke_config
        self.refused(code, put, "it is not of account", 400, FunctionName=theirs, DestinationConfig=config)

    def test_an_event_waits_while_its_settings_cannot_be_read(self):
        queue, name = Queue(), self.create()
        self.destinations(name, success=queue.arn)
        record = sqlite3.connect(pathlib.Path(os.environ["LAMBENT_DATA"]) / "control.db", timeout=30, isolation_level=None)
        self.addCleanup(record.close)

        def retries(value):
            change = "UPDATE event_invoke_configs SET retries = ? WHERE name = ?"
            self.assertEqual(record.execute(change, (value, name)).rowcount, 1)

        def claims():
            return max((row[0] for row in record.execute("SELECT claims FROM queued_events WHERE name = ?", (name,))), default=0)

        retries("no number")
        request_id = self.send(name, {"do": "echo"})
        eventually(lambda: claims() > 1, "the event is put off and claimed again")
        self.assertEqual(self.events(name), 0, "nothing is run by settings that cannot be read")
        retries(None)
        told = json.loads(queue.take()["Body"])
        self.assertEqual(told["requestContext"]["requestId"], request_id)
        self.assertEqual(told["requestContext"]["approximateInvokeCount"], 1)

    def metric(self, name):
        """The value of a metric; 0 before it is first counted."""
        text = send("GET", self.endpoint + "/metrics").body.decode()
        found = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(name + " ")]
        return float(found[0]) if found else 0


if __name__ == "__main__":
    import unittest

    unittest.main()
