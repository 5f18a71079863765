"""What a function can see and do in its environment."""

import os
import socket
import urllib.parse

from support import ACCOUNT, ARCHITECTURE, REGION, FunctionTest, function_arn, handler_zip, together

SECCOMP_FILTER = "2"


class Walls(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared()

    def read(self, path, name=None):
        return self.ask(name or self.name, {"do": "read", "path": path})

    def names(self, path):
        return self.ask(self.name, {"do": "list", "path": path})

    def write(self, path, name=None):
        return self.ask(name or self.name, {"do": "write", "path": path, "content": "x"})["written"]

    def test_there_are_no_privileges_and_none_to_be_had(self):
        seen = self.ask(self.name, {"do": "look"})
        self.assertEqual(int(seen["capabilities"], 16), 0)
        self.assertEqual((seen["no_new_privileges"], seen["seccomp"]), ("1", SECCOMP_FILTER))
        status = self.read("/proc/self/status")["content"]
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        for kind in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]:
            self.assertEqual(int(lines[kind], 16), 0, kind)

    def test_calls_that_could_lead_out_are_refused(self):
        self.assertEqual(self.ask(self.name, {"do": "forbidden"}), [])

    def test_a_function_is_nobody_on_the_host(self):
        # Inside, outside, count: no number may stand for the host's root.
        for line in self.read("/proc/self/uid_map")["content"].splitlines():
            inside, outside, count = map(int, line.split())
            self.assertGreater(outside, 0, line)

    def test_only_its_own_processes_are_there(self):
        self.assertLessEqual(self.ask(self.name, {"do": "look"})["processes"], 3)
        self.assertNotEqual(self.read("/proc/1/comm").get("content"), "systemd")
        self.assertIn("error", self.read(f"/proc/{os.environ['LAMBENT_PID']}/status"))

    def test_the_network_is_its_own_loopback(self):
        self.assertEqual(self.ask(self.name, {"do": "look"})["interfaces"], ["lo"])

    def test_the_gateway_is_out_of_reach(self):
        port = urllib.parse.urlsplit(self.endpoint).port
        addresses = {"127.0.0.1", "169.254.169.254", socket.gethostbyname(socket.gethostname())}
        for address in addresses:
            answer = self.ask(self.name, {"do": "connect", "address": f"{address}:{port}"})
            self.assertEqual(answer, {"reached": False}, address)
        self.assertEqual(self.ask(self.name, {"do": "connect", "address": "127.0.0.1:9001"}), {"reached": True})

    def test_the_root_cannot_be_written(self):
        for path in ["/written", "/var/task/written", "/opt/written", "/etc/written", "/proc/sys/kernel/hostname", "/dev/written"]:
            self.assertFalse(self.write(path), path)
        self.assertTrue(self.write("/tmp/written"))

    def test_the_host_is_not_to_be_seen(self):
        for path in ["/root", "/home", os.environ["LAMBENT_DATA"], "/sys/fs/cgroup", "/sys/block"]:
            self.assertEqual(self.names(path), [], path)
        for path in [os.environ["LAMBENT_DATA"] + "/aws/credentials", "/etc/shadow", "/proc/kcore", "/proc/sysrq-trigger"]:
            self.assertIn(self.read(path).get("content", ""), [""], path)
        mounts = self.read("/proc/self/mounts")["content"]
        self.assertNotIn(os.environ["LAMBENT_DATA"], mounts)
        own = self.read("/proc/self/cgroup").get("content", "")
        self.assertNotIn("system.slice", own)

    def test_devices_are_the_harmless_few(self):
        devices = set(self.names("/dev"))
        self.assertTrue({"null", "zero", "random", "urandom", "full"} <= devices, devices)
        known = {"null", "zero", "random", "urandom", "full", "tty", "fd", "stdin", "stdout", "stderr", "shm", "pts", "ptmx"}
        self.assertLessEqual(devices, known)
        self.assertTrue(self.write("/dev/null"))

    def test_the_code_is_where_lambda_puts_it(self):
        self.assertEqual(self.names("/var/task"), ["bootstrap"])
        self.assertEqual(self.names("/opt"), [])

    def test_functions_do_not_see_each_others_files(self):
        self.assertTrue(self.write("/tmp/mine"))
        other = self.create()
        self.assertEqual(self.ask(other, {"do": "list", "path": "/tmp"}), [])
        self.assertIn("mine", self.names("/tmp"))

    def test_two_environments_do_not_see_each_others_files(self):
        name = self.create()
        self.assertTrue(self.write("/tmp/mine", name))
        together([lambda: self.ask(name, {"do": "sleep", "ms": 700})] * 2)
        # Which of them serves is not ours to say, and there may be a third when one was slow to settle.
        seen = []
        for _ in range(20):
            seen += together([lambda: self.ask(name, {"do": "list", "path": "/tmp"})] * 3)
            if ["mine"] in seen and [] in seen:
                break
        self.assertIn(["mine"], seen)
        self.assertIn([], seen)
        names = self.logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
        self.assertGreaterEqual(len(names), 2)


