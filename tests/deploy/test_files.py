"""What deploy/ holds is well-formed: rules, their tests, the example and the dashboard."""

import re
import subprocess
import sys

import pytest
import yaml

from tests.deploy.watch import CONFIG, DASHBOARD, ROOT, RULES, TESTS, dashboard, panels, promtool, rules

ALERTS = [rule for rule in rules() if "alert" in rule]
ONE_OF_EACH = {rule["alert"]: rule for rule in ALERTS}.values()
GUIDE = "https://github.com/penstock/penstock/blob/main/docs/guide/alerts.md#"

has_promtool = pytest.mark.skipif(promtool() is None, reason="no promtool (Debian: prometheus)")


def run_promtool(*arguments, cwd=RULES.parent):
    done = subprocess.run([promtool(), *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@has_promtool
def test_promtool_finds_nothing_wrong_with_the_rules():
    assert f"{len(rules())} rules found" in run_promtool("check", "rules", RULES)


@has_promtool
def test_the_rules_do_what_their_tests_say():
    run_promtool("test", "rules", TESTS)


@has_promtool
def test_promtool_finds_nothing_wrong_with_the_example(tmp_path):
    for file in (CONFIG, RULES):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "penstock.key").touch()
    run_promtool("check", "config", CONFIG.name, cwd=tmp_path)


def test_every_alert_is_seen_to_fire_in_a_test():
    fired = set()
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        for case in test.get("alert_rule_test", ()):
            fired |= {(case["alertname"], one["exp_labels"]["severity"]) for one in case["exp_alerts"]}
    assert {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS} == fired


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_an_alert_says_how_bad_it_is_what_it_is_and_what_to_do(alert):
    assert alert["labels"]["severity"] in ("info", "warning", "critical")
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == GUIDE + alert["alert"].lower()


def test_the_guide_has_a_section_for_every_alert_and_for_no_other():
    page = (ROOT / "docs/guide/alerts.md").read_text()
    assert sorted(rule["alert"] for rule in ONE_OF_EACH) == sorted(
        re.findall(r"^## (\w+)$", page, re.MULTILINE)
    )


def test_the_readme_names_every_recorded_series_that_is_of_use():
    readme = (ROOT / "deploy/README.md").read_text()
    named = set(re.findall(r"`(\w+:[\w:]+)`", readme))
    assert named <= {rule.get("record") for rule in rules()}


def test_the_dashboard_is_what_its_tables_make():
    code = "import make, sys; sys.stdout.write(make.text())"
    made = subprocess.run([sys.executable, "-c", code], cwd=DASHBOARD.parent, capture_output=True, timeout=60)
    assert made.stdout.decode() == DASHBOARD.read_text(), "run python deploy/grafana/make.py"


def test_every_panel_says_what_it_shows_and_in_what_unit():
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_panels_have_numbers_of_their_own_and_lie_side_by_side():
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken = set()
    for panel in everything:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_can_be_imported_anywhere():
    board = dashboard()
    assert board["id"] is None
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert names == ["datasource", "job", "instance", "model", "version", "tenant", "window"]
    used = set()
    for panel in panels():
        for target in panel["targets"]:
            used |= set(re.findall(r"\$(\w+)", target["expr"]))
    assert used - {"__rate_interval"} <= set(names)
