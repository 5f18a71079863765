"""Event source mappings of SQS queues."""

import json

import accounts
from message_services import MESSAGES_ACCOUNT, Queue
from support import ACCOUNT, REGION, FunctionTest, eventually, function_arn, send, zip_of

# Prints each event, and does as the bodies say.
HANDLER = """
import json
import time

def handler(event, context):
    print("event " + json.dumps(event))
    begun = time.time()
    failed = []
    for record in event["Records"]:
        body = record["body"]
        asked = json.loads(body) if body.startswith("{") else {}
        count = int(record["attributes"]["ApproximateReceiveCount"])
        time.sleep(asked.get("sleep", 0))
        if asked.get("raise", 0) >= count:
            raise ValueError("as you wish")
        if asked.get("fail", 0) >= count:
            failed.append({"itemIdentifier": record["messageId"]})
        if "answer" in asked:
            return asked["answer"]
    print("ran", begun, time.time())
    return {"batchItemFailures": failed}
"""


class EventSources(FunctionTest):
    def function(self, **settings):
        """A Python function that answers within a second."""
        settings = {"Runtime": "python3.11", "Handler": "app.handler", "Timeout": 3, **settings}
        return self.create(Code={"ZipFile": zip_of({"app.py": HANDLER})}, **settings)

    def map(self, name, queue, wait=True, **settings):
        """A mapping that is removed afterwards; gives its id."""
        self.made = self.aws.create_event_source_mapping(FunctionName=name, EventSourceArn=queue.arn, **settings)
        self.addCleanup(self.unmap, self.made["UUID"])
        if wait:
            self.state(self.made["UUID"], "Enabled")
        return self.made["UUID"]

    def unmap(self, uuid):
        try:
            self.aws.delete_event_source_mapping(UUID=uuid)
        except self.aws.exceptions.ResourceNotFoundException:
            pass

    def state(self, uuid, expected):
        look = lambda: self.aws.get_event_source_mapping(UUID=uuid)["State"] == expected
        eventually(look, f"the mapping is {expected}", 60)

    def events(self, name):
        lines = [line for line in self.messages(name) if line.startswith('event {"Records"')]
        return [json.loads(line[6:])["Records"] for line in lines]

    def records(self, name, count, seconds=60):
        """Waits until a function has seen that many records, and gives them."""

        def look():
            found = [record for event in self.events(name) for record in event]
            return found if len(found) >= count else None

        return eventually(look, f"{count} records", seconds)

    def empty(self, queue, seconds=60):
        eventually(lambda: queue.counts() == (0, 0), f"{queue.name} is empty", seconds)

    def test_a_message_is_an_event_in_lambdas_shape(self):
        name, queue = self.function(), Queue(VisibilityTimeout=10)
        self.map(name, queue)
        attributes = {
            "text": {"DataType": "String", "StringValue": "value"},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\x01\x02"},
        }
        message_id = queue.send("Test message.", MessageAttributes=attributes)
        (record,) = self.records(name, 1)
        self.assertTrue(record.pop("receiptHandle"))
        self.assertTrue(record.pop("md5OfMessageAttributes"))
        system = record.pop("attributes")
        expected = {"ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"}
        self.assertLessEqual(expected, set(system))
        self.assertEqual(system["ApproximateReceiveCount"], "1")
        expected = {
            "messageId": message_id,
            "body": "Test message.",
            "messageAttributes": {
                "text": {"stringValue": "value", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
                "bytes": {"binaryValue": "AQI=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
            },
            "md5OfBody": "011399ff65af72c50af0b64bdc34da14",
            "eventSource": "aws:sqs",
            "eventSourceARN": queue.arn,
            "awsRegion": REGION,
        }
        record_digest, expected_digest = record.pop("md5OfBody"), expected.pop("md5OfBody")
        self.assertRegex(record_digest, "^[0-9a-f]{32}$")
        self.assertEqual(len(record_digest), len(expected_digest))
        self.assertEqual(record, expected)
        self.empty(queue)

    def test_a_failed_batch_comes_again(self):
        name, queue = self.function(), Queue(VisibilityTimeout=8)
        self.map(name, queue)
        queue.send({"raise": 1})
        records = self.records(name, 2)
        self.assertEqual([record["attributes"]["ApproximateReceiveCount"] for record in records], ["1", "2"])
        self.empty(queue)

    def test_only_reported_failures_come_again(self):
        name, queue = self.function(), Queue(VisibilityTimeout=8)
        for number in range(6):
            queue.send({"number": number, "fail": 1 if number == 3 else 0})
        self.map(name, queue, FunctionResponseTypes=["ReportBatchItemFailures"])
        records = self.records(name, 7)
        again = [record for record in records if record["attributes"]["ApproximateReceiveCount"] == "2"]
        self.assertEqual([json.loads(record["body"])["number"] for record in again], [3])
        self.empty(queue)

    def test_an_answer_that_names_no_message_of_the_batch_fails_all(self):
        name, queue = self.function(), Queue(VisibilityTimeout=8)
        queue.send({"answer": {"batchItemFailures": [{"itemIdentifier": "unknown"}]}})
        self.map(name, queue, FunctionResponseTypes=["ReportBatchItemFailures"])
        self.records(name, 2)

    def test_a_window_makes_large_batches(self):
        name, queue = self.function(), Queue(VisibilityTimeout=30)
        for start in range(0, 40, 10):
            entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(start, start + 10)]
            queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
        self.map(name, queue, BatchSize=100, MaximumBatchingWindowInSeconds=2)
        records = self.records(name, 40)
        self.assertEqual(sorted(record["body"] for record in records), sorted(f"m{n}" for n in range(40)))
        self.assertGreater(max(len(event) for event in self.events(name)), 10)
        self.empty(queue)

    def test_messages_that_no_filter_wants_are_deleted(self):
        name, queue = self.function(), Queue(VisibilityTimeout=30)
        patterns = [{"body": {"kind": ["order"], "price": [{"numeric": [">", 10]}]}}, {"body": [{"prefix": "urgent"}]}]
        filters = {"Filters": [{"Pattern": json.dumps(pattern)} for pattern in patterns]}
        wanted = [json.dumps({"kind": "order", "price": 11}), "urgent: a person"]
        unwanted = [json.dumps({"kind": "order", "price": 10}), json.dumps({"kind": "note"}), "a person", "{broken"]
        for body in unwanted + wanted:
            queue.send(body)
        self.map(name, queue, FilterCriteria=filters)
        self.assertEqual(self.made["FilterCriteria"], filters)
        self.empty(queue)
        records = self.records(name, 2)
        self.assertEqual(sorted(record["body"] for record in records), sorted(wanted))

    def test_no_more_batches_at_once_than_allowed(self):
        name, queue = self.function(), Queue(VisibilityTimeout=30)
        for number in range(12):
            queue.send({"number": number, "sleep": 0.4})
        self.map(name, queue, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
        self.assertEqual(self.made["ScalingConfig"], {"MaximumConcurrency": 2})
        self.records(name, 12)
        self.empty(queue)
        # Each says when it ran; how many did at once is counted at each begin.
        times = sorted(tuple(map(float, line.split()[1:])) for line in self.messages(name) if line.startswith("ran "))
        self.assertEqual(len(times), 12)
        most = max(sum(begin <= at < end for begin, end in times) for at, _ in times)
        self.assertLessEqual(most, 2, times)

    def test_a_throttled_function_gets_its_messages_later(self):
        name, queue = self.function(), Queue(VisibilityTimeout=8)
        self.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        queue.send("patient")
        self.map(name, queue)
        eventually(lambda: queue.counts() == (0, 1), "the message is taken")
        self.aws.delete_function_concurrency(FunctionName=name)
        self.assertEqual(self.records(name, 1)[0]["body"], "patient")
        self.empty(queue)

    def test_a_throttled_batch_ends_with_its_mapping(self):
        # Half a day: the batch would be tried again for half of it.
        name, queue = self.function(), Queue(VisibilityTimeout=43_200)
        self.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        returned = self.counted("returned")
        queue.send("too late")
        uuid = self.map(name, queue)
        eventually(lambda: queue.counts() == (0, 1), "the message is taken")
        self.aws.update_event_source_mapping(UUID=uuid, Enabled=False)
        self.state(uuid, "Disabled")
        eventually(lambda: self.counted("returned") > returned, "the batch is given up")

    def counted(self, result):
        """Messages of all mappings that went so."""
        text = send("GET", self.endpoint + "/metrics").body.decode()
        name = 'lambent_event_source_messages_total{result="%s"} ' % result
        found = [line.removeprefix(name) for line in text.splitlines() if line.startswith(name)]
        return float(found[0]) if found else 0

    def test_the_life_of_a_mapping(self):
        name, queue = self.function(Publish=True), Queue(VisibilityTimeout=30)
        uuid = self.map(name, queue, wait=False, Enabled=False, Tags={"team": "a"})
        made = self.status(202, self.made)
        self.assertEqual((made["State"], made["FunctionArn"]), ("Creating", function_arn(name)))
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{uuid}"
        self.assertEqual((made["EventSourceArn"], made["EventSourceMappingArn"]), (queue.arn, arn))
        self.assertEqual((made["BatchSize"], made["MaximumBatchingWindowInSeconds"]), (10, 0))
        self.assertEqual((made["FunctionResponseTypes"], made["StateTransitionReason"]), ([], "USER_INITIATED"))
        self.assertEqual(self.aws.list_tags(Resource=arn)["Tags"], {"team": "a"})
        self.aws.tag_resource(Resource=arn, Tags={"cost": "b"})
        self.aws.untag_resource(Resource=arn, TagKeys=["team"])
        self.assertEqual(self.aws.list_tags(Resource=arn)["Tags"], {"cost": "b"})
        self.state(uuid, "Disabled")
        queue.send("early")
        message = "already exists. Please update or delete the existing mapping with UUID " + uuid
        create = self.aws.create_event_source_mapping
        self.refused("ResourceConflictException", create, message, 409, FunctionName=name, EventSourceArn=queue.arn)
        changed = self.aws.update_event_source_mapping(UUID=uuid, Enabled=True, BatchSize=5)
        self.assertEqual((self.status(202, changed)["State"], changed["BatchSize"]), ("Enabling", 5))
        self.assertEqual(self.records(name, 1)[0]["body"], "early")
        self.state(uuid, "Enabled")
        for options in [{}, {"FunctionName": name}, {"EventSourceArn": queue.arn}, {"FunctionName": name, "EventSourceArn": queue.arn}]:
            listed = self.aws.list_event_source_mappings(**options)["EventSourceMappings"]
            self.assertIn(uuid, [found["UUID"] for found in listed], options)
        other = self.aws.list_event_source_mappings(EventSourceArn=queue.arn + "-other")
        self.assertEqual(other["EventSourceMappings"], [])
        changed = self.aws.update_event_source_mapping(UUID=uuid, Enabled=False)
        self.assertEqual(changed["State"], "Disabling")
        code = "ResourceInUseException"
        self.refused(code, self.aws.update_event_source_mapping, status=400, UUID=uuid, BatchSize=1)
        self.state(uuid, "Disabled")
        queue.send("while disabled")
        deleted = self.status(202, self.aws.delete_event_source_mapping(UUID=uuid))
        self.assertEqual(deleted["State"], "Deleting")

        def gone():
            try:
                self.aws.get_event_source_mapping(UUID=uuid)
            except self.aws.exceptions.ResourceNotFoundException:
                return True

        eventually(gone, "the mapping is gone")
        self.assertEqual(queue.counts(), (1, 0))

    def test_settings_are_checked(self):
        name, queue = self.function(), Queue(VisibilityTimeout=30)
        code, create = "InvalidParameterValueException", self.aws.create_event_source_mapping
        fixed = {"FunctionName": name}
        there = {**fixed, "EventSourceArn": queue.arn}
        pattern = lambda text: {"FilterCriteria": {"Filters": [{"Pattern": text}]}}
        self.refused(code, create, "window", 400, **there, BatchSize=11)
        self.refused(code, create, "filter pattern", 400, **there, **pattern("{no json"))
        self.refused(code, create, "filter pattern", 400, **there, **pattern('{"body": {"a": "b"}}'))
        self.refused(code, create, "StartingPosition", 400, **there, StartingPosition="LATEST")
        stream = f"arn:aws:kinesis:{REGION}:{MESSAGES_ACCOUNT}:stream/s"
        self.refused(code, create, "SQS queue", 400, **fixed, EventSourceArn=stream)
        self.refused(code, create, "EventSourceArn", 400, **fixed)
        self.refused(code, create, "SQS Error Code: ", 400, **fixed, EventSourceArn=queue.arn + "-none")
        fifo = queue.arn + ".fifo"
        self.refused(code, create, "FIFO", 400, **fixed, EventSourceArn=fifo, MaximumBatchingWindowInSeconds=1)
        slow = self.function(Timeout=31)
        message = "Queue visibility timeout: 30 seconds is less than Function timeout: 31 seconds"
        self.refused(code, create, message, 400, FunctionName=slow, EventSourceArn=queue.arn)
        self.missing(create, "Function not found", FunctionName="no-such", EventSourceArn=queue.arn)
        self.missing(create, function_arn(name, "9"), FunctionName=f"{name}:9", EventSourceArn=queue.arn)
        unchecked = self.unchecked.create_event_source_mapping
        scaling = {"ScalingConfig": {"MaximumConcurrency": 1}}
        self.invalid("scalingConfig.maximumConcurrency", "greater than or equal to 2", unchecked, **there, **scaling)
        self.invalid("batchSize", "less than or equal to 10000", unchecked, **there, BatchSize=10_001)
        unknown = "00000000-0000-4000-8000-000000000000"
        for call in [self.aws.get_event_source_mapping, self.aws.delete_event_source_mapping]:
            self.missing(call, "The resource you requested does not exist.", UUID=unknown)
        self.missing(self.aws.update_event_source_mapping, UUID=unknown, BatchSize=1)

    def test_queues_of_other_accounts_are_refused(self):
        name, arn = self.function(), f"arn:aws:sqs:{REGION}:111122223333:theirs"
        create, code = self.aws.create_event_source_mapping, "InvalidParameterValueException"
        self.refused(code, create, f"lambent up --message-access {ACCOUNT}={arn}", 400, FunctionName=name, EventSourceArn=arn)
        other = accounts.client("lambda", accounts.key("111122223333"))
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:ours"
        create = other.create_event_source_mapping
        self.refused(code, create, "is not of account 111122223333", 400, FunctionName=name, EventSourceArn=arn)

    def test_a_batch_ends_when_an_event_is_full(self):
        source = "def handler(event, context):\n    print('counted', len(event['Records']), 'records')\n"
        settings = {"Code": {"ZipFile": zip_of({"app.py": source})}, "Runtime": "python3.11", "Handler": "app.handler"}
        name, queue = self.create(Timeout=60, MemorySize=512, **settings), Queue(VisibilityTimeout=600)
        for _ in range(40):
            queue.send("x" * 250_000)
        # By number and by time the batch would go on for five minutes.
        self.map(name, queue, BatchSize=1_000, MaximumBatchingWindowInSeconds=300)
        counted = lambda: sum(int(line.split()[1]) for line in self.messages(name) if line.startswith("counted "))
        eventually(lambda: counted() >= 20, "a batch goes before its time", 120)

    def test_who_changes_a_mapping_may_change_it_and_give_it(self):
        name, other, queue = self.function(), self.function(), Queue(VisibilityTimeout=10)
        uuid = self.map(name, queue)
        mapping = f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{uuid}"
        action = "lambda:UpdateEventSourceMapping"

        def denied(resource, *statements, **change):
            holder = accounts.client("lambda", accounts.key(ACCOUNT, *statements))
            message = f"{action} on resource: {resource} "
            self.refused("AccessDeniedException", holder.update_event_source_mapping, message, 403, UUID=uuid, **change)
            return holder

        # Who may give mappings to functions may not therefore change this one.
        denied(mapping, accounts.allow(action, function_arn("*")), FunctionName=other)
        denied(mapping, accounts.allow(action, function_arn("*")), BatchSize=5)
        holder = denied(function_arn(other), accounts.allow(action, mapping), FunctionName=other)
        self.assertEqual(holder.update_event_source_mapping(UUID=uuid, BatchSize=5)["BatchSize"], 5)
        self.state(uuid, "Enabled")
        both = [accounts.allow(action, resource) for resource in (mapping, function_arn(other))]
        holder = accounts.client("lambda", accounts.key(ACCOUNT, *both))
        changed = holder.update_event_source_mapping(UUID=uuid, FunctionName=other)
        self.assertEqual(changed["FunctionArn"], function_arn(other))
        self.state(uuid, "Enabled")

    def test_an_alias_is_resolved_with_each_batch(self):
        name, queue = self.function(Publish=True), Queue(VisibilityTimeout=10)
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        self.map(f"{name}:live", queue)
        self.assertEqual(self.made["FunctionArn"], function_arn(name, "live"))
        queue.send("first")
        self.records(name, 1)
        self.logged(name, "Version: 1")
        self.empty(queue)

    def test_a_loop_through_a_queue_is_stopped(self):
        name, queue, lost = self.function(), Queue(VisibilityTimeout=8), Queue()
        redrive = json.dumps({"deadLetterTargetArn": lost.arn, "maxReceiveCount": 1})
        queue.sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"RedrivePolicy": redrive})
        trace = self.ask(name, {"Records": []}, LogType="None")
        self.assertEqual(trace, {"batchItemFailures": []})
        header = {"AWSTraceHeader": {"DataType": "String", "StringValue": f"Root=1-0-0;Lineage={self.hash(name)}:16"}}
        self.map(name, queue)
        queue.send("round and round", MessageSystemAttributes=header)
        self.assertEqual(lost.take()["Body"], "round and round")
        self.assertEqual([event for event in self.events(name) if event], [])

    def hash(self, name):
        """A function's name in a lineage."""
        import hashlib

        return hashlib.sha256(function_arn(name).encode()).hexdigest()[:8]


if __name__ == "__main__":
    import unittest

    unittest.main()
