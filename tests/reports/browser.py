# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium that a test reads, clicks and types in; it reaches no network.

It is spoken to by the DevTools protocol over a pair of pipes, which needs no package and no port.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

PATIENCE = 120.0
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-dev-shm-usage", "--disable-background-networking", "--remote-debugging-pipe"),
)
KEYS = {
    "Enter": 13,
    "Escape": 27,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}
SHIFT = 8
#: It reads what it is told from 3 and answers to 4.
START = """
import os, sys
for pipe, place in zip([os.dup(int(number)) for number in sys.argv[1:3]], (3, 4)):
    os.dup2(pipe, place)
    os.set_inheritable(place, True)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page of a browser.

    requests  addresses that the page asked for, but for what lies within it
    errors    what the console and the engine complained of
    """

    def __init__(self, to: int, back: int, folder: Path) -> None:
        self._to, self._back, self._rest, self._number, self._session = to, back, b"", 0, ""
        self.folder, self.requests, self.errors = folder, list[str](), list[str]()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer of the browser; raises RuntimeError for its complaint."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            self._note(answer.get("method", ""), answer.get("params", {}))

    def open(self, address: str) -> None:
        """Load a page and wait until it says that it is drawn."""
        self.call("Page.navigate", url=address)
        self.wait("document.documentElement?.dataset.ready")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; raises RuntimeError for what it throws."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:800])
        return found["result"].get("value")

    def wait(self, script: str) -> Any:
        """The value of an expression once it is true of the page."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if value := self.run(script):
                return value
            time.sleep(0.05)
        raise TimeoutError(script)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        x, y = self.middle(selector)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def middle(self, selector: str) -> tuple[float, float]:
        """Where an element is, scrolled into view."""
        found = self.run(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            "one.scrollIntoView({ block: 'center' }); const box = one.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return found[0], found[1]

    def mouse(self, what: str, x: float, y: float) -> None:
        """Move, press or release."""
        button = {} if what == "mouseMoved" else {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=what, x=x, y=y, **button)

    def drag(self, x: float, y: float) -> None:
        """Move with the button held."""
        about = {"button": "left", "buttons": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **about)

    def press(self, key: str, times: int = 1, *, shift: bool = False) -> None:
        """Press a key."""
        code = KEYS.get(key, 0)
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        for what in ("keyDown", "keyUp") * times:
            self.call("Input.dispatchKeyEvent", type=what, modifiers=SHIFT * shift, **about)

    def type(self, selector: str, text: str) -> None:
        """Write text into a field instead of what is there."""
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def choose(self, selector: str, value: str) -> None:
        """Choose an entry of a list."""
        self.run(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            f"one.value = {json.dumps(value)}; one.dispatchEvent(new Event('input')); }})()"
        )

    def downloaded(self, name: str) -> bytes:
        """What was saved under that name, once it is whole."""
        path, until = self.folder / name, time.monotonic() + PATIENCE
        while not path.is_file() and time.monotonic() < until:
            time.sleep(0.05)
        return path.read_bytes()

    def show(self, path: Path, width: int, height: int = 900, scheme: str = "light") -> Path:
        """A picture of the whole page at that width."""
        self.size(width, height, scheme)
        area = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": width, "height": area["height"], "scale": 1}
        found = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def size(self, width: int, height: int = 900, scheme: str = "light") -> None:
        """Make the window that wide and high, and the reader one who likes it light or dark."""
        how = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **how)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        time.sleep(0.6)  # the page draws again shortly after its window has changed

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._back], [], [], PATIENCE)[0]:
                raise TimeoutError("the browser does not answer")
            read = os.read(self._back, 2**20)
            if not read:
                raise RuntimeError("the browser has ended")
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def _note(self, method: str, said: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            address = said["request"]["url"]
            if not address.startswith(("data:", "blob:", "about:")):
                self.requests.append(address)
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(said["exceptionDetails"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in {"error", "warning"}:
            self.errors.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in {"error", "warning"}:
            self.errors.append(json.dumps(said["args"]))

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Self]:
        """A browser that keeps everything in `folder`; a test without Chromium is skipped."""
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            pytest.skip("needs Chromium: make install, or apt-get install chromium")
        to_read, to_write = os.pipe()
        back_read, back_write = os.pipe()
        words = [program, *FLAGS, f"--user-data-dir={folder / 'profile'}"]
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(to_read), str(back_write), *words],
            pass_fds=(to_read, back_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(back_write)
        try:
            yield cls(to_write, back_read, folder)
        finally:
            process.terminate()
            process.wait(30)
            os.close(to_write)
            os.close(back_read)
