"""One destination takes connections and never answers, others work."""

import json

from message_services import Hung, Queue, hook_arn
from support import FunctionTest, eventually

# More than are delivered at once: those that hang would hold all places if nothing bounded them.
EVENTS = 100
# Deliveries that may be under way to one target.
PLACES = 8


class HungDestination(FunctionTest):
    def teller(self, target):
        name = self.create()
        self.aws.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": target}})
        return name

    def send(self, name, number):
        self.assertEqual(self.invoke(name, {"number": number}, InvocationType="Event")["StatusCode"], 202)

    def test_others_are_told_while_one_hangs(self):
        hung = Hung()
        self.addCleanup(hung.close)
        queue = Queue()
        # Two ARNs of one endpoint are one target.
        slow = [self.teller(hook_arn("hung")), self.teller(hook_arn("hung/other"))]
        working = self.teller(queue.arn)
        for number in range(EVENTS):
            self.send(slow[number % 2], number)
        eventually(lambda: hung.open == PLACES, "the endpoint has all that it gets", 60)
        for number in range(PLACES * 2):
            self.send(working, number)
        told = {json.loads(queue.take()["Body"])["requestPayload"]["number"] for _ in range(PLACES * 2)}
        self.assertEqual(told, set(range(PLACES * 2)))
        self.assertLessEqual(hung.open_most, PLACES)


if __name__ == "__main__":
    import unittest

    unittest.main()
