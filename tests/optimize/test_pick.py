from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.optimize.merit import NOISE, dishonest, obstacle, score
from penstock.optimize.pick import pick
from penstock.optimize.types import Agreement, Batch, Candidate, Figures, Interval, Targets, Trial

FLOOR = 0.01


def around(mid, width=0.05):
    return Interval(mid * (1 - width), mid, mid * (1 + width))


def agreed(drop=0.0, upper=0.005, rows=600, metric="top1"):
    why = "" if upper <= FLOOR else f"the drop is {drop:.3g} (up to {upper:.3g} at 95 %), more than {FLOOR:g}"
    return Agreement(
        metric=metric, drop=drop, upper=upper, max_drop=FLOOR, rows=rows, passed=upper <= FLOOR, why=why
    )


def batch(rows, gain, *, p99=None, cpu=None, joules=None, width=0.05):
    """A baseline of 1 ms a row alone, half of that in batches."""
    row = (1.0 if rows == 1 else 0.5) / gain
    return Batch(
        rows=rows,
        run_ms=row * rows,
        p99_ms=p99 or 1.2 * row * rows,
        rows_per_s=1e3 / row,
        gain=around(gain, width),
        cpu_ms=cpu or 2 * row,
        joules=joules,
    )


def trial(
    name="int8",
    gain=2.0,
    *,
    engine="openvino",
    layout=(1, 2),
    depth="full",
    agreement=None,
    memory=100,
    batches=None,
    p99=None,
    width=0.05,
    batched=True,
    repeats=True,
):
    return Trial(
        candidate=Candidate(name, engine, *layout),
        depth=depth,
        figures=Figures(
            rounds=10,
            p50_ms=1 / gain,
            p99_ms=p99 or 1.2 / gain,
            speedup=around(gain, width),
            batches=batches or (batch(1, gain), batch(8, gain)),
            load_s=0.1,
            memory_bytes=memory,
            file_bytes=10,
        ),
        agreement=agreement or agreed(),
        batched=batched,
        repeats=repeats,
    )


BASE = trial("source", 1.0, engine="onnx", width=0.0)


def chosen(*trials, **targets):
    return pick(BASE, trials, Targets(max_drop=FLOOR, **targets))


# -- who wins -----------------------------------------------------------------------------------------


def test_the_fastest_honest_one_wins():
    fast, slow, wrong = trial(gain=2.0), trial("bf16", 1.5), trial("int4", 4.0, agreement=agreed(0.03, 0.04))
    assert chosen(BASE, slow, wrong, fast).winner == fast.candidate


def test_nothing_is_won_by_noise():
    assert chosen(trial(gain=1 + NOISE / 2, width=0.001)).winner is None
    assert chosen(trial(gain=1.2, width=0.3)).winner is None


def test_screened_ones_never_win():
    choice = chosen(trial(depth="screen"))
    assert choice.winner is None
    assert choice.rejected == {"int8 on openvino, 1 × 2": "screened at 2.00 × only"}


def test_only_the_deepest_compete():
    confirmed = trial("bf16", 1.5, depth="confirm")
    choice = chosen(trial(gain=2.0), trial("bf16", 1.6), confirmed)
    assert choice.winner == confirmed.candidate
    assert choice.rejected["int8 on openvino, 1 × 2"] == "measured at 2.00 × but not confirmed"


def test_a_winner_that_is_not_confirmed_does_not_win():
    assert chosen(trial(gain=1.4), trial(gain=1.0, depth="confirm")).winner is None


def test_answers_that_do_not_repeat_are_rejected():
    choice = chosen(trial(repeats=False))
    assert choice.rejected == {"int8 on openvino, 1 × 2": "the same rows gave different answers twice"}


def test_wrong_answers_are_rejected_with_the_judges_sentence():
    choice = chosen(trial(agreement=agreed(0.03, 0.04)))
    assert choice.rejected == {
        "int8 on openvino, 1 × 2": "the drop is 0.03 (up to 0.04 at 95 %), more than 0.01"
    }


def test_answers_that_are_no_numbers_pass_no_floor():
    broken = replace(
        agreed(1.0, 1.0), metric="finite", why="output 'y' is no number in 3 rows in which the original's is"
    )
    assert pick(BASE, [trial(agreement=broken)], Targets(max_drop=1.0)).winner is None


def test_as_fast_within_the_noise_the_simpler_wins():
    simple, plain = trial("int8", 2.0, layout=(1, 1)), trial("int8", 2.02, layout=(1, 2))
    fancy = trial("clean+fuse+int8", 2.04)
    assert chosen(fancy, plain, simple).winner == simple.candidate


# -- objectives and targets ---------------------------------------------------------------------------


def test_throughput_is_over_the_baseline_at_its_best():
    """Twice as fast with 8 rows, where the original is best; thrice with one, which is less."""
    one = trial(batches=(batch(1, 3.0), batch(8, 2.0)))
    found = score(BASE, one, Targets(minimize="throughput"))
    assert (found.batch.rows, round(found.ratio.mid, 6)) == (8, 2.0)
    alone = replace(one, batched=False)
    found = score(BASE, alone, Targets(minimize="throughput"))
    assert (found.batch.rows, round(found.ratio.mid, 6), found.most) == (1, 1.5, 1)


