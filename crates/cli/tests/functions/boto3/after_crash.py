"""After the endpoint was killed and started again on its data."""

import json

import before_crash
import support


class AfterCrash(support.FunctionTest):
    def test_every_acknowledged_event_runs(self):
        logs = support.client("logs")

        def missing():
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/aws/lambda/survivor")
            text = " ".join(event["message"] for page in pages for event in page["events"])
            return [number for number in range(before_crash.EVENTS) if f"event-{number}." not in text]

        support.eventually(lambda: missing() == [], "every event in the log", 90)

    def test_functions_are_there_and_run(self):
        self.assertEqual([f["FunctionName"] for f in self.aws.list_functions()["Functions"]], ["survivor"])
        self.assertEqual(self.ask("survivor", {"do": "echo"}), {"do": "echo"})
