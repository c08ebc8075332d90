"""Models that may run elsewhere do, unless the way there takes longer than they run."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.core.spec import Batching, Instances, ModelSpec
from penstock.serving.opening import Before, Ground, open_sessions
from penstock.serving.warmup import SURE
from penstock.workers.worker import Worker

BREAKER = "tests.workers.breaker:BreakerEngine"


class NextDoor:
    """A place in processes of this machine."""

    kind = "ray"

    def __init__(self, worth=True):
        self.names = []
        self.sure = []
        self._worth = worth

    def takes(self, spec):
        return spec.isolation in ("auto", "process")

    def sized(self, spec):
        return replace(spec, instances=replace(spec.instances, count=spec.instances.count or 1, threads=1))

    def open(self, engine, spec, files, version, name, begun):
        self.names.append(name)
        return Worker(engine, spec, files, name, (), begun)

    def worth(self, session, sure):
        self.sure.append(sure)
        return self._worth


def opened(place, known=None, beside="", **settings):
    spec = ModelSpec(name="m", engine=BREAKER, batching=Batching(max_rows=2), **settings)
    path = Path("/nowhere/model.x")
    ground, before = Ground(asyncio.Lock(), place), Before(known, beside)
    found = asyncio.run(open_sessions(spec, path, "1", ground, before))
    found.close()
    return found


def test_as_many_instances_as_are_named_and_not_as_this_machine_has_cores():
    place = NextDoor()
    found = opened(place, instances=Instances(count=3))
    assert (len(found.sessions), found.warmth.isolation) == (3, "ray")
    assert sorted(place.names) == ["m-1-0", "m-1-1", "m-1-2"]
    assert all(session.warm_up is not None for session in found.sessions)


def test_what_is_not_worth_the_way_runs_here():
    place = NextDoor(worth=False)
    assert opened(place).warmth.isolation == "process"
    assert place.names == ["m-1-0"]


def test_what_was_told_to_run_in_a_process_is_not_asked_whether_it_is_worth_it():
    place = NextDoor(worth=False)
    assert opened(place, isolation="process").warmth.isolation == "ray"


def test_what_was_told_to_run_in_this_process_does():
    place = NextDoor()
    assert opened(place, isolation="thread").warmth.isolation == "thread"
    assert place.names == []


def test_what_is_known_of_an_earlier_load_still_holds():
    there = opened(NextDoor()).warmth
    here = opened(None).warmth
    place = NextDoor(worth=False)
    assert opened(place, known=there).warmth == there
    assert len(place.names) == 1
    assert opened(place, known=here).warmth == here
    assert len(place.names) == 1


@pytest.mark.parametrize(("beside", "sure"), [("", 1.0), ("ray", SURE), ("thread", 1 / SURE)])
def test_a_version_runs_where_the_one_beside_it_does_unless_that_is_clearly_wrong(beside, sure):
    place = NextDoor()
    opened(place, beside=beside)
    assert place.sure == [sure]
