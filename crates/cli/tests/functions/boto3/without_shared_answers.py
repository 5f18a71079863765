"""The memcached is gone: answers are computed and kept in memory as without it."""

import support
from before_shared_answers import ask


class WithoutSharedAnswers(support.FunctionTest):
    def test_a_dead_server_is_no_error(self):
        for number in range(100, 120):
            self.assertEqual(ask(self.aws, number)[0], "miss")
            self.assertEqual(ask(self.aws, number)[0], "hit")


if __name__ == "__main__":
    import unittest

    unittest.main()
