"""Requests that are handed to the handler as lists, for functions with the tag lambent:batch. Python's handler and
AWS's own runtime client are unchanged."""

import base64
import collections
import hashlib
import json
import threading
import time

from support import FunctionTest, eventually, function_arn, send, together, zip_of

SOURCE = """
import os
import time

def handler(events, context):
    print("list of", len(events))
    time.sleep(max(event.get("seconds", 0) for event in events))
    wishes = {event.get("do") for event in events}
    if "raise" in wishes:
        raise ValueError("as you wish")
    if "text" in wishes:
        return "no list"
    answers = [one(event, events, context) for event in events]
    return answers[1:] if "short" in wishes else answers

def one(event, events, context):
    if event.get("do") == "fail":
        return {"errorType": "Asked", "errorMessage": "this one only"}
    if event.get("do") == "trace":
        return {"trace": os.environ.get("_X_AMZN_TRACE_ID", ""), "together": len(events)}
    custom = context.client_context.custom if context.client_context else None
    return {"item": event.get("item"), "together": len(events), "batch": context.aws_request_id, "custom": custom}
"""


class MicroBatch(FunctionTest):
    def batching(self, value="max:32,wait:1000ms", **tags):
        """A function of the handler with the tag, whose first environment runs."""
        name = self.create(
            Code={"ZipFile": zip_of({"app.py": SOURCE})},
            Handler="app.handler",
            Runtime="python3.11",
            Tags={"lambent:batch": value, **tags},
        )
        self.assertEqual(self.ask(name, {"item": "first"})["together"], 1)
        return name

    def lists(self):
        """How many lists have been handed over."""
        text = send("GET", self.endpoint + "/metrics").body.decode()
        line = "lambent_batches_total "
        return sum(int(row[len(line) :]) for row in text.splitlines() if row.startswith(line))

    def while_one_runs(self, name, calls, seconds=1):
        """Runs calls at the same time while a list is under way, so that they are gathered."""
        before = self.lists()
        first = threading.Thread(target=self.ask, args=(name, {"seconds": seconds}))
        first.start()
        eventually(lambda: self.lists() > before, "the first list goes")
        results = together(calls)
        first.join()
        return results

    def items(self, name, events, **options):
        """The responses to events that come together."""
        return self.while_one_runs(name, [lambda event=event: self.invoke(name, event, **options) for event in events])

    def test_a_limit_that_is_set_meanwhile_holds_for_the_next_list(self):
        name = self.batching()
        before = self.lists()
        first = threading.Thread(target=self.ask, args=(name, {"seconds": 3}))
        first.start()
        eventually(lambda: self.lists() > before, "the first list goes")
        self.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        for _ in range(3):
            self.refused("TooManyRequestsException", self.aws.invoke, None, 429, FunctionName=name, Payload='{"item": 1}')
        first.join()
        self.aws.delete_function_concurrency(FunctionName=name)
        self.assertEqual(self.ask(name, {"item": 1})["item"], 1)

    def test_a_loop_is_not_hidden_by_others_in_its_list(self):
        name = self.batching()
        digest = hashlib.sha256(function_arn(name).encode()).hexdigest()[:8]
        path = f"/2015-03-31/functions/{name}/invocations"

        def call(rounds):
            headers = {"X-Amzn-Trace-Id": f"Root=1-0-0;Lineage={digest}:{rounds}"} if rounds else {}
            return lambda: self.sent("POST", path, b'{"do": "trace"}', headers)

        answers = self.while_one_runs(name, [call(rounds) for rounds in (0, 9, 0, 0)])
        self.assertEqual([answer.status for answer in answers], [200] * 4)
        seen = [json.loads(answer.body) for answer in answers]
        # Whatever came together with the ninth round is the tenth.
        together = seen[1]["together"]
        self.assertIn(f"Lineage={digest}:10", seen[1]["trace"], seen)
        self.assertGreaterEqual(together, 1)
        self.assertEqual(call(16)().status, 400)

    def test_requests_that_come_together_are_answered_one_by_one(self):
        name = self.batching()
        responses = self.items(name, [{"item": number} for number in range(8)])
        answers = [json.loads(response["Payload"]) for response in responses]
        self.assertEqual([answer["item"] for answer in answers], list(range(8)))
        self.assertEqual({answer["together"] for answer in answers}, {8})
        (batch,) = {answer["batch"] for answer in answers}
        for response in responses:
            self.assertEqual(response["ResponseMetadata"]["HTTPHeaders"]["x-lambent-batch"], batch)
            self.assertEqual(response["ExecutedVersion"], "$LATEST")
        ids = {response["ResponseMetadata"]["RequestId"] for response in responses}
        self.assertEqual(len(ids), 8)
        self.assertNotIn(batch, ids)
        self.logged(name, f"START RequestId: {batch}")
        self.assertEqual(len(self.logged(name, f"REPORT RequestId: {batch}")), 1)

    def test_one_by_one_they_are_lists_of_one_that_nobody_waits_for(self):
        name = self.batching("max:32,wait:1000ms")
        self.ask(name)
        begin = time.monotonic()
        for number in range(10):
            self.assertEqual(self.ask(name, {"item": number})["together"], 1)
        # Not even one of them waited for others.
        self.assertLess(time.monotonic() - begin, 10)
        answer = self.invoke(name, {"item": 1}, LogType="Tail")
        self.assertIn("list of 1", base64.b64decode(answer["LogResult"]).decode())

    def test_a_list_has_no_more_than_the_handler_takes(self):
        name = self.batching("max:3,wait:1000ms")
        responses = self.items(name, [{"item": number} for number in range(9)])
        answers = [json.loads(response["Payload"]) for response in responses]
        self.assertEqual([answer["item"] for answer in answers], list(range(9)))
        sizes = collections.Counter(answer["batch"] for answer in answers)
        self.assertEqual(sorted(sizes.values()), [3, 3, 3])

    def test_nobody_waits_longer_than_the_wait(self):
        name = self.batching("max:32,wait:1ms")
        # The list that is under way takes far longer than they wait, so another environment takes theirs.
        begun = self.while_one_runs(name, [lambda: self.ask(name, {"item": 1})], seconds=5)
        self.assertEqual(begun[0]["together"], 1)

    def test_one_item_may_fail(self):
        name = self.batching()
        good, bad = self.items(name, [{"item": 1}, {"do": "fail"}])
        self.assertNotIn("FunctionError", good)
        self.assertEqual(json.loads(good["Payload"])["together"], 2)
        self.assertEqual(bad["FunctionError"], "Unhandled")
        self.assertEqual(json.loads(bad["Payload"]), {"errorType": "Asked", "errorMessage": "this one only"})

    def test_an_error_of_the_whole_is_everybodys(self):
        name = self.batching()
        for response in self.items(name, [{"do": "raise"}, {"item": 1}]):
            self.assertEqual(response["FunctionError"], "Unhandled")
            self.assertEqual(json.loads(response["Payload"])["errorType"], "ValueError")

    def test_what_is_no_list_of_that_length_is_everybodys_error(self):
        name = self.batching()
        for wish, found in {"short": "a list of 1", "text": "no JSON list"}.items():
            for response in self.items(name, [{"do": wish}, {"item": 1}]):
                self.assertEqual(response["FunctionError"], "Unhandled")
                error = json.loads(response["Payload"])
                self.assertEqual(error["errorType"], "Lambent.BatchAnswerInvalid")
                self.assertIn(f"a list of 2 events (tag lambent:batch) and answered with {found}", error["errorMessage"])

    def test_versions_and_contexts_do_not_meet(self):
        name = self.batching()
        version = self.aws.publish_version(FunctionName=name)["Version"]
        self.aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
        self.assertEqual(self.ask(name, {"item": 0}, Qualifier=version)["together"], 1)
        context = base64.b64encode(b'{"custom": {"who": "me"}}').decode()
        calls = [
            lambda: self.ask(name, {"item": 1}),
            lambda: self.ask(name, {"item": 2}),
            lambda: self.ask(name, {"item": 3}, Qualifier=version),
            lambda: self.ask(name, {"item": 4}, ClientContext=context),
        ]
        answers = self.while_one_runs(name, calls)
        self.assertEqual([answer["item"] for answer in answers], [1, 2, 3, 4])
        self.assertEqual([answer["together"] for answer in answers], [2, 2, 1, 1])
        self.assertEqual(answers[3]["custom"], {"who": "me"})

    def test_it_goes_together_with_the_response_cache(self):
        name = self.batching(**{"lambent:response-cache": "ttl:300"})
        responses = self.items(name, [{"item": number % 2} for number in range(6)])
        answers = [json.loads(response["Payload"]) for response in responses]
        self.assertEqual([answer["item"] for answer in answers], [0, 1, 0, 1, 0, 1])
        # Equal requests are one in the list.
        self.assertEqual({answer["together"] for answer in answers}, {2})
        again = self.invoke(name, {"item": 1})
        self.assertEqual(again["ResponseMetadata"]["HTTPHeaders"]["x-lambent-cache"], "hit")

    def test_tags_that_cannot_be_read_are_refused(self):
        name = self.create()
        for value in ["max:0", "wait:5ms", "max:5,wait:5", "max:5,wait:5000ms", "max:many"]:
            message = f"The value '{value}' of tag 'lambent:batch' is not valid: "
            arguments = {"Resource": function_arn(name), "Tags": {"lambent:batch": value}}
            self.refused("InvalidParameterValueException", self.aws.tag_resource, message, 400, **arguments)
