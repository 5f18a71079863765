"""Provisioned concurrency at work: environments that are there before anybody asks, and stay."""

import time
import urllib.request

from support import FunctionTest, eventually, function_arn, together

# How long the handler takes to initialise, ms: a request that meets it is told from one that does not.
INIT_MS = 6000
# The longest that a warm answer may take on a machine where other tests run, s.
WARM = 5.0


class ProvisionedTest(FunctionTest):
    """Has functions whose cold starts take long enough to be seen."""

    def slow(self, **settings):
        """A function with version 1, which answers with the greeting "one"."""
        variables = {"INIT_MS": str(INIT_MS), "QUIET": "1"}
        name = self.create(Environment={"Variables": variables}, **settings)
        self.version(name, "one")
        return name

    def version(self, name, greeting, **variables):
        """Publishes a version with a greeting; gives its number."""
        variables = {"INIT_MS": str(INIT_MS), "QUIET": "1", "GREETING": greeting, **variables}
        self.aws.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        self.active(name)
        version = self.aws.publish_version(FunctionName=name)["Version"]
        self.aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
        return version

    def put(self, name, qualifier, count):
        return self.aws.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
        )

    def get(self, name, qualifier):
        return self.aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)

    def until(self, name, qualifier, status):
        """Waits for a status; gives the answer that has it."""

        def look():
            found = self.get(name, qualifier)
            return found if found["Status"] == status else None

        return eventually(look, f"{name}:{qualifier} is {status}", 60)

    def provision(self, name, qualifier, count):
        self.put(name, qualifier, count)
        found = self.until(name, qualifier, "READY")
        self.assertEqual(found["AllocatedProvisionedConcurrentExecutions"], count)
        self.assertEqual(found["AvailableProvisionedConcurrentExecutions"], count)

    def kind(self, name, qualifier):
        """Why the environment that answers was started."""
        return self.ask(name, {"do": "environment"}, Qualifier=qualifier)["AWS_LAMBDA_INITIALIZATION_TYPE"]

    def metric(self, name, version, metric):
        """A line of /metrics; None when there is none."""
        with urllib.request.urlopen(f"{self.endpoint}/metrics") as answer:
            text = answer.read().decode()
        labels = f'function="{name}",version="{version}"'
        for line in text.splitlines():
            if line.startswith(metric + "{") and labels in line:
                return float(line.rsplit(" ", 1)[1])
        return None


