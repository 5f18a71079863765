"""`lambent up --network nat`, in a network namespace that plays the machine, beside one that plays the world."""

import os
import socket
import subprocess
import sys
import urllib.parse

from support import FunctionTest, eventually

HOST, WORLD = "10.77.0.1", "10.77.0.2"


def reached(address, port):
    """Whether somebody answers there, from the machine itself."""
    try:
        socket.create_connection((address, port), timeout=2).close()
        return True
    except OSError:
        return False


class Outbound(FunctionTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = cls.create_shared()
        serve = ["-m", "http.server", "8080"]
        for prefix in [[], ["nsenter", f"--net=/run/netns/{os.environ['WORLD']}"]]:
            server = subprocess.Popen([*prefix, sys.executable, *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            cls.addClassCleanup(server.wait)
            cls.addClassCleanup(server.kill)
        for address in [HOST, WORLD, "127.0.0.1"]:
            eventually(lambda: reached(address, 8080), f"{address} serves")

    def connects(self, address, port=8080):
        return self.ask(self.name, {"do": "connect", "address": f"{address}:{port}"})["reached"]

    def test_the_world_is_reached(self):
        self.assertTrue(self.connects(WORLD))

    def test_this_machine_is_not(self):
        gateway = urllib.parse.urlsplit(self.endpoint).port
        for address in [HOST, "127.0.0.1", "169.254.64.1", "169.254.169.254"]:
            self.assertFalse(self.connects(address), address)
            self.assertFalse(self.connects(address, gateway), address)

    def test_there_is_one_more_interface(self):
        self.assertEqual(sorted(self.ask(self.name, {"do": "look"})["interfaces"]), ["eth0", "lo"])

    def test_names_are_asked_of_the_machines_servers(self):
        # A name that the files know needs no server; that there is a file for the others is all that can be seen here.
        self.assertIn("content", self.ask(self.name, {"do": "read", "path": "/etc/resolv.conf"}))
