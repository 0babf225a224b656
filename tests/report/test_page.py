"""The page in a real browser: filters, slider, keyboard, and nothing loaded from elsewhere."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from stages.common.tasks import TASKS
from tests.report.made_up_reports import EVIL, PAGE, render, write_reports

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])


def opened(browser: Browser, width: int = 1440, scheme: str = "light") -> tuple[Page, list[str]]:
    """The page, and a list to which every error of the script or the console is added, and every
    request beyond the disk."""
    page, faults = browser.new_page(viewport={"width": width, "height": 900}), []
    page.emulate_media(color_scheme=scheme)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda one: faults.append(one.text) if one.type == "error" else None)
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.on(
        "request",
        lambda one: None if one.url.startswith(("file:", "data:")) else faults.append(one.url),
    )
    page.goto(PAGE.resolve().as_uri())
    return page, faults


def render_with_pictures() -> None:
    """Write the page, and a small picture wherever it looks for one: for every method, too."""
    addresses = [one for one in render().addresses() if one.endswith(".jpg")]
    methods = pd.read_csv("reports/gradcam/methods.csv")["method"]
    ids = pd.read_csv("reports/gradcam/summary.csv", dtype=str)["id"]
    addresses += [f"gradcam/overlays/{method}/{one}.jpg" for method in methods for one in ids]
    addresses += [f"gradcam/photos/{one}.jpg" for one in ids]
    for address in addresses:
        path = PAGE.parent / unquote(address)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 48), "teal").save(path)


def serious(page: Page) -> list[str]:
    """The serious and critical faults that axe-core finds on what is shown."""
    found = Axe().run(page).response["violations"]
    return [one["id"] for one in found if one["impact"] in ("serious", "critical")]


def explain_many(count: int) -> None:
    """Let `count` images be explained, every tenth of them wrong."""
    table = pd.concat([pd.read_csv("reports/gradcam/summary.csv")[:1]] * count, ignore_index=True)
    table["id"] = [f"{number:016x}" for number in range(count)]
    table["source"] = [f"dogs/{number}.jpg" for number in range(count)]
    table["predicted"] = ["cat" if number % 10 == 0 else "dog" for number in range(count)]
    table["confidence"] = [number / count for number in range(count)]
    table.to_csv("reports/gradcam/summary.csv", index=False)
    places = pd.read_csv("reports/gradcam/attention.csv")[:2]
    ids = table["id"].repeat(2).to_numpy()
    places = pd.concat([places] * count, ignore_index=True).assign(id=ids)
    places.to_csv("reports/gradcam/attention.csv", index=False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_no_fault_on_a_desk_or_a_phone_by_day_or_night(browser, width, scheme):
    write_reports(label=EVIL)
    render_with_pictures()
    page, faults = opened(browser, width, scheme)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(page) == []
    page.locator("#gallery button").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(page) == []
    assert faults == []


@pytest.mark.parametrize("task", TASKS)
def test_every_section_can_be_gone_to_on_the_page_of_every_task(browser, task):
    write_reports(task=task)
    render_with_pictures()
    page, faults = opened(browser)
    links = page.locator("header nav a")
    assert links.count() == page.locator("main > section").count() == 12
    for link in links.all():
        section = page.locator(link.get_attribute("href"))
        assert section.locator("h2").text_content() == link.text_content()
        assert section.locator("p, table").count() > 0
    assert page.locator("#gallery li").count() == 2
    page.locator("#gallery button").first.click()
    assert page.locator("#enlarged").is_visible()
    assert faults == []


def test_without_script_the_page_shows_all_sections_and_the_first_images(browser):
    write_reports()
    explain_many(60)
    render()
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(PAGE.resolve().as_uri())
    assert page.locator("main > section").count() == 12
    assert page.locator("#gallery li").count() == 24
    assert not page.locator("#filters").is_visible()


def test_a_hostile_label_does_nothing(browser):
    write_reports(label="<img src=x onerror=alert(1)>", source="</script><script>alert(2)</script>")
    render_with_pictures()
    page, faults = opened(browser)
    assert page.locator("#gallery").get_by_text("<img src=x onerror=alert(1)>").count() > 0
    page.locator("#gallery").get_by_text("onerror").locator("xpath=ancestor::li//button").click()
    assert "</script><script>alert(2)</script>" in page.locator("#about").text_content()
    assert page.locator("img[src=x]").count() == 0
    assert faults == []


def test_filters_leave_what_they_say(browser):
    write_reports()
    explain_many(200)
    render_with_pictures()
    page, faults = opened(browser)
    assert page.locator("#count").text_content() == "200 of 200 images"
    page.locator("#filters [name=right]").press("ArrowDown")
    assert page.locator("#count").text_content() == "20 of 200 images"
    page.fill("#filters [name=low]", "0.5")
    assert page.locator("#count").text_content() == "10 of 200 images"
    page.select_option("#filters [name=method]", "layercam")
    assert "layercam" in page.locator("#gallery img.heat").first.get_attribute("src")
    page.locator("#filters [type=reset]").press("Enter")
    page.wait_for_function("document.getElementById('count').textContent.startsWith('200 of')")
    assert faults == []


def test_labels_and_orders_are_chosen(browser):
    write_reports()
    explain_many(200)
    render()
    page, _ = opened(browser)
    page.select_option("#filters [name=label]", "cat")
    assert page.locator("#count").text_content() == "0 of 200 images"
    page.select_option("#filters [name=label]", "dog")
    page.select_option("#filters [name=order]", "confidence")
    assert page.locator("#gallery small").first.text_content() == "dogs/199.jpg"
    page.get_by_role("button", name="Next page").click()
    assert page.locator("#page").text_content() == "49 to 96 of 200"
    assert page.locator("#gallery small").first.text_content() == "dogs/151.jpg"


def test_the_slider_by_mouse_and_by_keyboard_shows_photo_and_heat_map(browser):
    write_reports()
    render_with_pictures()
    page, faults = opened(browser)
    heat = page.locator("#gallery img.heat").first
    slider = page.locator("#filters [name=blend]")
    assert heat.evaluate("one => getComputedStyle(one).opacity") == "1"
    width, height = (slider.bounding_box()[side] for side in ("width", "height"))
    slider.click(position={"x": 1, "y": height / 2})
    assert heat.evaluate("one => getComputedStyle(one).opacity") == "0"
    slider.click(position={"x": width / 2, "y": height / 2})
    assert 0.4 < float(heat.evaluate("one => getComputedStyle(one).opacity")) < 0.6
    for key, opacity in {"Home": "0", "End": "1"}.items():
        slider.press(key)
        assert heat.evaluate("one => getComputedStyle(one).opacity") == opacity
    # Both have the same place, so that the one can be laid over the other.
    photo = page.locator("#gallery .stack > img").first
    assert photo.bounding_box() == heat.bounding_box()
    assert faults == []


def test_a_method_that_does_not_beat_its_controls_is_marked_wherever_it_is_named(browser):
    write_reports()
    table = pd.read_csv("reports/gradcam/methods.csv")
    name = table.loc[~table["is_control"], "method"].iloc[0]
    table.loc[table["method"] == name, "beats_controls"] = False
    table.to_csv("reports/gradcam/methods.csv", index=False)
    render()
    page, _ = opened(browser)
    assert re.search(f"do not beat the controls: .*{name}", page.locator("#summary").inner_text())
    row = page.locator("#explanations table tr").filter(has_text=name).first
    assert "does not beat the controls" in row.inner_text()
    choice = page.locator(f"#filters option[value='{name}']").text_content()
    assert choice == f"{name} (does not beat the controls)"


def test_the_enlarged_view_by_keyboard(browser):
    write_reports()
    explain_many(60)
    render_with_pictures()
    page, faults = opened(browser)
    page.locator("#gallery button").first.press("Enter")
    first = page.locator("#photo").get_attribute("src")
    page.locator("#blend").press("Home")
    assert page.evaluate("getComputedStyle(document.getElementById('heat')).opacity") == "0"
    page.locator("#next").press("Enter")
    assert page.locator("#photo").get_attribute("src") != first
    page.keyboard.press("ArrowLeft")
    assert page.locator("#photo").get_attribute("src") == first
    page.keyboard.press("Escape")
    assert not page.locator("#enlarged").is_visible()
    assert page.evaluate("document.activeElement.closest('#gallery') !== null")
    assert faults == []


def test_where_the_heat_lies_is_told_of_the_method_that_is_shown(browser):
    write_reports()
    render_with_pictures()
    page, faults = opened(browser)
    heat = page.locator("#gallery img.heat").first
    assert heat.get_attribute("alt") == "Heat map by gradcam, brightest: top left"
    page.locator("#gallery button").first.click()
    assert page.locator("#about dd").all_text_contents()[-3:] == ["top left", "0.125", "0.75"]
    page.select_option("#method", "layercam")
    assert page.locator("#about dd").all_text_contents()[-3:] == ["bottom right", "0.75", "0.625"]
    page.keyboard.press("Escape")
    # The gallery is drawn anew once the browser has told that the dialog is closed.
    page.wait_for_selector('#gallery img[alt="Heat map by layercam, brightest: bottom right"]')
    assert faults == []


def test_five_thousand_images_stay_small_and_open_quickly(browser):
    write_reports()
    explain_many(5000)
    render()
    assert Path(PAGE).stat().st_size < 5_000_000
    start = time.perf_counter()
    page, _ = opened(browser)
    assert page.locator("#gallery li").count() > 0
    assert time.perf_counter() - start < 10  # it takes well under 2 s; a busy machine may not
    assert page.locator("#count").text_content() == "5,000 of 5,000 images"


def test_on_paper_nothing_is_cut_and_nothing_can_be_clicked(browser):
    long = "an_unbroken_name_" * 20
    write_reports(label=long, source=f"{long}.jpg")
    render_with_pictures()
    page, _ = opened(browser, width=700, scheme="dark")  # about the width of a sheet of A4
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    cut = """[...document.querySelectorAll("main *")].filter((one) =>
        one.checkVisibility() && getComputedStyle(one).overflowX !== "visible" &&
        (one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1) &&
        one.tagName !== "IMG" && one.tagName !== "svg").map((one) => one.outerHTML.slice(0, 80))"""
    assert page.evaluate(cut) == ["<h2>Summary</h2>"]  # which is for readers of the screen alone
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#filters, #pages, nav, summary").filter(visible=True).count()
    # A sheet of photos is at most one page high.
    page.evaluate("document.querySelector('.tall img').style.height = '9999px'")
    assert page.locator(".tall img").first.bounding_box()["height"] < 1000


@pytest.mark.parametrize("width", [1440, 390])
def test_a_long_name_of_a_class_stays_within_the_filters(browser, width):
    write_reports()
    classes = {"task": "multiclass", "classes": ["a very long name " * 12, "dog"], "encoder": "any"}
    Path("data/classes.json").write_text(json.dumps(classes))
    render()
    page, _ = opened(browser, width)
    form = page.locator("#filters").bounding_box()
    for control in page.locator("#filters select, #filters input, #filters button").all():
        box = control.bounding_box()
        assert box["x"] + box["width"] <= form["x"] + form["width"]


def test_on_a_desk_the_measures_of_all_methods_are_seen_at_once(browser):
    write_reports()
    table = pd.read_csv("reports/gradcam/methods.csv")
    table["beats_controls"] = table["beats_controls"].map({True: False})
    table.to_csv("reports/gradcam/methods.csv", index=False)
    render()
    page, _ = opened(browser)
    region = page.get_by_role("region", name="Measures of the methods")
    assert region.evaluate("one => one.scrollWidth <= one.clientWidth")