class Ahead(ProvisionedTest):
    def test_environments_are_initialised_before_anybody_asks(self):
        name = self.slow()
        put = self.put(name, "1", 3)
        self.assertEqual((put["Status"], put["AllocatedProvisionedConcurrentExecutions"]), ("IN_PROGRESS", 0))
        self.until(name, "1", "READY")
        begin = time.monotonic()
        sleep = lambda: self.ask(name, {"do": "sleep", "ms": 200}, Qualifier="1")
        self.assertEqual(together([sleep] * 3), ["slept"] * 3)
        self.assertLess(time.monotonic() - begin, WARM)
        self.assertEqual(self.kind(name, "1"), "provisioned-concurrency")
        self.assertEqual(self.kind(name, "$LATEST"), "on-demand")
        reports = self.logged(name, "REPORT RequestId: ", 5)
        self.assertEqual(len([line for line in reports if "Init Duration" in line]), 1, reports)
        self.assertEqual(self.metric(name, "1", "lambent_provisioned_concurrency_invocations_total"), 4)
        self.assertEqual(self.metric(name, "1", "lambent_provisioned_concurrency_spillover_invocations_total"), 0)

    def test_one_after_the_other_never_meets_a_cold_start(self):
        name = self.slow()
        self.provision(name, "1", 1)
        for _ in range(100):
            self.ask(name, {"do": "echo"}, Qualifier="1")
        self.assertEqual(self.ask(name, {"do": "count"}, Qualifier="1")["invocations"], 101)

    def test_more_than_there_are_spill_over(self):
        name = self.slow(MemorySize=1769)
        self.provision(name, "1", 2)
        sleep = lambda: self.ask(name, {"do": "sleep", "ms": 1500}, Qualifier="1")
        self.assertEqual(together([sleep] * 4), ["slept"] * 4)
        self.assertEqual(self.metric(name, "1", "lambent_provisioned_concurrency_invocations_total"), 2)
        self.assertEqual(self.metric(name, "1", "lambent_provisioned_concurrency_spillover_invocations_total"), 2)
        # Those that were provisioned go first again. One that has just answered may be on its way to rest, and another,
        # which is warm as well, serves then.
        kinds = [self.kind(name, "1") for _ in range(20)]
        self.assertEqual(kinds[0], "provisioned-concurrency")
        self.assertGreater(kinds.count("provisioned-concurrency"), 10, kinds)

    def test_one_that_dies_is_replaced(self):
        name = self.slow()
        self.provision(name, "1", 1)
        self.assertEqual(self.failure(name, {"do": "exit", "code": 4}, Qualifier="1")["errorType"], "Runtime.ExitError")
        eventually(lambda: self.get(name, "1")["Status"] != "READY", "the death is seen")
        self.until(name, "1", "READY")
        begin = time.monotonic()
        self.assertEqual(self.kind(name, "1"), "provisioned-concurrency")
        self.assertLess(time.monotonic() - begin, WARM)

    def test_crashes_of_the_handler_do_not_make_it_fail(self):
        name = self.slow()
        self.provision(name, "1", 1)
        seen = set()

        def is_up():
            seen.add(self.get(name, "1")["Status"])
            return self.get(name, "1")["Status"] == "READY"

        served = lambda: self.metric(name, "1", "lambent_provisioned_concurrency_invocations_total")
        # One that comes before the death is seen goes to an environment on demand, and does not count.
        while served() < 4:
            failed = self.failure(name, {"do": "exit", "code": 4}, Qualifier="1")
            self.assertEqual(failed["errorType"], "Runtime.ExitError")
            eventually(is_up, "another is up", 60)
        self.assertNotIn("FAILED", seen)

    def test_what_does_not_initialise_fails_with_the_reason(self):
        name = self.create(Environment={"Variables": {"FAIL_INIT": "1"}})
        self.aws.publish_version(FunctionName=name)
        self.put(name, "1", 2)
        found = self.until(name, "1", "FAILED")
        self.assertEqual(found["AllocatedProvisionedConcurrentExecutions"], 0)
        reason = "FUNCTION_ERROR_INIT_FAILURE: Runtime.ExitError: Runtime exited with error: exit status 3"
        self.assertEqual(found["StatusReason"], reason)

    def test_the_runtimes_own_words_are_the_reason(self):
        name = self.create(Environment={"Variables": {"REPORT_INIT": "1"}})
        self.aws.publish_version(FunctionName=name)
        self.put(name, "1", 1)
        found = self.until(name, "1", "FAILED")
        self.assertEqual(found["StatusReason"], "FUNCTION_ERROR_INIT_FAILURE: Model.Missing: no weights")

    def test_what_has_no_room_fails_with_the_reason(self):
        name = self.create(MemorySize=10_240)
        self.aws.publish_version(FunctionName=name)
        # More memory than a machine promises to all environments: sixteen times what it has.
        self.put(name, "1", 900)
        found = self.until(name, "1", "FAILED")
        self.assertRegex(found["StatusReason"], r"^INSUFFICIENT_CAPACITY: 10240 MB are needed and \d+ of \d+ MB are promised")
        # As many as fit are there, and serve.
        self.assertGreater(self.metric(name, "1", "lambent_provisioned_environments"), 0)
        self.assertEqual(self.kind(name, "1"), "provisioned-concurrency")
        # Fewer are asked for, and are there.
        self.provision(name, "1", 2)