class Limits(FunctionTest):
    def test_tmp_has_the_configured_size(self):
        for size in [512, 700]:
            name = self.create(EphemeralStorage={"Size": size}, MemorySize=1024, Timeout=60)
            filled = self.ask(name, {"do": "fill tmp"})
            self.assertIn("No space left", filled["error"])
            self.assertTrue(size * 0.93 <= filled["mebibytes"] <= size, filled)
            self.assertTrue(self.ask(name, {"do": "write", "path": "/tmp/x", "content": "x"})["written"])

    def test_memory_has_the_configured_size(self):
        name = self.create(MemorySize=128, Timeout=30)
        error = self.failure(name, {"do": "eat memory"})
        self.assertIn(error["errorType"], ["Runtime.OutOfMemory", "Runtime.ExitError"])
        self.assertIn("signal: killed", error["errorMessage"])
        self.assertEqual(self.ask(name, {"do": "count"})["invocations"], 1)

    def test_processes_have_a_limit(self):
        name = self.create(MemorySize=1024, Timeout=60)
        forked = self.ask(name, {"do": "fork"})
        self.assertLess(forked["processes"], 2000, forked)
        self.assertRegex(forked["error"], "unavailable|[Rr]esource")

    def test_an_environment_stands_still_between_invocations(self):
        name, clock = self.create(), self.create()
        before = self.ask(name, {"do": "count"})
        # A second of another function, in which a thread that runs would tick up to a thousand times.
        self.ask(clock, {"do": "sleep", "ms": 1500})
        after = self.ask(name, {"do": "count"})
        self.assertEqual(after["invocations"], before["invocations"] + 1)
        self.assertLess(after["ticks"] - before["ticks"], 300)

    def test_tmp_outlives_an_invocation(self):
        name = self.create()
        self.ask(name, {"do": "write", "path": "/tmp/kept", "content": "kept"})
        self.assertEqual(self.ask(name, {"do": "read", "path": "/tmp/kept"}), {"content": "kept"})


class Variables(FunctionTest):
    def test_variables_are_lambdas(self):
        name = self.create(MemorySize=256, Environment={"Variables": {"MINE": "1", "TZ": "Europe/Berlin"}})
        environment = self.ask(name, {"do": "environment"})
        stream = environment.pop("AWS_LAMBDA_LOG_STREAM_NAME")
        self.assertRegex(stream, r"^\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}$")
        self.assertRegex(environment["AWS_LAMBDA_RUNTIME_API"], r"^[\d.]+:\d+$")
        for variable, expected in {
            "_HANDLER": "bootstrap",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "LAMBDA_TASK_ROOT": "/var/task",
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "LANG": "en_US.UTF-8",
            "MINE": "1",
            "TZ": "Europe/Berlin",
        }.items():
            self.assertEqual(environment.get(variable), expected, variable)
        for directory in ["/usr/local/bin", "/bin", "/opt/bin"]:
            self.assertIn(directory, environment["PATH"].replace("/usr/bin/", "/usr/bin").split(":"))
        for directory in ["/var/task/lib", "/opt/lib"]:
            self.assertIn(directory, environment["LD_LIBRARY_PATH"].split(":"))

    def test_the_hosts_variables_are_not_among_them(self):
        environment = self.ask(self.create(), {"do": "environment"})
        for variable in ["LAMBENT", "LAMBENT_DATA", "HOME_OF_HOST", "RUST_LOG", "AWS_PROFILE", "AWS_CONFIG_FILE", "SHLVL"]:
            self.assertNotIn(variable, environment)

    def test_the_time_zone_is_universal_by_default(self):
        self.assertEqual(self.ask(self.create(), {"do": "environment"})["TZ"], ":UTC")

    def test_the_working_directory_is_the_codes(self):
        name = self.create(Code={"ZipFile": handler_zip(model="weights")})
        self.assertEqual(self.ask(name, {"do": "read", "path": "model"}), {"content": "weights"})

    def test_the_runtime_knows_its_function(self):
        name = self.create()
        headers = self.ask(name, {"do": "headers"})
        self.assertEqual(headers["lambda-runtime-invoked-function-arn"], function_arn(name))
        self.assertIn(ACCOUNT, headers["lambda-runtime-invoked-function-arn"])
        self.assertEqual(self.aws.get_function_configuration(FunctionName=name)["Architectures"], [ARCHITECTURE])
