"""Before the endpoint is killed: events that have run, whose destination is down, and messages that are worked through."""

import json

import support
import test_event_sources
from message_services import Queue, hook_arn

EVENTS = 30


class BeforeMessageCrash(support.FunctionTest):
    def test_deliveries_and_messages_are_pending(self):
        keep = lambda *_: None  # Not removed afterwards: all is left as it is.
        teller = support.make(self.aws, keep, {"FunctionName": "teller"})["FunctionName"]
        settings = {
            "FunctionName": "worker",
            "Runtime": "python3.11",
            "Handler": "app.handler",
            "Timeout": 3,
            "Code": {"ZipFile": support.zip_of({"app.py": test_event_sources.HANDLER})},
        }
        worker = support.make(self.aws, keep, settings)["FunctionName"]
        self.active(teller)
        self.active(worker)
        config = {"OnSuccess": {"Destination": hook_arn("hook")}}
        self.aws.put_function_event_invoke_config(FunctionName=teller, DestinationConfig=config)
        for number in range(EVENTS):
            payload = json.dumps({"number": number})
            answer = self.aws.invoke(FunctionName=teller, InvocationType="Event", Payload=payload)
            self.assertEqual(answer["StatusCode"], 202)
        queue = Queue(VisibilityTimeout=5)
        for number in range(EVENTS):
            queue.send({"number": number, "sleep": 0.2})
        self.aws.create_event_source_mapping(FunctionName=worker, EventSourceArn=queue.arn, BatchSize=2)
        support.eventually(lambda: queue.counts()[1] > 0, "a message is out of sight")
        self.logged(teller, '"number": 0')
