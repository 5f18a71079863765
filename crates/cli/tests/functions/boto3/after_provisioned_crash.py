"""After the endpoint was killed and started again: its environments are there before anybody asks."""

import time

from support import together
from test_provisioned import WARM, ProvisionedTest


class AfterCrash(ProvisionedTest):
    def test_environments_come_back_by_themselves(self):
        found = self.until("survivor", "1", "READY")
        self.assertEqual(found["AllocatedProvisionedConcurrentExecutions"], 2)
        begin = time.monotonic()
        sleep = lambda: self.ask("survivor", {"do": "sleep", "ms": 200}, Qualifier="1")
        self.assertEqual(together([sleep] * 2), ["slept"] * 2)
        self.assertLess(time.monotonic() - begin, WARM)
        self.assertEqual(self.kind("survivor", "1"), "provisioned-concurrency")
