"""After the endpoint was started again without --message-access."""

import json
import os
import subprocess

import support
from before_access_is_taken import READER, TELLER
from message_services import client


class AfterAccessIsTaken(support.FunctionTest):
    def test_nothing_is_told_or_taken_any_more(self):
        (mapping,) = self.aws.list_event_source_mappings(FunctionName=READER)["EventSourceMappings"]
        sqs = client("sqs")
        url = sqs.get_queue_url(QueueName=mapping["EventSourceArn"].split(":")[-1])["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="for nobody")
        command = [os.environ["LAMBENT"], "function", "failures", TELLER, "--json", "--data", os.environ["LAMBENT_DATA"]]
        failures = lambda: json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        (failure,) = support.eventually(failures, "the delivery is given up", 60)
        self.assertIn("--message-access", failure["reason"])
        config = self.aws.get_function_event_invoke_config(FunctionName=TELLER)["DestinationConfig"]
        self.assertEqual(failure["target"], config["OnSuccess"]["Destination"])
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        # A poll that the killed endpoint left behind may have put it out of sight for a while.
        support.eventually(lambda: [counts()[name] for name in names] == ["1", "0"], "the message is left in its queue", 120)
        self.assertEqual([line for line in self.messages(READER) if line.startswith("START ")], [])
        # What can be named no more can be taken away.
        self.aws.delete_event_source_mapping(UUID=mapping["UUID"])


if __name__ == "__main__":
    import unittest

    unittest.main()
