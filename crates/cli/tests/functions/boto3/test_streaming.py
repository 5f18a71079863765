"""InvokeWithResponseStream."""

import base64
import json
import time

from support import FunctionTest, function_arn


class Streaming(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared(Environment={"Variables": {"GREETING": "hello"}})

    def stream(self, event, **options):
        """Invokes; gives the response, the payload's chunks with the times when they came, and the last message."""
        payload = json.dumps(event)
        response = self.aws.invoke_with_response_stream(FunctionName=self.name, Payload=payload, **options)
        chunks, complete = [], None
        for message in response["EventStream"]:
            self.assertIsNone(complete, "the last message is not the last")
            if "PayloadChunk" in message:
                chunks.append((time.monotonic(), message["PayloadChunk"]["Payload"]))
            else:
                complete = message["InvokeComplete"]
        self.assertIsNotNone(complete, "there is no last message")
        return response, chunks, complete

    def test_parts_come_as_they_are_made(self):
        response, chunks, complete = self.stream({"do": "stream", "parts": 40})
        self.assertEqual(response["StatusCode"], 200)
        self.assertEqual(response["ExecutedVersion"], "$LATEST")
        self.assertEqual(response["ResponseStreamContentType"], "text/plain")
        whole = b"".join(chunk for _, chunk in chunks)
        self.assertEqual(whole, b"".join(b"part %d\n" % part for part in range(40)))
        # 20 ms lie between two parts.
        self.assertGreater(len(chunks), 5)
        self.assertGreater(chunks[-1][0] - chunks[0][0], 0.4)
        self.assertNotIn("ErrorCode", complete)

    def test_a_buffered_answer_is_a_stream_too(self):
        _, chunks, complete = self.stream({"do": "version"})
        self.assertEqual(b"".join(chunk for _, chunk in chunks), b'"hello"')
        self.assertNotIn("ErrorCode", complete)

    def test_a_stream_can_be_longer_than_a_buffered_answer(self):
        _, chunks, complete = self.stream({"do": "stream", "parts": 8, "part_bytes": 1 << 20})
        self.assertEqual(sum(len(chunk) for _, chunk in chunks), 8 * ((1 << 20) + len("part 0\n")))
        self.assertNotIn("ErrorCode", complete)

    def test_a_streamed_answer_can_be_asked_for_whole(self):
        response = self.invoke(self.name, {"do": "stream", "parts": 3})
        self.assertNotIn("FunctionError", response)
        self.assertEqual(response["Payload"], b"part 0\npart 1\npart 2\n")

    def test_the_tail_of_the_log_is_in_the_last_message(self):
        response, _, complete = self.stream({"do": "stream", "marker": "here"}, LogType="Tail")
        log = base64.b64decode(complete["LogResult"]).decode()
        request_id = response["ResponseMetadata"]["RequestId"]
        self.assertIn(f"START RequestId: {request_id} Version: $LATEST\n", log)
        self.assertIn('"marker": "here"', log)
        self.assertIn(f"REPORT RequestId: {request_id}\t", log)
        self.assertNotIn("LogResult", self.stream({"do": "stream"})[2])

    def test_an_error_is_in_the_last_message(self):
        _, chunks, complete = self.stream({"do": "fail"})
        self.assertTrue(complete["ErrorCode"])
        self.assertIn("as you wish", complete["ErrorDetails"] + repr(chunks))

    def test_an_error_on_the_way_is_in_the_last_message(self):
        _, chunks, complete = self.stream({"do": "stream", "parts": 2, "how": "fail"})
        self.assertEqual(b"".join(chunk for _, chunk in chunks), b"part 0\npart 1\n")
        self.assertEqual(complete["ErrorCode"], "Handler.Asked")
        self.assertIn("as you wish", complete["ErrorDetails"])

    def test_an_exit_on_the_way_is_in_the_last_message(self):
        _, chunks, complete = self.stream({"do": "stream", "parts": 2, "how": "exit"})
        self.assertEqual(b"".join(chunk for _, chunk in chunks), b"part 0\npart 1\n")
        self.assertTrue(complete["ErrorCode"].startswith("Runtime."), complete)
        _, chunks, complete = self.stream({"do": "version"})
        self.assertEqual(b"".join(chunk for _, chunk in chunks), b'"hello"')

    def test_a_timeout_ends_a_stream(self):
        name = self.create(Timeout=1)
        response = self.aws.invoke_with_response_stream(FunctionName=name, Payload=b'{"do": "stream", "parts": 1000}')
        messages = list(response["EventStream"])
        self.assertIn("PayloadChunk", messages[0])
        self.assertEqual(messages[-1]["InvokeComplete"]["ErrorCode"], "Sandbox.Timedout")
        self.assertIn("Task timed out after 1.00 seconds", messages[-1]["InvokeComplete"]["ErrorDetails"])

    def test_versions_can_be_streamed(self):
        version = self.publish(self.name, "one")
        response, chunks, _ = self.stream({"do": "version"}, Qualifier=version)
        self.assertEqual((response["ExecutedVersion"], chunks[0][1]), (version, b'"one"'))

    def test_a_dry_run_only_checks(self):
        call = self.aws.invoke_with_response_stream
        response = call(FunctionName=self.name, Payload=b"{}", InvocationType="DryRun")
        self.assertEqual(response["StatusCode"], 204)

    def test_requests_are_checked(self):
        call = self.unchecked.invoke_with_response_stream
        self.invalid("invocationType", "enum value set: [", call, FunctionName=self.name, InvocationType="Event")
        self.missing(call, f"Function not found: {function_arn('no-such')}", FunctionName="no-such")
        message = "Could not parse request body into json"
        self.refused("InvalidRequestContentException", call, message, 400, FunctionName=self.name, Payload=b"{")
        name = self.create()
        self.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        self.refused("TooManyRequestsException", call, "Rate Exceeded.", 429, FunctionName=name)

    def test_frames_are_event_streams(self):
        path = f"/2021-11-15/functions/{self.name}/response-streaming-invocations"
        answer = self.sent("POST", path, b'{"do": "version"}')
        self.assertEqual(answer.status, 200)
        self.assertIn(b"\x0b:event-type\x07\x00\x0cPayloadChunk", answer.body)
        self.assertIn(b"\x0d:message-type\x07\x00\x05event", answer.body)
        self.assertIn(b"\x0b:event-type\x07\x00\x0eInvokeComplete", answer.body)
