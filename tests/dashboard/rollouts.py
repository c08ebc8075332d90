"""Made-up rollouts for the stage: as they stand at a time in seconds, in the page's words."""

import math

HOUR = 3600.0
ENGINE = "no GPU counter and no RAPL on this machine; set [energy] to have it estimated"
LABELS = "no feedback has come; POST /v1/feedback brings outcomes"


def guard(name, verdict, effect=None, wide=1.0, **more):
    """One guard; its interval reaches ``wide`` times as far as the effect, either way."""
    made = {"name": name, "verdict": verdict}
    if effect is not None:
        made |= {"effect": effect, "low": effect / wide, "high": effect * wide}
    return made | more


def judged(share, slow=1.03):
    """The guards of a good version; ``share`` of a stage's evidence has come (0 to 1)."""
    seen = int(200 + 4800 * share)
    tight = 1 + 1.1 / math.sqrt(0.4 + 14 * share)
    left = int(3000 * (1 - share))
    late = {"needs": left, "needs_s": left / 5, "why": "the slowest in a hundred are few as yet"}
    same = {"alarm": 0.02, "target": 0.03, "for_": min(1, 0.1 + share)}
    enough = share > 0.45
    return [
        guard("errors", "pass", 0.86, 1.9, alarm=1.25, target=3, seen=seen, events=21, for_=1),
        guard("timeouts", "pass", 1.0, 2.4, alarm=1.25, target=3, seen=seen, events=6, for_=1, against=0.02),
        guard("p50", "pass", 0.93, 1 + 0.06 / (1 + share), alarm=1.1, target=1.1, seen=seen, events=seen * 11,
              for_=1),
        guard("p95", "pass" if enough else "not yet", 0.97, 1 + (tight - 1) / 3, alarm=1.1, target=1.25,
              seen=seen, events=seen // 2, for_=min(1, 0.35 + 1.5 * share),
              **({} if enough else {"needs": left // 2, "needs_s": left / 10})),
        guard("p99", "not yet", slow, tight, alarm=1.1, target=1.5, seen=seen, events=seen // 10,
              for_=0.15 + 0.8 * share, against=0.11, **late),
        guard("cost", "not yet", 1.07, 1 + (tight - 1) / 6, alarm=1.1, target=1.1, seen=seen,
              for_=0.1 + 0.3 * share, against=0.34, needs=21_000, needs_s=4200.0,
              why="it is so near its margin that it takes long to tell"),
        guard("energy", "off", why=ENGINE),
        {"name": "answers", "verdict": "not yet", "effect": 0.006, "low": 0.001, "high": 0.03 - 0.015 * share,
         "seen": seen // 4, "events": seen // 90, "needs": 310, "needs_s": 62.0} | same,
        guard("outputs", "off", why="its answers are no classes"),
        guard("accuracy", "off", why=LABELS),
    ]  # fmt: skip


def stages(weights, at, now, began, took=540.0):
    """Those before ``at`` are done, each ``took`` seconds long."""
    return [
        {"weight": weight}
        | ({"began": began + took * n} if n <= at else {})
        | ({"ended": began + took * (n + 1)} if n < at else {})
        for n, weight in enumerate(weights)
    ]


def rollout(model, kind="canary", phase="running", **more):
    made = {"id": f"{model}-{kind}", "model": model, "stable": "1", "candidate": "2", "kind": kind}
    return made | {"phase": phase, "by": "ann", "rate": 92.4} | more


def canary(now, share=None, began=None, **more):
    """In the second of five stages, where some guards have passed and some have not."""
    began = now - 14 * 60 if began is None else began
    share = min(1, (now - began) / HOUR) if share is None else share
    known = {
        "stage": 1, "weight": 5, "began": began, "stages": stages([1, 5, 25, 50, 100], 1, now, began),
        "says": "5 %: p99, cost and answers have not passed yet; about 70 min at today's traffic.",
        "guards": judged(share), "answered_stable": 71_402 + int(now % 1000), "answered_candidate": 2_918,
        "saved": 3, "mirrored": 725, "sticky": "header:x-user",
    }  # fmt: skip
    return rollout(**({"model": "resnet50"} | known | more))


def taken_back(now, **more):
    """It was slow at the tail, and other in its answers."""
    began, ended = now - 1300, now - 190
    guards = judged(0.5)
    why = "173 of the slowest came from version 2, where 71 would be its share"
    slow = {"alarm": 1.1, "target": 1.5, "seen": 1_204, "events": 173, "against": 1, "for_": 0.01, "why": why}
    guards[4] = guard("p99", "fail", 2.31, 1.28, **slow)
    guards[7] |= {"effect": 0.031, "low": 0.017, "high": 0.048, "against": 0.83, "for_": 0}
    known = {
        "phase": "rolled-back", "stage": 1, "weight": 0, "began": began, "ended": ended, "guards": guards,
        "stages": [{"weight": 1, "began": began, "ended": began + 800},
                   {"weight": 5, "began": began + 800, "ended": ended},
                   {"weight": 25}, {"weight": 100}],
        "says": "Rolled back: p99 is 1.8 to 3 times that of version 1, over the margin of 1.1.",
        "answered_stable": 120_338, "answered_candidate": 1_204, "saved": 41, "by": "model.toml",
    }  # fmt: skip
    return rollout(**({"model": "minilm-embed"} | known | more))


def promoted(now):
    began = now - HOUR
    guards = [one | ({"verdict": "pass", "for_": 1} if one["verdict"] != "off" else {}) for one in judged(1)]
    for one in guards:
        one.pop("needs", 0), one.pop("why" if one["verdict"] == "pass" else "", 0)
    done = [stage | {"ended": began + 540 * (n + 1)}
            for n, stage in enumerate(stages([1, 25, 100], 2, now, began))]  # fmt: skip
    return rollout("fraud-xgb", phase="promoted", weight=100, stage=2, stages=done, began=began,
                   ended=began + 1620, guards=guards, answered_candidate=88_000, answered_stable=41_000,
                   says="Promoted: all guards passed at 1 %, 25 % and 100 %.")  # fmt: skip


def others(now):
    """One of each other kind and phase."""
    early = now - 95
    return [
        rollout("yolo11n", "shadow", weight=0, stages=[{"weight": 0, "began": early}], began=early,
                guards=judged(0.02), mirrored=412, answered_stable=8_240,
                says="Copies alone: answers agree so far; it never promotes by itself."),
        rollout("ranker", "blue-green", "paused", stages=stages([0, 100], 0, now, early), began=early,
                guards=judged(0.3), mirrored=1_502, says="Paused by bob: looking at the cost first."),
        rollout("churn", "ab", weight=50, stages=[{"weight": 50, "began": early}], began=early, by="dana",
                guards=judged(0.9), answered_stable=9_210, answered_candidate=9_187,
                says="Both are kept until told; version 2 costs ×1.07."),
        rollout("whisper-tiny", phase="loading", stages=stages([1, 10, 100], -1, now, early), began=early,
                says="Version 2 is loading.", by="model.toml", rate=0.4),
    ]  # fmt: skip


def several(now, count):
    """So many, those that run first."""
    more = [canary(now, 0.1 + n / 30, id=f"r{n}", model=f"ranker-{n:02}") for n in range(max(0, count - 7))]
    return [canary(now), *others(now), *more, taken_back(now), promoted(now)][:count]