def test_a_screening_is_compared_at_the_sizes_that_it_had():
    """With 64 rows the original does four times as many as with 8, which a screening does not try."""
    base = replace(BASE, figures=replace(BASE.figures, batches=(*BASE.figures.batches, batch(64, 4.0))))
    screened = trial(depth="screen", batches=(batch(1, 1.0), batch(8, 1.22)))
    targets = Targets(minimize="throughput")
    assert round(score(base, screened, targets).ratio.mid, 6) == 1.22
    alone = score(base, replace(screened, batched=False), targets)
    assert round(alone.ratio.mid, 6) == 0.125  # a row alone in 1 ms, for 1/8 ms


def test_a_slow_moment_of_the_machine_does_not_count():
    """All rates of the trial are halved, the gains, measured side by side, are not."""
    one = trial(batches=tuple(replace(each, rows_per_s=each.rows_per_s / 2) for each in BASE.figures.batches))
    assert round(score(BASE, one, Targets(minimize="throughput")).ratio.mid, 6) == 1.0


def test_batches_beyond_the_p99_do_not_count_and_bound_the_rows():
    wide = trial(batches=(batch(1, 2.0), batch(8, 2.0), batch(64, 4.0)))
    targets = {"minimize": "throughput", "p99_ms": 4.0}
    choice = chosen(wide, **targets)
    assert (choice.winner, choice.max_rows) == (wide.candidate, 8)
    assert chosen(wide, minimize="throughput").max_rows == 0


def test_one_row_that_misses_the_p99_does_not_win_on_latency():
    choice = chosen(trial(p99=9.0), p99_ms=5.0)
    assert choice.rejected == {"int8 on openvino, 1 × 2": "its p99 is 9 ms; 5 ms is wanted"}


def test_where_the_original_misses_the_p99_whatever_holds_it_wins():
    steady = trial(gain=0.9, p99=2.0)
    choice = pick(replace(BASE, figures=replace(BASE.figures, p99_ms=50.0)), [steady], Targets(p99_ms=5.0))
    assert choice.winner == steady.candidate


def test_rows_that_may_not_be_batched_bound_the_rows():
    assert chosen(trial(batched=False)).max_rows == 1


def test_cost_is_processor_time_at_the_best_size():
    thrifty = trial("one-thread", 1.0, layout=(1, 1), batches=(batch(1, 1.0), batch(8, 1.0, cpu=0.25)))
    choice = chosen(thrifty, trial(gain=2.0), minimize="cost")
    assert choice.winner == thrifty.candidate
    assert "4.0 × less processor time (3.8–4.2), 1 → 0.25 ms a row, in batches of 8" in choice.reasons[0]


def test_energy_needs_a_counter():
    choice = chosen(trial(), minimize="energy")
    assert choice.rejected == {"int8 on openvino, 1 × 2": "no energy counter told what it takes"}
    counted = trial(batches=(batch(1, 2.0, joules=0.5),))
    base = replace(BASE, figures=replace(BASE.figures, batches=(batch(1, 1.0, joules=1.0),)))
    assert pick(base, [counted], Targets(minimize="energy")).winner == counted.candidate


# -- what it says -------------------------------------------------------------------------------------


def test_a_winner_explains_itself_in_three_lines():
    agreement = replace(agreed(0.001, 0.006, 673, "accuracy"), reference=0.987, value=0.986)
    winner = trial("int8-nncf", 2.6, agreement=agreement)
    choice = chosen(winner, trial("source", 1.2), trial("int8-onnx", 3.1, agreement=agreed(0.03, 0.034)))
    assert choice.reasons == (
        "int8-nncf on openvino, 1 × 2: 2.6 × faster (2.5–2.7), 1 ms → 0.385 ms for one row",
        "accuracy 0.987 → 0.986: a drop of 0.001, at most 0.006 at 95 % on 673 rows (floor 0.01)",
        (
            "what else: source on openvino would be 1.20 ×; "
            "with a floor of 0.034 int8-onnx on openvino would win with 3.1 ×"
        ),
    )


def test_throughput_tells_rows_a_second():
    choice = chosen(trial(gain=3.0), minimize="throughput")
    assert choice.reasons[0].endswith("3.0 × as many rows (2.8–3.2), 2,000 → 6,000 a second, in batches of 8")


def test_the_original_stays_and_says_which_floor_it_would_take():
    choice = chosen(trial(gain=2.4, agreement=agreed(0.03, 0.041)), trial("bf16", 1.02))
    assert choice.winner is None
    assert choice.reasons == (
        "source on onnx, 1 × 2 stays: no other with good answers beats it by more than the noise (3 %)",
        "nearest: bf16 on openvino, 1.02 × faster (0.97–1.07), 1 ms → 0.98 ms for one row",
        "what it would take: with a floor of 0.041 int8 on openvino would win with 2.4 ×",
    )


