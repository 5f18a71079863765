"""Before the endpoint is killed: a version whose snapshot is being taken."""

import os

import support
from test_snap_start import PYTHON, SnapStartTest, add_runtime, processes


class BeforeCrash(SnapStartTest):
    def test_a_version_is_pending(self):
        add_runtime("python3.11", "python-runtime")
        owner = os.environ["LAMBENT_DATA"]
        settings = {
            "FunctionName": "survivor",
            "Runtime": "python3.11",
            "Handler": "app.handler",
            "Code": {"ZipFile": support.zip_of({"app.py": PYTHON})},
            "MemorySize": 512,
            "Timeout": 30,
            "SnapStart": {"ApplyOn": "PublishedVersions"},
            "Environment": {"Variables": {"OWNER": owner, "INIT_SECONDS": "20"}},
        }
        # Not removed afterwards: all is left as it is.
        support.make(self.aws, lambda *_: None, settings)
        self.active("survivor")
        published = self.aws.publish_version(FunctionName="survivor")
        self.assertEqual(published["State"], "Pending")
        support.eventually(lambda: processes(owner), "it initialises")
