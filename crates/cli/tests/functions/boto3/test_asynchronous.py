"""Invoke with the type Event, and InvokeAsync."""

import json

from support import FunctionTest, function_arn, new_name, together


class Event(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared()

    def send(self, event, name=None, **options):
        response = self.invoke(name or self.name, event, InvocationType="Event", **options)
        self.assertEqual((response["StatusCode"], response["Payload"]), (202, b""))
        self.assertNotIn("ExecutedVersion", response)
        self.assertNotIn("FunctionError", response)
        return response["ResponseMetadata"]["RequestId"]

    def test_an_event_is_accepted_and_runs(self):
        marker = new_name()
        request_id = self.send({"do": "echo", "marker": marker})
        self.logged(self.name, marker)
        self.logged(self.name, f"START RequestId: {request_id} Version: $LATEST")
        self.logged(self.name, f"END RequestId: {request_id}")

    def test_each_of_many_events_runs_once(self):
        name = self.create()
        markers = [new_name() for _ in range(20)]
        for result in together([lambda marker=marker: self.send({"do": "echo", "marker": marker}, name) for marker in markers]):
            self.assertIsInstance(result, str)
        self.logged(name, "REPORT RequestId: ", len(markers))
        lines = [line for line in self.messages(name) if line.startswith("event ")]
        self.assertEqual(sorted(json.loads(line[6:])["marker"] for line in lines), sorted(markers))

    def test_a_qualifier_is_kept(self):
        name = self.create(Publish=True)
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        request_id = self.send({}, name, Qualifier="live")
        self.logged(name, f"START RequestId: {request_id} Version: 1")

    def test_no_payload_is_an_empty_event(self):
        name = self.create()
        self.assertEqual(self.aws.invoke(FunctionName=name, InvocationType="Event")["StatusCode"], 202)
        self.logged(name, "event {}")

    def test_an_error_of_the_function_is_not_the_senders(self):
        name = self.create()
        self.aws.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        request_id = self.send({"do": "fail"}, name)
        self.logged(name, f"END RequestId: {request_id}")

    def test_an_event_that_finds_no_room_waits(self):
        name = self.create()
        self.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        self.send({"do": "sleep", "ms": 1500, "marker": "first"}, name)
        self.send({"do": "echo", "marker": "second"}, name)
        self.send({"do": "echo", "marker": "third"}, name)
        for marker in ["first", "second", "third"]:
            self.logged(name, f'"marker": "{marker}"')
        lines = [line for line in self.messages(name) if line.startswith("event ")]
        self.assertEqual(len(lines), 3, lines)

    def test_one_mebibyte_is_the_most(self):
        event = {"do": "version", "text": ""}
        event["text"] = "x" * (1_048_576 - len(json.dumps(event)))
        self.send(event)
        event["text"] += "x"
        codes = ("RequestTooLargeException", "RequestEntityTooLargeException")
        arguments = {"FunctionName": self.name, "Payload": json.dumps(event), "InvocationType": "Event"}
        self.refused(codes, self.aws.invoke, "1048576", 413, **arguments)

    def test_what_cannot_run_is_refused_at_once(self):
        invoke = self.aws.invoke
        arguments = {"FunctionName": self.name, "InvocationType": "Event"}
        message = "Could not parse request body into json"
        self.refused("InvalidRequestContentException", invoke, message, 400, Payload=b"{no json", **arguments)
        self.missing(invoke, "Function not found", FunctionName=new_name(), InvocationType="Event")
        self.missing(invoke, function_arn(self.name, "99"), Qualifier="99", **arguments)

    def test_the_old_operation_still_accepts_events(self):
        marker = new_name()
        response = self.aws.invoke_async(FunctionName=self.name, InvokeArgs=json.dumps({"marker": marker}))
        self.assertEqual(response["Status"], 202)
        self.status(202, response)
        self.logged(self.name, marker)

    def test_a_deleted_function_takes_its_events_along(self):
        name = self.create()
        self.send({"do": "echo"}, name)
        self.aws.delete_function(FunctionName=name)
        self.missing(self.aws.invoke, "Function not found", FunctionName=name, InvocationType="Event")
        self.create(FunctionName=name)
        self.assertEqual(self.ask(name, {"do": "echo"}), {"do": "echo"})
