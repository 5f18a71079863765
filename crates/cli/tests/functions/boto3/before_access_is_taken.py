"""A function tells a queue that is not there, and another is fed by a queue; then the operator takes both away."""

import support
from message_services import Queue

TELLER, READER = "teller", "reader"


class BeforeAccessIsTaken(support.FunctionTest):
    def test_queues_are_used(self):
        keep = lambda *_: None  # Not removed afterwards: all is left as it is.
        for name in (TELLER, READER):
            support.make(self.aws, keep, {"FunctionName": name})
            self.active(name)
        told, read = Queue(), Queue(VisibilityTimeout=30)
        told.sqs.delete_queue(QueueUrl=told.url)
        config = {"OnSuccess": {"Destination": told.arn}}
        self.aws.put_function_event_invoke_config(FunctionName=TELLER, DestinationConfig=config)
        self.assertEqual(self.invoke(TELLER, {"n": 1}, InvocationType="Event")["StatusCode"], 202)
        uuid = self.aws.create_event_source_mapping(FunctionName=READER, EventSourceArn=read.arn)["UUID"]
        enabled = lambda: self.aws.get_event_source_mapping(UUID=uuid)["State"] == "Enabled"
        support.eventually(enabled, "the mapping is enabled")
        line = 'lambent_deliveries_total{kind="on-success",result="retried"} '
        retried = lambda: line in support.send("GET", self.endpoint + "/metrics").body.decode()
        support.eventually(retried, "a delivery waits")


if __name__ == "__main__":
    import unittest

    unittest.main()
