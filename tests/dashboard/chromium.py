"""A headless Chromium, driven over the DevTools protocol."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import websocket

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-sandbox",  # tests may run as root in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
]
KEYS = {"Escape": 27, "Enter": 13, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "End": 35, "Home": 36}


class Failed(Exception):
    """The browser refused a command, or a script threw."""


class Tab:
    """One page; events that came meanwhile are in ``events``."""

    def __init__(self, address):
        self._socket = websocket.create_connection(address, timeout=20, suppress_origin=True)
        self._last = 0
        self.events = []
        for domain in ("Page", "Runtime", "Log", "Network", "Performance"):
            self.send(f"{domain}.enable")

    def close(self):
        self._socket.close()

    def send(self, method, **params):
        """The result of a command."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._last:
                if "error" in message:
                    raise Failed(f"{method}: {message['error']['message']}")
                return message["result"]
            self.events.append(message)

    def open(self, url):
        self.send("Page.navigate", url=url)

    def run(self, script):
        """The value of an expression in the page, awaited if it is a promise."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"]
            raise Failed(thrown.get("exception", {}).get("description", thrown["text"]))
        return answer["result"].get("value")

    def until(self, script, seconds=15):
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while True:
            try:
                if self.run(f"Boolean({script})"):
                    return
            except Failed as error:
                if "context" not in str(error):  # the page is just being left
                    raise
            if time.monotonic() > end:
                raise AssertionError(f"never true: {script}\n{self.run('document.body.innerText')[:1500]}")
            time.sleep(0.05)

    def key(self, name):
        """Presses and lets go of a key."""
        typed = {"text": name} if len(name) == 1 else {"text": "\r"} if name == "Enter" else {}
        code = KEYS.get(name, 0)
        self.send("Input.dispatchKeyEvent", type="keyDown", key=name, windowsVirtualKeyCode=code, **typed)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=code)

    def type(self, words):
        self.send("Input.insertText", text=words)

    def size(self, width, height, phone=False):
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )

    def prefer(self, **features):
        """``prefer(color_scheme="dark")``: what media queries answer."""
        wanted = [{"name": f"prefers-{k.replace('_', '-')}", "value": v} for k, v in features.items()]
        self.send("Emulation.setEmulatedMedia", features=wanted)

    def before(self, script):
        """Runs a script in every page before its own."""
        self.send("Page.addScriptToEvaluateOnNewDocument", source=script)

    def picture(self, file):
        """Writes a PNG of what is to be seen; answers its bytes."""
        png = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        Path(file).write_bytes(png)
        return png

    def metrics(self):
        return {one["name"]: one["value"] for one in self.send("Performance.getMetrics")["metrics"]}

    def named(self, method):
        """The parameters of all events of a name until now."""
        return [event["params"] for event in self.events if event.get("method") == method]


class Browser:
    def __init__(self, address):
        self._socket = websocket.create_connection(address, timeout=20, suppress_origin=True)
        self._root = address.split("/devtools/")[0]
        self._last = 0

    def close(self):
        self._socket.close()

    def _send(self, method, **params):
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while (message := json.loads(self._socket.recv())).get("id") != self._last:
            pass
        return message["result"]

    @contextmanager
    def tab(self, width=1440, height=900):
        """An empty page with storage of its own."""
        context = self._send("Target.createBrowserContext")["browserContextId"]
        target = self._send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        tab = Tab(f"{self._root}/devtools/page/{target}")
        tab.size(width, height)
        try:
            yield tab
        finally:
            tab.close()
            self._send("Target.disposeBrowserContext", browserContextId=context)


def _address(process, folder):
    end = time.monotonic() + 20
    file = Path(folder) / "DevToolsActivePort"
    while time.monotonic() < end and process.poll() is None:
        if file.exists() and len(lines := file.read_text().splitlines()) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise AssertionError("Chromium did not start")


@contextmanager
def chromium():
    """A browser with a profile of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [PROGRAM, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            browser = Browser(_address(process, folder))
            yield browser
            browser.close()
        finally:
            process.terminate()
            process.wait(10)
