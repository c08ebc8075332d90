"""How the page looks in a real Chromium: themes, contrast, names, focus, and that it fits."""

import zlib

import pytest

from tests.dashboard.checks import CONTRAST, SIDEWAYS
from tests.dashboard.stage import staged

SHOWN = "document.querySelector('.figure .big b')?.textContent"


def opened(page, stage, where="", ready=SHOWN):
    return page.opened(stage.url + where, ready)


def press(tab, *keys):
    for key in keys:
        tab.key(key)


def drawn_rows(png):
    """How many of a picture's rows are unlike the row above: a blank one has none."""
    data = b""
    at = 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + size]
        at += size + 12
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    plain = zlib.decompress(data)
    stride = len(plain) // height
    assert stride > width
    return len({plain[at : at + stride] for at in range(0, len(plain), stride)})


def test_everything_is_reached_by_tab_and_its_focus_is_seen(page):
    with staged(3) as stage:
        tab = opened(page, stage, "#/resnet50/1")
        reached = set()
        for _ in range(45):
            press(tab, "Tab")
            seen = tab.run(
                "(() => { const a = document.activeElement, row = a.closest('tr.model');"
                " const outline = (n) => getComputedStyle(n).outlineStyle !== 'none';"
                " return [a.ariaLabel || a.innerText || a.id, a === document.body || outline(row ?? a)] })()"
            )
            assert seen[1], seen
            reached.add(seen[0])
        wanted = {
            "Skip to the models",
            "API key",
            "Theme",
            "Shortcuts",
            "Filter the models",
            "Unload",
            "Close",
        }
        assert wanted <= reached
        assert "p99 ms" in reached


def test_the_theme_is_the_systems_until_one_is_chosen(page):
    with staged(1) as stage:
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        page.prefer(color_scheme="dark")
        tab = opened(page, stage)
        dark = tab.run(ground)
        press(tab, "t")
        light = tab.run(ground)
        assert light != dark
        tab.open(stage.url + "?again")
        tab.until("location.search && document.querySelector('.figure .big b')?.textContent")
        assert tab.run(ground) == light
        tab.run("document.querySelector('#theme').click()")
        assert tab.run(ground) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_told_from_its_ground(page, scheme):
    with staged(20) as stage:
        page.prefer(color_scheme=scheme)
        tab = opened(page, stage, "#/bert-ner/1")
        tab.until("document.querySelectorAll('.events time').length")
        texts = tab.run(CONTRAST)
        assert len(texts) > 150
        assert [text for text in texts if text["ratio"] < 4.5] == []


def test_controls_have_names(page):
    with staged(3) as stage:
        tab = opened(page, stage, "#/resnet50/1")
        tab.send("Accessibility.enable")
        nodes = tab.send("Accessibility.getFullAXTree")["nodes"]
        found = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
        roles = {role for role, _ in found}
        assert {"table", "row", "rowheader", "columnheader", "main", "banner", "status", "searchbox"} <= roles
        named = {"button", "link", "searchbox", "textbox", "combobox", "image", "meter", "table"}
        assert [one for one in found if one[0] in named and not one[1].strip()] == []


def test_what_is_not_known_says_how_to_make_it_known(page):
    with staged(3) as stage:
        stage.change = lambda tick: {**tick, "cost": {}, "energy": {}, "tenants": []}
        tab = opened(page, stage)
        strip = tab.run("document.querySelector('#strip').innerText")
        assert "[price] per_hour" in strip
        assert "[energy]" in strip
        assert "Carbon" not in strip
        assert "$" not in strip
        assert tab.run("document.querySelector('#tenants').hidden")


@pytest.mark.parametrize(
    ("count", "where", "size", "scheme"),
    [
        (100, "", (1440, 900), "light"),
        (100, "#/bert-ner/1", (1600, 1000), "dark"),
        (1, "", (1280, 900), "dark"),
        (100, "", (360, 760), "light"),
        (100, "#/bert-ner/1", (360, 760), "dark"),
    ],
)
def test_it_fits_and_is_not_blank(page, tmp_path, count, where, size, scheme):
    with staged(count) as stage:
        stage.warm = 70
        page.size(*size, phone=size[0] < 500)
        page.prefer(color_scheme=scheme)
        tab = opened(page, stage, where)
        tab.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        assert tab.run(SIDEWAYS) == []
        assert drawn_rows(tab.picture(tmp_path / "page.png")) > size[1] // 3


def test_motion_is_only_for_those_who_want_it(page):
    with staged(1) as stage:
        page.prefer(reduced_motion="reduce")
        tab = opened(page, stage)
        tab.until("document.querySelector('#link').innerText === 'live'")
        assert tab.run("document.getAnimations().length") == 0
        tab.prefer(reduced_motion="no-preference")
        tab.until("document.getAnimations().length > 0")
