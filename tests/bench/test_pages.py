"""Reports in a real browser: headless Chromium, driven through its debugging pipe."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeinfer_bench import Report, merge, write_report

MakeReport = Callable[..., Report]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
FOUND = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        FOUND is None, reason=f"no Chromium on this box ({', '.join(NAMES)} were looked for)"
    ),
]
# The pipe is file descriptors 3 and 4 of the browser.
_START = (
    "import fcntl, os, sys\n"
    "ends = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 20) for fd in sys.argv[1:3]]\n"
    "os.dup2(ends[0], 3); os.dup2(ends[1], 4)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
)
# What stands out of the window, unless it lies in a part that scrolls by itself.
_OVERFLOW = """(() => {
  const wide = [...document.querySelectorAll('body *')].filter(e => {
    if (e.closest('.scroll') && !e.matches('.scroll')) return false;
    const box = e.getBoundingClientRect();
    return box.width && (box.right > innerWidth + 0.5 || box.left < -0.5);
  }).map(e => `${e.tagName}.${e.getAttribute('class')}: ${e.textContent.slice(0, 40)}`);
  return {page: document.documentElement.scrollWidth, window: innerWidth, wide};
})()"""
_SCROLLED = """[...document.querySelectorAll('.scroll')]
  .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 60))"""

# Texts of a picture that leave it or lie on each other.
_APART = """(() => {
  const width = document.documentElement.viewBox.baseVal.width;
  const texts = [...document.querySelectorAll('text')].map(t => [t.textContent, t.getBBox()]);
  const out = texts.filter(([, b]) => b.x < 8 || b.x + b.width > width - 8);
  const hit = texts.filter(([, a], i) => texts.some(([, b], j) => i < j
    && a.x < b.x + b.width && b.x < a.x + a.width
    && a.y + 3 < b.y + b.height - 3 && b.y + 3 < a.y + a.height - 3));
  return [...out, ...hit].map(([text]) => text);
})()"""


@dataclass
class Browser:
    """The few commands of the Chrome DevTools Protocol that looking at a page takes.

    https://chromedevtools.github.io/devtools-protocol/
    """

    to_browser: int
    from_browser: int
    unread: bytearray = field(default_factory=bytearray)
    requested: list[str] = field(default_factory=list)
    session: str | None = None
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    events: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, answer
        return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.unread:
            more = os.read(self.from_browser, 1 << 20)
            assert more, "the browser ended"
            self.unread += more
        raw, _, self.unread = self.unread.partition(b"\0")
        return dict(json.loads(raw))

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Network.requestWillBeSent":
            self.requested.append(event["params"]["request"]["url"])
        self.events.append(event)

    def open(self, path: Path, width: int, scheme: str) -> None:
        """Show a file as a screen of this width does."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        colours = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=colours)
        self.requested.clear()
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self._note(self._next())

    def value(self, script: str) -> Any:
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get(
            "value"
        )

    def picture(self) -> bytes:
        """The whole page as PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        return base64.b64decode(data)

    def pdf(self) -> bytes:
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])


@contextlib.contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """A browser with a blank page; ended afterwards."""
    assert FOUND is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [sys.executable, "-c", _START, str(theirs_in), str(theirs_out), FOUND, *_FLAGS]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}"],
        pass_fds=(theirs_in, theirs_out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    browser = Browser(ours_out, ours_in)
    try:
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        browser.session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            browser.call(f"{domain}.enable")
        yield browser
    finally:
        process.terminate()
        process.wait(20)
        os.close(ours_out)
        os.close(ours_in)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile")) as found:
        yield found


def gamma(count: int, scale: float = 1.0, seed: int = 7) -> list[int]:
    random = np.random.default_rng(seed)
    return (scale * 5e6 * (1 + 0.05 * random.gamma(2, 1, count))).astype(int).tolist()


def one_of_each(make_report: MakeReport, scenario: str) -> Report:
    return make_report(
        gamma(3000), frames=3000, replicates=5, scenario=scenario, full=scenario != "offline"
    )


def matrix(make_report: MakeReport) -> Report:
    """Many models with long names, most of which measured few frames; INVALID."""
    parts = [
        make_report(gamma(300, 0.4 + number, number), frames=300, replicates=5, full=number < 3)
        for number in range(9)
    ]
    merged = merge(parts)
    labels = [f"yolov8n-640x640-{'x' * 3 * at}-int8_{at}" for at in range(9)]
    results = [replace(each, label=name) for each, name in zip(merged.results, labels, strict=True)]
    reasons = ("The processor slowed down for heat 3 time(s): cool it.", "long " * 40)
    validity = replace(merged.validity, reasons=reasons)
    return replace(merged, results=tuple(results), validity=validity)


def report_of(make_report: MakeReport, kind: str) -> Report:
    if kind == "matrix":
        return matrix(make_report)
    if kind == "pair":
        return make_report(gamma(2000), gamma(2000, 0.9, 8), frames=2000, replicates=5, full=True)
    return one_of_each(make_report, kind)


KINDS = ("single", "paced", "offline", "server", "pair", "matrix")


def decoded(png: bytes) -> np.ndarray[Any, Any]:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_fits_phone_and_desktop_in_light_and_dark_and_asks_nobody(
    make_report: MakeReport, browser: Browser, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "report.html"
    write_report(report_of(make_report, kind), path)
    brightness = {}
    for width, scheme in itertools.product((390, 1280), ("light", "dark")):
        browser.open(path, width, scheme)
        assert browser.requested == [path.as_uri()]
        found = browser.value(_OVERFLOW)
        assert found["wide"] == [] and found["page"] <= found["window"] == width
        if width == 1280:
            assert browser.value(_SCROLLED) == []
        picture = decoded(browser.picture())
        assert picture.shape[1] == width and picture.shape[0] > 1200
        assert len(np.unique(picture.astype(np.uint32) @ (1 << 16, 1 << 8, 1))) > 50
        brightness[scheme] = float(np.median(picture))
    assert brightness["light"] > 240 and brightness["dark"] < 40


@pytest.mark.parametrize("kind", ["pair", "matrix"])
def test_a_page_prints(
    make_report: MakeReport, browser: Browser, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "report.html"
    write_report(report_of(make_report, kind), path)
    browser.open(path, 1280, "dark")
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF") and len(pdf) > 20_000
    pages = pdf.count(b"/Type /Page\n") or pdf.count(b"/Type /Page")
    assert 2 <= pages <= 16


def test_a_page_that_would_stand_out_of_the_window_is_noticed(
    make_report: MakeReport, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    write_report(make_report(), path)
    text = path.read_text().replace("</main>", '<p style="width:2000px">wide</p></main>')
    path.write_text(text.replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>'))
    browser.open(path, 390, "light")
    assert browser.value(_OVERFLOW)["wide"]
    assert browser.requested != [path.as_uri()]


def test_a_hundred_thousand_frames_make_a_small_page_that_opens(
    make_report: MakeReport, browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.html"
    report = make_report(gamma(100_000), frames=100_000, replicates=5, scenario="paced", full=True)
    write_report(report, path)
    assert path.stat().st_size < 150_000
    browser.open(path, 1280, "light")
    times = browser.value(
        "(() => { const [page] = performance.getEntriesByType('navigation');"
        "const paint = performance.getEntriesByName('first-contentful-paint')[0];"
        "return [page.loadEventEnd, paint ? paint.startTime : null]; })()"
    )
    with capsys.disabled():
        print(f"\n100,000 frames: {path.stat().st_size} bytes, loaded after {times[0]:.0f} ms")
    assert times[0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_of_the_headline_holds_its_texts(
    make_report: MakeReport, browser: Browser, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "report.svg"
    write_report(report_of(make_report, kind), path)
    browser.open(path, 1280, "light")
    apart = browser.value(_APART)
    assert apart == []
    assert browser.requested == [path.as_uri()]