def test_too_few_rows_say_how_many_it_would_take():
    choice = chosen(trial(gain=2.4, agreement=agreed(0.0, 0.02465, 120)))
    assert (
        "with 299 rows to judge by instead of 120 int8 on openvino would win with 2.4 ×" in choice.reasons[2]
    )
    assert "with a floor of 0.025 " in choice.reasons[2]


def test_a_p99_that_is_too_strict_says_which_would_do():
    choice = chosen(trial(gain=2.0, p99=2.0), p99_ms=1.5)
    assert choice.reasons[2] == (
        "what it would take: with a p99 of 2.1 ms int8 on openvino would win with 2.0 ×"
    )


def test_an_original_that_misses_the_p99_says_so():
    choice = chosen(trial(gain=2.0), p99_ms=0.1)
    assert "stays, though its p99 is 1.2 ms: nothing holds 0.1 ms" in choice.reasons[0]


def test_nothing_measured_says_so():
    choice = chosen(BASE)
    assert (choice.winner, len(choice.reasons)) == (None, 3)
    assert "nothing else was measured thoroughly" in choice.reasons[0]


def test_the_front_holds_what_nobody_beats_in_everything():
    fast, small = trial(gain=2.0, memory=200), trial("bf16", 1.5, memory=50)
    worse = trial("fp16", 1.4, memory=60)
    choice = chosen(fast, small, worse)
    assert set(choice.front) == {fast.candidate, small.candidate}


# -- whatever was measured ----------------------------------------------------------------------------

gains = st.floats(0.5, 6.0)
uppers = st.sampled_from([0.002, 0.009, 0.012, 0.03, 0.08, 0.3])


@st.composite
def trials(draw):
    names = st.sampled_from(["source", "bf16", "int8", "clean+int8", "int4"])
    found = []
    for at in range(draw(st.integers(0, 7))):
        upper = draw(uppers)
        found.append(
            trial(
                draw(names),
                draw(gains),
                layout=(1 + at, draw(st.integers(1, 2))),
                depth=draw(st.sampled_from(["screen", "full", "full", "confirm"])),
                agreement=agreed(draw(st.floats(-0.01, upper)), upper, draw(st.integers(20, 900))),
                memory=draw(st.integers(1, 5)),
                batches=tuple(
                    batch(rows, draw(gains), joules=draw(st.sampled_from([None, 0.1, 0.3])))
                    for rows in (1, 8)
                ),
                width=draw(st.floats(0, 0.4)),
                batched=draw(st.booleans()),
                repeats=draw(st.sampled_from([True, True, True, False])),
            )
        )
    return found


wanted = st.builds(
    Targets,
    minimize=st.sampled_from(["latency", "throughput", "cost", "energy"]),
    p99_ms=st.sampled_from([0.0, 0.0, 0.8, 3.0, 20.0]),
    max_drop=st.sampled_from([0.01, 0.03]),
)


@given(trials(), wanted)
@settings(max_examples=150, deadline=None)
def test_the_winner_is_eligible_and_on_the_front(found, targets):
    choice = pick(BASE, found, targets)
    assert len(choice.reasons) == 3
    assert all("\n" not in line for line in choice.reasons)
    if choice.winner is None:
        return
    winner = next(each for each in found if each.candidate == choice.winner)
    assert obstacle(BASE, winner, targets) == ""
    assert winner.depth != "screen"
    assert choice.winner in choice.front
    assert choice.winner.label not in choice.rejected


@given(trials(), wanted)
@settings(max_examples=100, deadline=None)
def test_a_weaker_floor_never_makes_the_winner_slower(found, targets):
    strict, loose = (pick(BASE, found, replace(targets, max_drop=floor)) for floor in (0.01, 0.1))
    if strict.winner is None:
        return
    ratios = [
        score(BASE, next(each for each in found if each.candidate == choice.winner), targets).ratio.mid
        for choice in (strict, loose)
    ]
    assert ratios[1] >= ratios[0] / (1 + NOISE) - 1e-9


@given(trials(), wanted)
@settings(max_examples=100, deadline=None)
def test_the_original_stays_where_no_answers_are_good(found, targets):
    wrong = [replace(each, agreement=agreed(0.2, 0.3)) for each in found]
    assert pick(BASE, wrong, targets).winner is None
    assert all(dishonest(each, targets) for each in wrong)


@given(trials(), wanted, st.randoms())
@settings(max_examples=100, deadline=None)
def test_the_order_of_trials_does_not_matter(found, targets, random):
    mixed = list(found)
    random.shuffle(mixed)
    left, right = pick(BASE, found, targets), pick(BASE, mixed, targets)
    assert (left.winner, left.reasons, set(left.front)) == (right.winner, right.reasons, set(right.front))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_ties_are_broken_the_same_way(order):
    same = [trial(gain=2.0, layout=(at + 1, 1), memory=1) for at in range(3)]
    assert chosen(*(same[at] for at in order)).winner == same[0].candidate
