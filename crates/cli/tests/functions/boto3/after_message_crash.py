"""After the endpoint was killed and started again on its data."""

import json

import before_message_crash
import support
from message_services import Hook, client


class AfterMessageCrash(support.FunctionTest):
    def test_every_event_is_told(self):
        hook = Hook()
        self.addCleanup(hook.close)

        def missing():
            told = {record["requestPayload"]["number"] for _, _, record in list(hook.requests)}
            return set(range(before_message_crash.EVENTS)) - told

        support.eventually(lambda: not missing(), "every event is told", 90)

    def test_every_message_is_worked_through(self):
        def missing():
            lines = [line[6:] for line in self.messages("worker") if line.startswith('event {"Records"')]
            records = [record for line in lines for record in json.loads(line)["Records"]]
            seen = {json.loads(record["body"])["number"] for record in records}
            return set(range(before_message_crash.EVENTS)) - seen

        support.eventually(lambda: not missing(), "every message has been seen", 90)
        sqs = client("sqs")
        (url,) = sqs.list_queues()["QueueUrls"]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        support.eventually(lambda: set(counts().values()) == {"0"}, "the queue is empty", 90)
        (mapping,) = self.aws.list_event_source_mappings()["EventSourceMappings"]
        self.assertEqual(mapping["State"], "Enabled")
