"""After the endpoint was killed and started again: its memory is empty, the memcached is not."""

import support
from before_shared_answers import ANSWERS, ask, keys, memcached


class AfterSharedAnswers(support.FunctionTest):
    def test_answers_come_from_the_server(self):
        numbers = iter(range(ANSWERS - 1))

        def hit():
            number = next(numbers)
            found, answer = ask(self.aws, number, LogType="Tail")
            return (number, answer) if found == "hit" else None

        number, answer = support.eventually(hit, "an answer comes from the server")
        self.assertEqual(answer["invocations"], number + 1, "as it was computed then")
        # From now on it is in memory.
        self.assertEqual(ask(self.aws, number), ("hit", answer))
        # Garbage is a miss, and computed anew.
        for key in keys():
            self.assertEqual(memcached(f"ms {key} 7\r\ngarbage\r\n".encode()), b"HD\r\n")
        self.assertEqual(ask(self.aws, ANSWERS - 1)[0], "miss")
        self.assertEqual(ask(self.aws, ANSWERS - 1)[0], "hit")
        # Another version never meets an older answer.
        self.aws.update_function_configuration(FunctionName="shares-answers", Description="another")
        self.active("shares-answers")
        self.assertEqual(ask(self.aws, number)[0], "miss")


if __name__ == "__main__":
    import unittest

    unittest.main()
