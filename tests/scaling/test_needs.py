"""What an instance takes is measured where it can be."""

import pytest

from penstock.scaling.needs import LEAST, Needs


class Thread:
    device, threads = "cpu", 2


class Process(Thread):
    def __init__(self, cpu=0.0, size=100):
        self.used, self.size = cpu, size

    def cpu(self):
        return self.used

    def resident(self):
        return self.size


class Accelerated(Process):
    device = "cuda:0"


class Elsewhere(Process):
    elsewhere = True


def test_threads_take_as_many_cores_as_they_have_threads_and_no_memory_of_their_own():
    needs, sessions = Needs(), [Thread(), Thread()]
    needs.look(sessions, 100.0)
    assert (needs.cores(sessions), needs.memory(sessions)) == (2.0, 0)


@pytest.mark.parametrize("other", [Accelerated(), Elsewhere()])
def test_what_runs_elsewhere_takes_no_core_of_this_machine(other):
    assert Needs().cores([other]) == 0.0


@pytest.mark.parametrize(
    ("used", "ran", "expected"), [(5.0, 10.0, 0.5), (0.0, 10.0, LEAST), (50.0, 10.0, 2.0), (0.1, 0.5, 2.0)]
)
def test_processes_take_what_their_processor_time_says_once_they_have_run_for_long_enough(
    used, ran, expected
):
    needs, process = Needs(), Process(cpu=3.0)
    needs.look([process], 7.0)
    process.used += used
    needs.look([process], 7.0 + ran)
    assert needs.cores([process]) == pytest.approx(expected)


def test_a_process_that_was_started_again_takes_nothing_back():
    needs, process = Needs(), Process(cpu=9.0)
    needs.look([process], 10.0)
    process.used = 0.5
    needs.look([process], 20.0)
    assert needs.cores([process]) == LEAST


def test_the_largest_process_says_what_another_one_takes():
    assert Needs().memory([Process(size=5), Process(size=9)]) == 9
