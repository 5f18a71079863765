"""Before the endpoint is killed: functions that run, and events that were acknowledged and have not all run."""

import json
import os

import support

EVENTS = 40


class BeforeCrash(support.FunctionTest):
    def test_events_are_acknowledged(self):
        variables = {"Variables": {"OWNER": os.environ["LAMBENT_DATA"]}}
        # Not removed afterwards: all is left as it is.
        settings = {"FunctionName": "survivor", "Environment": variables, "MemorySize": 1769, "Timeout": 30}
        name = support.make(self.aws, lambda *_: None, settings)["FunctionName"]
        self.active(name)
        for number in range(EVENTS):
            event = {"do": "sleep", "ms": 200, "number": f"event-{number}."}
            answer = self.aws.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
            self.assertEqual(answer["StatusCode"], 202)
