"""After the endpoint was killed while it took a snapshot, and started again: it is taken anew."""

from test_snap_start import ON, SnapStartTest


class AfterCrash(SnapStartTest):
    def test_the_version_becomes_active(self):
        found = self.aws.get_function_configuration(FunctionName="survivor", Qualifier="1")
        self.assertEqual(found["State"], "Pending", "it was not finished before the crash")
        self.assertEqual(self.wait_active("survivor")["SnapStart"], ON)
        answer = self.ask("survivor", Qualifier="1")
        self.assertEqual((answer["kind"], answer["hooks"]), ("snap-start", ["before", "after"]))