class Changes(ProvisionedTest):
    def test_counts_follow_and_end(self):
        name = self.slow()
        self.provision(name, "1", 1)
        self.provision(name, "1", 3)
        self.put(name, "1", 2)
        eventually(lambda: self.metric(name, "1", "lambent_provisioned_environments") == 2, "one has ended")
        self.aws.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
        eventually(lambda: self.metric(name, "1", "lambent_provisioned_environments") is None, "all have ended")
        listed = self.aws.list_provisioned_concurrency_configs(FunctionName=name)
        self.assertEqual(listed["ProvisionedConcurrencyConfigs"], [])

    def test_they_end_with_their_alias(self):
        name = self.slow()
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        self.provision(name, "live", 1)
        listed = self.aws.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
        self.assertEqual([(item["FunctionArn"], item["Status"]) for item in listed], [(function_arn(name, "live"), "READY")])
        self.assertEqual(self.kind(name, "live"), "provisioned-concurrency")
        self.aws.delete_alias(FunctionName=name, Name="live")
        eventually(lambda: self.metric(name, "1", "lambent_provisioned_environments") is None, "it has ended")

    def test_they_end_with_their_function(self):
        name = self.slow()
        self.provision(name, "1", 1)
        self.aws.delete_function(FunctionName=name)
        eventually(lambda: self.metric(name, "1", "lambent_provisioned_environments") is None, "it has ended")

    def test_an_alias_moves_without_a_cold_request(self):
        name = self.slow()
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        self.provision(name, "live", 2)
        self.version(name, "two")
        self.aws.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
        self.assertEqual(self.aws.get_alias(FunctionName=name, Name="live")["FunctionVersion"], "2")
        answers, slowest = [], 0

        def is_moved():
            nonlocal slowest
            begin = time.monotonic()
            response = self.invoke(name, {"do": "environment"}, Qualifier="live")
            slowest = max(slowest, time.monotonic() - begin)
            answers.append(response["ExecutedVersion"])
            self.assertIn(b"provisioned-concurrency", response["Payload"])
            # Some more, when what was there before has gone.
            return answers.count("2") > 100

        eventually(is_moved, "the alias has moved", 60)
        self.assertEqual(answers[0], "1")
        self.assertEqual(answers, sorted(answers))
        self.assertLess(slowest, WARM)
        self.until(name, "live", "READY")
        eventually(lambda: self.metric(name, "1", "lambent_provisioned_environments") is None, "the old ones have ended")
        self.assertEqual(self.metric(name, "2", "lambent_provisioned_concurrency_spillover_invocations_total"), 0)

    def test_an_alias_that_moves_to_what_fails_has_moved(self):
        name = self.slow()
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        self.provision(name, "live", 1)
        self.version(name, "broken", FAIL_INIT="1")
        self.aws.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
        self.until(name, "live", "FAILED")
        eventually(lambda: self.invoke(name, Qualifier="live")["ExecutedVersion"] == "2", "the alias has moved")

    def test_a_split_alias_has_some_of_each(self):
        name = self.slow()
        self.version(name, "two")
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        self.provision(name, "live", 4)
        weights = {"AdditionalVersionWeights": {"2": 0.25}}
        self.aws.update_alias(FunctionName=name, Name="live", RoutingConfig=weights)
        ready = lambda: [self.metric(name, version, "lambent_provisioned_environments") for version in "12"]
        eventually(lambda: ready() == [3, 1], "they are divided")


class Account(ProvisionedTest):
    def test_an_alias_of_latest_has_none(self):
        name = self.create()
        self.aws.create_alias(FunctionName=name, Name="head", FunctionVersion="$LATEST")
        message = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
        arguments = {"FunctionName": name, "Qualifier": "head", "ProvisionedConcurrentExecutions": 1}
        call = self.aws.put_provisioned_concurrency_config
        self.refused("InvalidParameterValueException", call, message, 400, **arguments)

    def test_they_are_taken_from_the_account(self):
        name = self.slow()
        unreserved = lambda: self.aws.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
        before = unreserved()
        self.provision(name, "1", 2)
        self.assertEqual(unreserved(), before - 2)
