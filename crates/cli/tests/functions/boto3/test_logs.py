"""CloudWatch Logs: DescribeLogGroups, DescribeLogStreams, GetLogEvents, FilterLogEvents, and what functions log."""

import json
import re

from support import ACCOUNT, REGION, FunctionTest, eventually, new_name

NO_GROUP = "The specified log group does not exist."
NO_STREAM = "The specified log stream does not exist."


def group(name):
    return f"/aws/lambda/{name}"


class LogTest(FunctionTest):
    def run_once(self, name, event=None, **options):
        """Invokes, and waits until the invocation's whole log is there; gives the request's id."""
        response = self.invoke(name, event, **options)
        request_id = response["ResponseMetadata"]["RequestId"]
        self.logged(name, f"REPORT RequestId: {request_id}")
        return request_id


class Lines(LogTest):
    def test_each_invocation_begins_and_ends_in_the_log(self):
        name = self.create(MemorySize=144, Publish=True)
        for number in range(3):
            request_id = self.run_once(name, {"number": number}, Qualifier="1")
            lines = self.messages(name)
            start = lines.index(f"START RequestId: {request_id} Version: 1")
            end = lines.index(f"END RequestId: {request_id}")
            event = lines.index(f"event {json.dumps({'number': number})}")
            self.assertTrue(start < event < end, lines)
            report = lines[end + 1]
            expected = (
                rf"^REPORT RequestId: {request_id}\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\t"
                r"Memory Size: 144 MB\tMax Memory Used: (\d+) MB(\tInit Duration: \d+\.\d\d ms)?\t?$"
            )
            self.assertRegex(report, expected)
            duration, billed, used, init = re.match(expected, report).groups()
            self.assertLessEqual(float(duration), float(billed))
            self.assertTrue(1 <= int(used) <= 144, report)
            self.assertEqual(init is not None, number == 0, report)

    def test_durations_are_true(self):
        name = self.create()
        self.run_once(name)
        request_id = self.run_once(name, {"do": "sleep", "ms": 400})
        report = self.logged(name, f"REPORT RequestId: {request_id}")[0]
        duration = float(re.search(r"Duration: ([\d.]+) ms", report)[1])
        self.assertTrue(400 <= duration < 2000, report)

    def test_json_logs_have_records(self):
        name = self.create(LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "DEBUG"})
        response = self.invoke(name, {"marker": "here"})
        request_id = response["ResponseMetadata"]["RequestId"]
        self.logged(name, "platform.report")
        records = [json.loads(line) for line in self.messages(name) if line.startswith("{")]
        records = {record["type"]: record for record in records if "type" in record}
        self.assertEqual(records["platform.start"]["record"], {"requestId": request_id, "version": "$LATEST"})
        self.assertRegex(records["platform.start"]["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        report = records["platform.report"]["record"]
        self.assertEqual((report["requestId"], report["status"]), (request_id, "success"))
        for metric in ["durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"]:
            self.assertGreaterEqual(report["metrics"][metric], 0)
        self.assertIn("platform.runtimeDone", records)
        self.assertTrue(any("here" in line for line in self.messages(name)))
        self.assertFalse(any(line.startswith("START") for line in self.messages(name)))
        environment = self.ask(name, {"do": "environment"})
        self.assertEqual((environment["AWS_LAMBDA_LOG_FORMAT"], environment["AWS_LAMBDA_LOG_LEVEL"]), ("JSON", "INFO"))

    def test_system_levels_leave_records_out(self):
        name = self.create(LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN"}, Timeout=1)
        self.invoke(name, {"marker": "quiet"})
        self.failure(name, {"do": "sleep", "ms": 5000})
        self.logged(name, '"timeout"')
        reports = [json.loads(line) for line in self.messages(name) if "platform.report" in line]
        self.assertEqual([report["record"]["status"] for report in reports], ["timeout"])

    def test_a_group_of_ones_own(self):
        name = self.create(LoggingConfig={"LogGroup": f"/own/{new_name()}"})
        own = self.created["LoggingConfig"]["LogGroup"]
        self.assertEqual(self.ask(name, {"do": "environment"})["AWS_LAMBDA_LOG_GROUP_NAME"], own)

        def look():
            try:
                return self.logs.filter_log_events(logGroupName=own, filterPattern="REPORT")["events"]
            except self.logs.exceptions.ResourceNotFoundException:
                return None

        eventually(look, "the own group has lines")
        self.assertEqual(self.messages(name), [])

    def test_the_log_outlives_its_function(self):
        name = self.create()
        self.run_once(name, {"marker": "last words"})
        self.aws.delete_function(FunctionName=name)
        self.assertTrue([line for line in self.messages(name) if "last words" in line])


class Read(LogTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared(Publish=True)
        cls.group = group(cls.name)

    def setUp(self):
        self.marker = new_name()
        self.run_once(self.name, {"do": "log", "lines": 25, "of": self.marker})

    def events(self, **options):
        options = {"startFromHead": True, **options}
        return self.logs.get_log_events(logGroupName=self.group, logStreamName=self.stream(), **options)

    def stream(self):
        """The stream of the lines that the test's event made."""
        found = self.logs.filter_log_events(logGroupName=self.group, filterPattern=f'"line 0 of {self.marker}"')
        return found["events"][0]["logStreamName"]

    def test_groups_are_described(self):
        found = self.status(200, self.logs.describe_log_groups(logGroupNamePrefix=self.group))["logGroups"]
        self.assertEqual([item["logGroupName"] for item in found], [self.group])
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{self.group}"
        self.assertEqual(found[0]["arn"], f"{arn}:*")
        self.assertGreater(found[0]["creationTime"], 1_700_000_000_000)
        self.assertGreater(found[0]["storedBytes"], 0)
        self.assertEqual(found[0]["metricFilterCount"], 0)
        self.assertEqual(self.logs.describe_log_groups(logGroupNamePrefix="/no/such")["logGroups"], [])

    def test_groups_come_in_pages(self):
        other = self.create()
        self.run_once(other)
        pages = self.logs.get_paginator("describe_log_groups")
        pages = list(pages.paginate(logGroupNamePrefix="/aws/lambda/f-", PaginationConfig={"PageSize": 1}))
        names = [item["logGroupName"] for page in pages for item in page["logGroups"]]
        self.assertTrue(all(len(page["logGroups"]) <= 1 for page in pages))
        self.assertEqual(names, sorted(names))
        self.assertTrue({self.group, group(other)} <= set(names), names)

    def test_a_function_that_never_ran_has_no_group(self):
        name = self.create()
        self.assertEqual(self.logs.describe_log_groups(logGroupNamePrefix=group(name))["logGroups"], [])

    def test_streams_are_described(self):
        self.run_once(self.name, Qualifier="1")
        found = self.status(200, self.logs.describe_log_streams(logGroupName=self.group))["logStreams"]
        for stream in found:
            self.assertRegex(stream["logStreamName"], r"^\d{4}/\d\d/\d\d/\[(\$LATEST|1)\][0-9a-f]{32}$")
            self.assertLessEqual(stream["firstEventTimestamp"], stream["lastEventTimestamp"])
            self.assertTrue(stream["arn"].endswith(f":log-group:{self.group}:log-stream:{stream['logStreamName']}"), stream)
        names = [stream["logStreamName"] for stream in found]
        self.assertEqual(names, sorted(names))
        environment = self.ask(self.name, {"do": "environment"})
        self.assertIn(environment["AWS_LAMBDA_LOG_STREAM_NAME"], names)
        self.assertEqual(environment["AWS_LAMBDA_LOG_GROUP_NAME"], self.group)

    def test_streams_are_ordered_filtered_and_paged(self):
        self.run_once(self.name, Qualifier="1")
        describe = self.logs.describe_log_streams
        found = describe(logGroupName=self.group, orderBy="LastEventTime", descending=True)["logStreams"]
        times = [stream["lastEventTimestamp"] for stream in found]
        self.assertEqual(times, sorted(times, reverse=True))
        self.assertGreaterEqual(len(found), 2)
        paginator = self.logs.get_paginator("describe_log_streams")
        pages = list(paginator.paginate(logGroupName=self.group, PaginationConfig={"PageSize": 1}))
        self.assertEqual(len([stream for page in pages for stream in page["logStreams"]]), len(found))
        one = found[0]["logStreamName"]
        by_name = describe(logGroupName=self.group, logStreamNamePrefix=one)["logStreams"]
        self.assertEqual([stream["logStreamName"] for stream in by_name], [one])

    def test_events_of_a_stream_are_in_order(self):
        found = self.status(200, self.events())
        lines = [event["message"].rstrip("\n") for event in found["events"] if self.marker in event["message"]]
        self.assertEqual(lines[1:], [f"line {line} of {self.marker}" for line in range(25)])
        times = [event["timestamp"] for event in found["events"]]
        self.assertEqual(times, sorted(times))
        self.assertTrue(all(event["ingestionTime"] >= event["timestamp"] - 1000 for event in found["events"]))

    def test_tokens_lead_through_a_stream(self):
        whole = [event["message"] for event in self.events()["events"]]
        read, options = [], {}
        while True:
            page = self.events(limit=10, **options)
            self.assertLessEqual(len(page["events"]), 10)
            read += [event["message"] for event in page["events"]]
            if page["nextForwardToken"] == options.get("nextToken"):
                break
            options = {"nextToken": page["nextForwardToken"]}
        self.assertEqual(page["events"], [])
        self.assertEqual(read, whole)
        last = self.events(limit=10, startFromHead=False)
        self.assertEqual([event["message"] for event in last["events"]], whole[-10:])
        before = self.events(limit=10, startFromHead=False, nextToken=last["nextBackwardToken"])
        self.assertEqual([event["message"] for event in before["events"]], whole[-20:-10])

    def test_events_are_chosen_by_time(self):
        events = self.events()["events"]
        middle = events[len(events) // 2]["timestamp"]
        later = self.events(startTime=middle)["events"]
        earlier = self.events(endTime=middle)["events"]
        self.assertEqual(later, [event for event in events if event["timestamp"] >= middle])
        self.assertEqual(earlier, [event for event in events if event["timestamp"] < middle])
        filtered = self.logs.filter_log_events(logGroupName=self.group, startTime=events[-1]["timestamp"] + 1)
        self.assertEqual([event for event in filtered["events"] if self.marker in event["message"]], [])

    def filtered(self, pattern, **options):
        found = self.logs.filter_log_events(logGroupName=self.group, filterPattern=pattern, **options)
        return [event["message"].rstrip("\n") for event in found["events"]]

    def test_patterns_choose_lines(self):
        line = lambda number: f"line {number} of {self.marker}"
        self.assertEqual(self.filtered(f'"line 7 of {self.marker}"'), [line(7)])
        self.assertEqual(len(self.filtered(f'line "{self.marker}" -event')), 25)
        self.assertEqual(self.filtered(f'?"line 3 of {self.marker}" ?"line 4 of {self.marker}"'), [line(3), line(4)])
        self.assertEqual(len(self.filtered(f'"of {self.marker}" -"line 3 " -"line 4 "')), 23)
        self.assertEqual(self.filtered('"no such line anywhere"'), [])

    def test_filtered_events_say_where_they_are(self):
        found = self.logs.filter_log_events(logGroupName=self.group, filterPattern=f'"of {self.marker}"', limit=10)
        self.assertEqual(len(found["events"]), 10)
        self.assertEqual(len({event["eventId"] for event in found["events"]}), 10)
        stream = found["events"][0]["logStreamName"]
        paginator = self.logs.get_paginator("filter_log_events")
        pages = paginator.paginate(
            logGroupName=self.group,
            logStreamNames=[stream],
            filterPattern=f'"of {self.marker}"',
            PaginationConfig={"PageSize": 10},
        )
        events = [event for page in pages for event in page["events"]]
        self.assertEqual([event["message"].rstrip("\n") for event in events], [f"line {n} of {self.marker}" for n in range(25)])
        self.assertEqual({event["logStreamName"] for event in events}, {stream})

    def test_what_is_not_there_is_not_found(self):
        for message, call, arguments in [
            (NO_GROUP, self.logs.filter_log_events, {"logGroupName": "/no/such"}),
            (NO_GROUP, self.logs.describe_log_streams, {"logGroupName": "/no/such"}),
            (NO_GROUP, self.logs.get_log_events, {"logGroupName": "/no/such", "logStreamName": "s"}),
            (NO_STREAM, self.logs.get_log_events, {"logGroupName": self.group, "logStreamName": "no-such"}),
        ]:
            with self.subTest(message, arguments=arguments):
                self.refused("ResourceNotFoundException", call, message, 400, **arguments)

    def test_requests_are_checked(self):
        for call, arguments in [
            (self.logs.filter_log_events, {"logGroupName": self.group, "limit": 10_001}),
            (self.logs.filter_log_events, {"logGroupName": self.group, "nextToken": "no token"}),
            (self.logs.describe_log_groups, {"limit": 51}),
            (self.logs.describe_log_streams, {"logGroupName": "a b"}),
        ]:
            with self.subTest(arguments):
                self.refused("InvalidParameterException", call, status=400, **arguments)
