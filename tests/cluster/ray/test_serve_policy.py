"""Ray Serve's controller gets as many replicas from our forecaster as the requests need that are to come."""

import math
import subprocess
import sys
import warnings

import pytest

from penstock.cluster.ray.serve_policy import COUNT, STATE, Forecast
from penstock.core.errors import BadSetting

RUN = 0.1
START = 1_700_000_000.0


@pytest.fixture(scope="module", autouse=True)
def imported():
    pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own use of pydantic
        import ray.serve.config  # noqa: F401


class Deployment:
    """What Ray Serve would tell of requests of RUN seconds: a context each second, its state kept."""

    def __init__(self, policy, least=1, most=20, counting=False, startup=0.0):
        self.policy = policy
        self.bounds = least, most
        self.counting = counting
        self.startup = startup
        self.now = START
        self.running = self.wanted = 1
        self.state = {}
        self.count = 0.0
        self._coming = []

    def context(self, rate):
        from ray.serve.config import AutoscalingConfig, AutoscalingContext

        least, most = self.bounds
        point = type("Point", (), {"value": self.count, "timestamp": self.now})()
        return AutoscalingContext(
            deployment_id=None, deployment_name="net", app_name="app",
            current_num_replicas=self.running, target_num_replicas=self.wanted, running_replicas=[],
            total_num_requests=rate * RUN, total_queued_requests=lambda: 0.0, aggregated_metrics=None,
            raw_metrics={COUNT: {"replica": [point]}} if self.counting else {},
            capacity_adjusted_min_replicas=least, capacity_adjusted_max_replicas=most,
            policy_state=dict(self.state), last_scale_up_time=None, last_scale_down_time=None,
            current_time=self.now, config=AutoscalingConfig(target_ongoing_requests=2),
        )  # fmt: skip

    def second(self, rate):
        self.now += 1.0
        self.count += rate
        self._coming = [at for at in self._coming if at > self.now]
        self.running = max(1, self.wanted - len(self._coming))
        wanted, self.state = self.policy(self.context(rate))
        self._coming += [self.now + self.startup] * (wanted - self.wanted)
        self.wanted = wanted
        return wanted

    def seconds(self, count, rate):
        return [self.second(rate) for _ in range(count)][-1]


def policy(**terms):
    return Forecast(run_s=RUN, target_s=1.0, **terms)


@pytest.mark.parametrize("counting", [False, True])
def test_there_are_replicas_for_what_comes_with_headroom(counting):
    carries = 2 / RUN  # as the deployment's target_ongoing_requests has it
    wanted = Deployment(policy(), counting=counting).seconds(120, rate=100.0)
    assert math.ceil(100.0 / carries) < wanted <= math.ceil(2.5 * 100.0 / carries)


def test_what_one_replica_carries_may_be_named():
    assert Deployment(policy(carries=100.0)).seconds(120, 100.0) == 2


def test_bounds_are_the_deployments():
    assert Deployment(policy(), most=3).seconds(60, 1000.0) == 3
    assert Deployment(policy(), least=2).seconds(60, 0.1) == 2


def test_more_come_at_the_next_tick_and_fewer_after_the_hold():
    served = Deployment(policy(hold_s=60.0, tick_s=5.0), startup=20.0)
    few = served.seconds(60, 20.0)
    many = served.seconds(36, 200.0)
    assert many > few
    assert served.seconds(30, 20.0) == many
    assert served.seconds(120, 20.0) < many


def test_between_ticks_the_decision_stands():
    served = Deployment(policy(tick_s=10.0))
    wanted = [served.second(10.0 * at) for at in range(40)]
    assert len(set(wanted[1:10])) == 1


def test_how_long_a_replica_takes_is_learned():
    served = Deployment(policy(startup_s=5.0), startup=40.0)
    served.seconds(60, 20.0)
    served.seconds(120, 200.0)
    assert served.state[STATE].starting.seconds(5.0) == pytest.approx(40.0, abs=2.0)


def test_a_history_outlives_the_controller(tmp_path):
    file = tmp_path / "state" / "net.json"
    first = Deployment(policy(history=str(file)))
    first.seconds(700, 50.0)
    second = Deployment(policy(history=str(file)))
    second.now = first.now
    second.second(50.0)
    assert second.state[STATE].series.rate(300) == pytest.approx(50.0, rel=0.1)
    file.write_text("no history")
    assert Deployment(policy(history=str(file))).seconds(30, 10.0) >= 1


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"run_s": 2.0}, "run_s is 2 and target_s 1; it must be 0 < run_s < target_s"),
        ({"least": 1}, "no 'least'; bounds are min_replicas and max_replicas"),
        ({"hold": 1}, "no 'hold'"),
        ({"hold_s": "long"}, "Expected `float`, got `str`"),
    ],
)
def test_arguments_that_cannot_be_are_refused(terms, said):
    with pytest.raises(BadSetting) as told:
        Forecast(**{"run_s": RUN, "target_s": 1.0} | terms)
    assert said in str(told.value)


def test_counts_that_come_in_lumps_are_no_bursts():
    served = Deployment(policy(), counting=True)
    for at in range(300):
        came = 500.0 if at % 10 == 0 else 0.0
        served.second(came)
    assert served.state[STATE].series.rate(60) == pytest.approx(50.0, rel=0.02)
    assert served.state[STATE].decision.burst == pytest.approx(1.0, abs=0.3)


def test_it_can_be_named_in_a_deployments_configuration():
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    named = AutoscalingPolicy(
        policy_function="penstock.cluster.ray.serve_policy:Forecast",
        policy_kwargs={"run_s": RUN, "target_s": 1.0},
    )
    config = AutoscalingConfig(min_replicas=1, max_replicas=5, upscale_delay_s=0, policy=named)
    made = config.policy.get_policy()(**config.policy.policy_kwargs)
    assert Deployment(made, most=5).seconds(60, 1000.0) == 5


def test_it_reaches_a_controller_that_has_another_process():
    from ray.serve.config import AutoscalingPolicy

    named = AutoscalingPolicy(policy_function="penstock.cluster.ray.serve_policy:Forecast")
    code = (
        "import sys, cloudpickle; from types import SimpleNamespace as Any\n"
        "policy = cloudpickle.load(sys.stdin.buffer)(0.1, 1.0, 20.0)\n"
        "said = Any(current_time=1e9, policy_state={}, current_num_replicas=1, target_num_replicas=1,\n"
        "  deployment_name='net', capacity_adjusted_min_replicas=2, capacity_adjusted_max_replicas=4)\n"
        "print(policy(said)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=named.get_serialized_policy_def(), capture_output=True, timeout=60
    )
    assert done.stdout.split() == [b"2"], done.stderr.decode()
