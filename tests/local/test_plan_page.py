"""The plan's page in a browser: it fits a desk and a phone, and it loads and runs nothing, whatever the plan holds.

Needs Chromium (Debian: ``apt-get install chromium``) on the path, or its path in ``CHROMIUM``.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ecs_release.plan.page import page
from local_aws.client import HANG_SECONDS

WIDTHS = (400, 1280)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), "")
if not CHROMIUM:
    pytest.skip(  # as a whole, so that one line at the end says it
        "no Chromium here, so nobody looked at the plan's page; install chromium, or set CHROMIUM",
        allow_module_level=True,
    )


class Browser:
    """Chromium without a window."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder

    def dump(self, document: str, width: int) -> str:
        """The document's HTML after it was loaded and its scripts ran."""
        return self._run(document, width, "--dump-dom").stdout

    def picture(self, document: str, width: int, to: Path, scheme: str) -> bytes:
        """The first screen as PNG, for somebody who prefers light or dark."""
        prefers = f"--blink-settings=preferredColorScheme={('dark', 'light').index(scheme)}"
        self._run(document, width, f"--screenshot={to}", "--hide-scrollbars", prefers)
        return to.read_bytes()

    def _run(self, document: str, width: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        file = self._folder / "page.html"
        file.write_text(document, encoding="utf-8")
        options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--no-sandbox")  # Chromium has no sandbox for root
        done = subprocess.run(
            [
                self._program,
                *options,
                f"--user-data-dir={self._folder / 'profile'}",
                f"--window-size={width},900",
                *arguments,
                file.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done

    def measure(self, document: str, width: int) -> dict[str, Any]:
        """How wide the page is in a frame of a given width (a window may not be so narrow), and what it holds."""
        script = """
          const page = document.querySelector("iframe").contentDocument;
          const right = element => Math.ceil(element.getBoundingClientRect().right);
          const seen = [...page.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().left >= 0);
          const out = document.createElement("pre");
          out.textContent = JSON.stringify({
            width: page.documentElement.scrollWidth, right: Math.max(...seen.map(right)), height: page.body.scrollHeight,
            rows: page.querySelectorAll("tbody tr").length, scripts: page.scripts.length, ran: page.title === "ran",
            text: page.body.innerText });
          document.body.append(out);"""
        frame = f'<iframe style="border:0;width:{width}px;height:900px" srcdoc="{html.escape(document)}"></iframe>'
        dumped = self.dump(
            f'<!doctype html><meta charset="utf-8"><body style="margin:0">{frame}'
            f'<script>window.addEventListener("load", () => {{{script}}});</script>',
            width + 100,
        )
        match = re.search(r"<pre>(.*?)</pre>", dumped, re.S)
        assert match, dumped[:500]
        measured: dict[str, Any] = json.loads(html.unescape(match[1]))
        return measured


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(CHROMIUM, tmp_path)


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """An address that notes every request."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def item(number: int, **more: Any) -> dict[str, Any]:
    repository = f"111111111111.dkr.ecr.eu-west-1.amazonaws.com/shop/service-{number:02}"
    return {
        "kind": "service",
        "name": f"shop-production/service-{number:02}",
        "target": "default",
        "wave": number // 30,
        "action": "update",
        "images": {
            "app": {
                "from": f"{repository}:2.0.0",
                "to": f"{repository}:2.1.0",
                "digest": f"sha256:{number:064x}",
            }
        },
        "warnings": ["no circuit breaker: a rollout that can't succeed is only noticed at its deadline."]
        if number % 7 == 0
        else [],
        "problems": [],
        **more,
    }


def plan(*more: dict[str, Any]) -> dict[str, Any]:
    """Fifty services in two waves, three of them blocked or unchanged, and what a test adds."""
    blocked = item(50, action="blocked", problems=[f"ECR has no image {item(50)['images']['app']['to']}."])
    items = [
        *map(item, range(47)),
        blocked,
        item(51, action="unchanged"),
        item(52, action="unchanged"),
        *more,
    ]
    actions = [i["action"] for i in items]
    return {
        "digest": "a" * 64,
        "release": "2026.11.4",
        "onFailure": "rollback",
        "counts": {action: actions.count(action) for action in ("update", "unchanged", "blocked")},
        "estimateSeconds": 620,
        "wayBack": False,
        "warnings": [],
        "items": items,
    }


LONG = item(
    60,
    name="a-cluster-with-a-very-long-name-that-never-ends/" + "service" * 25,
    target="another-account-in-another-region",
    images={
        "app" * 40: {
            "from": "r.example/" + "a" * 200 + ":1",
            "to": "r.example/" + "b" * 200 + f"@sha256:{'c' * 64}",
        }
    },
    warnings=["w" * 300],
)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("more", [pytest.param((), id="fifty"), pytest.param((LONG,), id="long names")])
def test_nothing_sticks_out_to_the_side(
    browser: Browser, width: int, more: tuple[dict[str, Any], ...]
) -> None:
    seen = browser.measure(page(plan(*more)), width)
    assert seen["rows"] == 47 + len(more)
    assert seen["width"] <= width
    assert seen["right"] <= width


@pytest.mark.parametrize(("width", "height"), [(400, 5500), (1280, 2600)])
def test_fifty_services_are_not_a_long_way_to_scroll(browser: Browser, width: int, height: int) -> None:
    assert browser.measure(page(plan()), width)["height"] < height


def test_what_matters_stands_first_and_everything_is_there(browser: Browser) -> None:
    text = browser.measure(page(plan()), 1280)["text"]
    places = [
        text.index(part)
        for part in ("Blocked (1)", "Warnings", "Wave 0 (30)", "Wave 1 (17)", "Unchanged (2)")
    ]
    assert places == sorted(places)
    assert all(f"service-{number:02}" in text for number in [*range(47), 50, 51, 52])
    assert "10 min" in text
    assert "not for all" in text


def test_a_hostile_plan_loads_and_runs_nothing(browser: Browser, listener: tuple[str, list[str]]) -> None:
    address, asked = listener
    attack = (
        f'"><img src="{address}/image" onerror="document.title=\'ran\'"><script src="{address}/script"></script>'
        f"<style>@import url({address}/style)</style><script>document.title='ran'</script>"
    )
    hostile = item(
        61,
        name=f"shop/{attack}",
        images={attack: {"from": f"a:{attack}", "to": f"b:{attack}"}},
        warnings=[attack],
    )
    document = page({**plan(hostile, item(62, action="blocked", problems=[attack])), "release": attack})
    seen = browser.measure(document, 400)
    assert (seen["scripts"], seen["ran"]) == (0, False)
    assert asked == []
    assert "<script>document.title" in seen["text"]  # shown, as the text it is


def test_even_markup_that_slipped_through_would_load_and_run_nothing(
    browser: Browser, listener: tuple[str, list[str]]
) -> None:
    address, asked = listener
    slipped = f'<img src="{address}/image"><script>document.title="ran"</script></body>'
    assert not browser.measure(page(plan()).replace("</body>", slipped), 400)["ran"]
    assert asked == []


def test_the_page_follows_light_and_dark(browser: Browser, tmp_path: Path) -> None:
    light, dark = (browser.picture(page(plan()), 1280, tmp_path / f"{s}.png", s) for s in ("light", "dark"))
    assert light.startswith(b"\x89PNG")
    assert light != dark
