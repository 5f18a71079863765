"""Before the endpoint is killed: a version with environments that were started ahead."""

import os

import support
from test_provisioned import ProvisionedTest


class BeforeCrash(ProvisionedTest):
    def test_environments_are_there(self):
        variables = {"OWNER": os.environ["LAMBENT_DATA"], "INIT_MS": "6000"}
        # Not removed afterwards: all is left as it is.
        settings = {"FunctionName": "survivor", "Environment": {"Variables": variables}, "Publish": True}
        support.make(self.aws, lambda *_: None, settings)
        self.aws.get_waiter("published_version_active").wait(FunctionName="survivor", Qualifier="1")
        self.provision("survivor", "1", 2)
