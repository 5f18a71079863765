"""Application Auto Scaling of provisioned concurrency, through boto3's own client. The endpoint decides every three
seconds here, where it is a minute otherwise."""

import datetime
import threading

from support import ACCOUNT, REGION, NO_RETRIES, client, eventually
from test_provisioned import ProvisionedTest

NAMESPACE = {"ServiceNamespace": "lambda"}
DIMENSION = {**NAMESPACE, "ScalableDimension": "lambda:function:ProvisionedConcurrency"}
METRIC = {"PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"}
UNSUPPORTED = "Unsupported service namespace, resource type or scalable dimension"


class ScalingTest(ProvisionedTest):
    """Has a client of Application Auto Scaling, and functions with an alias."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.scaling = client("application-autoscaling")

    def aliased(self):
        """A function with an alias "live"; gives its name and the resource that is scaled."""
        name = self.create(Environment={"Variables": {"QUIET": "1"}}, Timeout=60)
        self.aws.publish_version(FunctionName=name)
        self.aws.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
        self.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        return name, {**DIMENSION, "ResourceId": f"function:{name}:live"}

    def registered(self, least, most):
        name, resource = self.aliased()
        self.scaling.register_scalable_target(MinCapacity=least, MaxCapacity=most, **resource)
        return name, resource

    def requested(self, name):
        """How many environments are asked for."""
        try:
            return self.get(name, "live")["RequestedProvisionedConcurrentExecutions"]
        except self.aws.exceptions.ProvisionedConcurrencyConfigNotFoundException:
            return 0

    def bounds(self, resource):
        found = self.scaling.describe_scalable_targets(ResourceIds=[resource["ResourceId"]], **DIMENSION)
        return [(target["MinCapacity"], target["MaxCapacity"]) for target in found["ScalableTargets"]]

    def track(self, resource, target=0.5, name="half", **more):
        configuration = {"TargetValue": target, "PredefinedMetricSpecification": METRIC, **more}
        return self.scaling.put_scaling_policy(
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=configuration,
            **resource,
        )


class Targets(ScalingTest):
    def test_the_life_of_a_target(self):
        name, resource = self.aliased()
        arn = self.scaling.register_scalable_target(MinCapacity=1, MaxCapacity=3, Tags={"team": "a"}, **resource)["ScalableTargetARN"]
        self.assertRegex(arn, f"^arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:scalable-target/[0-9a-f]+$")
        found = self.scaling.describe_scalable_targets(ResourceIds=[resource["ResourceId"]], **NAMESPACE)["ScalableTargets"][0]
        self.assertEqual({key: found[key] for key in resource}, resource)
        self.assertEqual((found["MinCapacity"], found["MaxCapacity"], found["ScalableTargetARN"]), (1, 3, arn))
        self.assertIsInstance(found["CreationTime"], datetime.datetime)
        self.assertIn("AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency", found["RoleARN"])
        # Its numbers are kept at once.
        eventually(lambda: self.requested(name) == 1, "there is the fewest")
        self.until(name, "live", "READY")
        # It is written down after the change.
        activity = eventually(lambda: self.scaling.describe_scaling_activities(**resource)["ScalingActivities"], "it is told")[0]
        self.assertEqual((activity["StatusCode"], activity["Cause"]), ("Successful", "minimum capacity was set to 1"))
        self.assertEqual(self.scaling.register_scalable_target(MinCapacity=2, **resource)["ScalableTargetARN"], arn)
        self.assertEqual(self.bounds(resource), [(2, 3)])
        eventually(lambda: self.requested(name) == 2, "there is the new fewest")
        self.scaling.tag_resource(ResourceARN=arn, Tags={"cost": "b"})
        self.scaling.untag_resource(ResourceARN=arn, TagKeys=["team"])
        self.assertEqual(self.scaling.list_tags_for_resource(ResourceARN=arn)["Tags"], {"cost": "b"})
        self.scaling.deregister_scalable_target(**resource)
        self.assertEqual(self.bounds(resource), [])
        self.assertEqual(self.requested(name), 2, "what it asked for stays")
        message = (
            f"No scalable target found for service namespace: lambda, resource ID: function:{name}:live, "
            "scalable dimension: lambda:function:ProvisionedConcurrency"
        )
        self.refused("ObjectNotFoundException", self.scaling.deregister_scalable_target, message, 400, **resource)

    def test_too_many_environments_are_taken_away(self):
        name, resource = self.aliased()
        self.provision(name, "live", 3)
        self.scaling.register_scalable_target(MinCapacity=0, MaxCapacity=1, **resource)
        eventually(lambda: self.requested(name) == 1, "there is the most")
        self.scaling.register_scalable_target(MinCapacity=0, MaxCapacity=0, **resource)
        eventually(lambda: self.requested(name) == 0, "there is none")

    def test_what_cannot_be_a_target(self):
        name, resource = self.aliased()
        call = self.scaling.register_scalable_target
        bounds = {"MinCapacity": 1, "MaxCapacity": 2}
        self.refused("ValidationException", call, "Maximum capacity cannot be less than minimum capacity.", 400, **{**resource, "MinCapacity": 3, "MaxCapacity": 2})
        self.refused("ValidationException", call, status=400, **resource)
        for wrong in [
            {"ServiceNamespace": "ecs"},
            {"ScalableDimension": "dynamodb:table:ReadCapacityUnits"},
            {"ResourceId": f"function:{name}"},
            {"ResourceId": f"function:{name}:$LATEST"},
            {"ResourceId": "function::live"},
        ]:
            self.refused("ValidationException", call, UNSUPPORTED, 400, **{**resource, **bounds, **wrong})
        message = "Lambda function version or alias doesn't exist: function:no-such:live"
        self.refused("ValidationException", call, message, 400, **{**resource, **bounds, "ResourceId": "function:no-such:live"})
        self.refused("ValidationException", call, status=400, **{**resource, "MinCapacity": -1, "MaxCapacity": 2})

    def test_a_target_goes_with_its_alias(self):
        name, resource = self.registered(0, 1)
        self.track(resource)
        self.aws.delete_alias(FunctionName=name, Name="live")
        self.assertEqual(self.bounds(resource), [])
        self.assertEqual(self.scaling.describe_scaling_policies(**resource)["ScalingPolicies"], [])

    def test_lists_have_pages(self):
        _, resource = self.registered(0, 1)
        for number in range(3):
            self.track(resource, name=f"policy-{number}")
        names, token = [], {}
        while True:
            page = self.scaling.describe_scaling_policies(MaxResults=1, **resource, **token)
            names += [policy["PolicyName"] for policy in page["ScalingPolicies"]]
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
        self.assertEqual(names, ["policy-0", "policy-1", "policy-2"])
        call = self.scaling.describe_scaling_policies
        self.refused("InvalidNextTokenException", call, status=400, NextToken="no token", **resource)


class Policies(ScalingTest):
    def test_the_life_of_a_policy(self):
        name, resource = self.registered(1, 2)
        put = self.track(resource, 0.7, ScaleOutCooldown=0, ScaleInCooldown=60, DisableScaleIn=False)
        arn = f"^arn:aws:autoscaling:{REGION}:{ACCOUNT}:scalingPolicy:[0-9a-f-]+:resource/lambda/function:{name}:live:policyName/half$"
        self.assertRegex(put["PolicyARN"], arn)
        self.assertEqual(put["Alarms"], [])
        found = self.scaling.describe_scaling_policies(PolicyNames=["half"], **resource)["ScalingPolicies"][0]
        self.assertEqual((found["PolicyARN"], found["PolicyType"]), (put["PolicyARN"], "TargetTrackingScaling"))
        tracking = {"TargetValue": 0.7, "PredefinedMetricSpecification": METRIC, "ScaleOutCooldown": 0, "ScaleInCooldown": 60, "DisableScaleIn": False}
        self.assertEqual(found["TargetTrackingScalingPolicyConfiguration"], tracking)
        self.assertEqual(self.track(resource, 0.6)["PolicyARN"], put["PolicyARN"])
        self.scaling.delete_scaling_policy(PolicyName="half", **resource)
        self.assertEqual(self.scaling.describe_scaling_policies(**resource)["ScalingPolicies"], [])
        self.refused("ObjectNotFoundException", self.scaling.delete_scaling_policy, status=400, PolicyName="half", **resource)

    def test_what_cannot_be_a_policy(self):
        _, resource = self.registered(1, 2)
        tracking = {"TargetValue": 0.5, "PredefinedMetricSpecification": METRIC}
        call = self.scaling.put_scaling_policy
        other = {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}
        for wrong in [{"TargetValue": 0}, {"TargetValue": 70}, {"PredefinedMetricSpecification": other}]:
            configuration = {**tracking, **wrong}
            self.refused("ValidationException", call, status=400, PolicyName="p", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=configuration, **resource)
        self.refused("ValidationException", call, status=400, PolicyName="p", PolicyType="StepScaling", TargetTrackingScalingPolicyConfiguration=tracking, **resource)
        absent = {**resource, "ResourceId": "function:no-such:live"}
        self.refused("ObjectNotFoundException", call, status=400, PolicyName="p", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=tracking, **absent)

    def test_a_step_of_load_is_followed_within_two_periods(self):
        name, resource = self.registered(1, 12)
        self.track(resource)
        eventually(lambda: self.requested(name) == 1, "there is the fewest")
        self.until(name, "live", "READY")
        ended = threading.Event()

        def load():
            aws = client("lambda", NO_RETRIES)
            while not ended.is_set():
                aws.invoke(FunctionName=name, Qualifier="live", Payload='{"do": "sleep", "ms": 3000}')["Payload"].read()

        threads = [threading.Thread(target=load) for _ in range(5)]
        for thread in threads:
            thread.start()
        try:
            # Five in flight at a half is ten; a sample may meet the moment between two requests.
            eventually(lambda: self.requested(name) >= 8, "the step is followed")
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        self.assertLessEqual(self.requested(name), 12)

        def followed():
            """Decisions that were carried out: one for each period that saw the step, so at most two."""
            activities = self.scaling.describe_scaling_activities(**resource)["ScalingActivities"]
            mine = [one for one in activities if one["Cause"] == "utilization triggered policy half"]
            return [one["StatusCode"] for one in mine]

        eventually(lambda: followed() and set(followed()) == {"Successful"}, "the decisions are written down")
        self.assertLessEqual(len(followed()), 2)


class Schedules(ScalingTest):
    def put_action(self, resource, schedule, action="morning", **settings):
        return self.scaling.put_scheduled_action(ScheduledActionName=action, Schedule=schedule, **resource, **settings)

    def test_the_life_of_an_action(self):
        name, resource = self.registered(0, 1)
        start = datetime.datetime(2031, 1, 1, tzinfo=datetime.timezone.utc)
        settings = {"Timezone": "Europe/Berlin", "StartTime": start, "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 2}}
        self.put_action(resource, "cron(0 8 ? * MON-FRI *)", **settings)
        found = self.scaling.describe_scheduled_actions(**resource)["ScheduledActions"]
        self.assertEqual(len(found), 1)
        self.assertEqual({key: found[0][key] for key in settings}, settings)
        self.assertEqual(found[0]["Schedule"], "cron(0 8 ? * MON-FRI *)")
        arn = f":resource/lambda/function:{name}:live:scheduledActionName/morning"
        self.assertTrue(found[0]["ScheduledActionARN"].endswith(arn), found)
        # What is left out stays.
        self.scaling.put_scheduled_action(ScheduledActionName="morning", ScalableTargetAction={"MinCapacity": 3}, **resource)
        found = self.scaling.describe_scheduled_actions(ScheduledActionNames=["morning"], **resource)["ScheduledActions"][0]
        self.assertEqual((found["Timezone"], found["ScalableTargetAction"]), ("Europe/Berlin", {"MinCapacity": 3}))
        self.scaling.delete_scheduled_action(ScheduledActionName="morning", **resource)
        self.assertEqual(self.scaling.describe_scheduled_actions(**resource)["ScheduledActions"], [])
        self.refused("ObjectNotFoundException", self.scaling.delete_scheduled_action, status=400, ScheduledActionName="morning", **resource)

    def test_an_action_runs_at_its_time_and_once(self):
        name, resource = self.registered(0, 1)
        due = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=9))) + datetime.timedelta(seconds=6)
        schedule = f"at({due:%Y-%m-%dT%H:%M:%S})"
        self.put_action(resource, schedule, Timezone="Asia/Tokyo", ScalableTargetAction={"MinCapacity": 2, "MaxCapacity": 4})
        eventually(lambda: self.requested(name) == 2, "the action has run")
        self.assertGreaterEqual(datetime.datetime.now(due.tzinfo), due.replace(microsecond=0))
        self.assertEqual(self.bounds(resource), [(2, 4)])
        self.until(name, "live", "READY")
        # It does not run again over what is set by hand.
        self.scaling.register_scalable_target(MinCapacity=0, MaxCapacity=1, **resource)
        eventually(lambda: self.requested(name) == 1, "the hand wins")
        self.assertEqual(self.bounds(resource), [(0, 1)])

    def test_a_suspended_target_passes_actions_over(self):
        name, resource = self.registered(0, 1)
        self.scaling.register_scalable_target(SuspendedState={"ScheduledScalingSuspended": True}, **resource)
        other_name, other = self.registered(0, 1)
        # Late enough for both requests on a busy machine: what is past is refused.
        due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=10)
        action = {"ScalableTargetAction": {"MinCapacity": 1}}
        self.put_action(resource, f"at({due:%Y-%m-%dT%H:%M:%S})", **action)
        later = due + datetime.timedelta(seconds=1)
        self.put_action(other, f"at({later:%Y-%m-%dT%H:%M:%S})", **action)
        # When the later one has run, the earlier one has been passed over.
        eventually(lambda: self.requested(other_name) == 1, "the other action has run")
        self.assertEqual((self.requested(name), self.bounds(resource)), (0, [(0, 1)]))

    def test_what_cannot_be_scheduled(self):
        _, resource = self.registered(0, 1)
        capacity = {"ScalableTargetAction": {"MinCapacity": 1}}
        call = self.scaling.put_scheduled_action
        for schedule in ["daily", "at(2030-13-01T00:00:00)", "rate(0 minutes)", "cron(0 0 * * *)", "cron(0 0 * * * *)", "at(2001-01-01T00:00:00)", "cron(0 0 31 FEB ? *)"]:
            self.refused("ValidationException", call, status=400, ScheduledActionName="a", Schedule=schedule, **resource, **capacity)
        schedule = {"ScheduledActionName": "a", "Schedule": "rate(1 day)", **resource}
        self.refused("ValidationException", call, status=400, Timezone="Mars/Olympus", **schedule, **capacity)
        self.refused("ValidationException", call, status=400, **schedule)
        self.refused("ValidationException", call, status=400, ScalableTargetAction={"MinCapacity": 2, "MaxCapacity": 1}, **schedule)
        self.refused("ValidationException", call, status=400, **{**schedule, **capacity, "ScheduledActionName": "a:b"})
        self.refused("ObjectNotFoundException", call, status=400, **{**schedule, **capacity, "ResourceId": "function:no-such:live"})
        self.assertEqual(self.scaling.describe_scheduled_actions(**resource)["ScheduledActions"], [])


class Requests(ScalingTest):
    def test_signatures_are_of_the_service(self):
        headers = {"X-Amz-Target": "AnyScaleFrontendService.DescribeScalableTargets", "Content-Type": "application/x-amz-json-1.1"}
        body = b'{"ServiceNamespace": "lambda"}'
        answer = self.sent("POST", "/", body, headers, "application-autoscaling")
        self.assertEqual(answer.status, 200, answer.body)
        self.assertNotEqual(self.sent("POST", "/", body, headers, "lambda").status, 200)

    def test_what_is_no_document_is_refused(self):
        headers = {"X-Amz-Target": "AnyScaleFrontendService.DescribeScalableTargets", "Content-Type": "application/x-amz-json-1.1"}
        for body in [b"{", b"[]", b'{"ServiceNamespace": 7}', b'{"ServiceNamespace": "lambda", "ResourceIds": "one"}']:
            answer = self.sent("POST", "/", body, headers, "application-autoscaling")
            self.assertEqual(answer.status, 400, answer.body)
            self.assertEqual(answer.headers["x-amzn-errortype"], "SerializationException", answer.body)
