"""Checks the page of `capture-pipeline serve`: what it refuses, that its figures are those of `stat`, and in a browser that nothing in a journal is run.

    page.py COMMAND DIRECTORY [BROWSER [SCREENSHOT]]     DIRECTORY: the journals that the examples `sample` (`journal`), `timelines` and `page` have written;
                                                         BROWSER: a Chromium, which is driven over its DevTools protocol

Licence: MIT OR Apache-2.0.
"""

import base64
import collections
import http.client
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

COMMAND, DIRECTORY = sys.argv[1:3]
BROWSER, SCREENSHOT = (sys.argv[3:] + [None, None])[:2]
DEADLINE = 120
passed = failed = 0


def check(what, good, shown=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
    print(f"{'ok    ' if good else 'FAILED'}  {what}{'' if good else ': ' + str(shown)[:3000]}")


class Server:
    """The command, with the address that it has printed."""

    def __init__(self, journal, *options):
        self.process = subprocess.Popen([COMMAND, "serve", os.path.join(DIRECTORY, journal), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        parts = urllib.parse.urlsplit(self.url)
        self.host, self.port, self.token = parts.netloc, parts.port, parts.query.removeprefix("token=")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()

    def ask(self, target, method="GET", token=True, **headers):
        """The status, the headers and the content of an answer."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        connection.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def figures(self):
        """The figures, when all is read."""
        return wait(lambda: (found := json.loads(self.ask("/figures")[2]))["done"] and found)


def wait(condition):
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError("the deadline has passed")
        time.sleep(0.05)
    return found


def run(*arguments):
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)


def refusals():
    with Server("markup") as server:
        check("it is on loopback, with a token of 128 bits", server.host.startswith("127.0.0.1:") and re.fullmatch("[0-9a-f]{32}", server.token), server.url)
        status, headers, _ = server.ask(f"/?token={server.token}", token=False)
        cookie = headers["Set-Cookie"]
        check("the token becomes a cookie that no script and no other page has", status == 303 and headers["Location"] == "/" and "HttpOnly" in cookie and "SameSite=Strict" in cookie, cookie)
        cookie = cookie.split(";")[0]
        for target in ["/", "/figures", "/events", "/timeline", "/nothing"]:
            check(f"{target} wants the token", server.ask(target, token=False)[0] == 401)
        wrong = server.token[:-1] + ("0" if server.token[-1] != "0" else "1")
        check("a wrong token", [server.ask(f"/?token={wrong}", token=False)[0], server.ask("/figures", token=False, Authorization=f"Bearer {wrong}")[0],
                                server.ask("/figures", token=False, Cookie=cookie[:-1] + "x")[0]] == [401, 401, 401])
        check("the cookie is enough", server.ask("/figures", token=False, Cookie=cookie)[0] == 200)
        check("not for another's page", server.ask("/figures", token=False, Cookie=cookie, Sec_Fetch_Site="cross-site")[0] == 401)
        check("another Host", server.ask("/figures", Host="evil.example")[0] == 403)
        check("another Origin", [server.ask("/figures", Origin=origin)[0] for origin in ["http://evil.example", "null", f"https://{server.host}"]] == [403] * 3)
        check("the page's own Origin", server.ask("/figures", Origin=f"http://{server.host}")[0] == 200)
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"]:
            status, headers, _ = server.ask("/figures", method=method)
            check(f"{method} is refused", status == 405 and headers["Allow"] == "GET", status)
        for target in ["/../etc/passwd", "//etc/passwd", "/page.html", "/%2e%2e/etc/passwd", "/timeline/x"]:
            check(f"no path: {target}", server.ask(target)[0] == 404)
        for target in ["/events?path=/etc", "/events?limit=0", "/events?limit=1001", "/events?where=%ff", "/events?where=nothing%3D1", "/events?where=((", "/timeline?from=yesterday"]:
            status, _, content = server.ask(target)
            check(f"{target} says what is wrong", status == 400 and len(content) > 10, (status, content))
        status, headers, _ = server.ask("/")
        policy = headers["Content-Security-Policy"]
        check("the page has a policy and a type", status == 200 and "default-src 'none'" in policy and "unsafe" not in policy and headers["X-Content-Type-Options"] == "nosniff", headers)
        check("the policy's number is another one each time", policy != server.ask("/")[1]["Content-Security-Policy"])
        check("every answer has a type that is not guessed", all(server.ask(target)[1]["X-Content-Type-Options"] == "nosniff" for target in ["/figures", "/events", "/timeline", "/x"]))
        done = run("serve", os.path.join(DIRECTORY, "markup"), "--listen", str(server.port))
        check("a port that is taken is named", done.returncode == 2 and f"127.0.0.1:{server.port}" in done.stderr and "another port" in done.stderr, done.stderr)
    done = run("serve", os.path.join(DIRECTORY, "no-journal"))
    check("a journal that is not there is named", done.returncode == 2 and "no-journal" in done.stderr, done.stderr)


def compare(journal):
    """The figures with those that `stat` prints, and the events with those of `cat`."""
    with Server(journal) as server:
        figures = server.figures()
        content = json.loads(server.ask("/events?limit=1000")[2])
        timeline = server.ask("/timeline")
    stat = run("stat", os.path.join(DIRECTORY, journal)).stdout
    events = re.search(r"^Events: ([\d,]+)", stat, re.M).group(1).replace(",", "")
    check(f"{journal}: {events} events", str(figures["events"]) == str(figures["read_events"]) == events, figures)
    kinds = re.search(r"^  KIND .*\n((?:  .*\n)*)", stat, re.M).group(1)
    theirs = sorted(tuple(int(n.replace(",", "")) for n in re.search(r" (\d+) +([\d,]+) +[\d.]+ %", line).groups()) for line in kinds.splitlines())
    ours = sorted((kind["number"], kind["events"]) for kind in figures["kinds"])
    check(f"{journal}: {len(ours)} kinds", ours == theirs, (ours, theirs))
    check(f"{journal}: every event is in a part of the time", sum(figures["rates"]) == int(events))
    lost = re.search(r"^Losses\n((?:  .*\n)*)", stat, re.M)
    lines = [line.strip() for line in lost.group(1).splitlines() if line.startswith("  run ")] if lost else []
    check(f"{journal}: losses", figures["losses"] == lines, (figures["losses"], lines))
    missing = [int(n.replace(",", "")) for n in re.findall(r"^    [0-9a-f]{16} +\S+ .* ([\d,]+) +[\d,]+ +[\d,]+$", stat, re.M)]
    check(f"{journal}: rings with gaps", [ring["missing"] for ring in figures["rings"]] == missing, (figures["rings"], missing))
    offered = [int(n.replace(",", "")) for n in re.findall(r"ledger +([\d,]+) offered", stat)]
    check(f"{journal}: ledgers", [run["ledger"]["offered"] for run in figures["runs"] if run["ledger"]] == offered, offered)
    lines = run("cat", os.path.join(DIRECTORY, journal), "--json", "--strings", "-n", "1000").stdout.splitlines()
    check(f"{journal}: {len(lines)} events of the table", content["events"] == [json.loads(line) for line in lines] and content["ended"] == ("limit" if int(events) > 1000 else "all"))
    exported = os.path.join(DIRECTORY, f"{journal}-page.pftrace")
    run("export", "--force", os.path.join(DIRECTORY, journal), exported)
    with open(exported, "rb") as file:
        check(f"{journal}: the file for Perfetto is the one that export writes", timeline[0] == 200 and timeline[2] == file.read() and "attachment" in timeline[1]["Content-Disposition"])
    return figures


def durations():
    rows = {row["kind"]: row for row in compare("markup")["latencies"]}
    job, call = rows["<i>job</i>"], rows["call"]
    near = lambda found, ms: ms * 1e6 <= found <= ms * 1e6 * 1.032
    check("durations of a complete kind", job["count"] == 1000 and near(job["p50"], 500) and near(job["p90"], 900) and near(job["p99"], 990) and job["longest"] == 10**9, job)
    check("durations of pairs", call["count"] == 200 and call["longest"] == call["p50"] == 5 * 10**6, call)


# The roles of the kinds of the example `timelines`: of an end the kind that begins, and of both the key.
ENDS = {"call_return": ("call", None), "answer": ("request", "id"), "unlock": ("lock", None)}


def pairs(journal):
    """The durations of a journal from which nothing is missing, by plain rules: an end belongs to the begin of its thread, kind and key that came last."""
    opened, lasted = collections.defaultdict(list), collections.defaultdict(list)
    for line in run("cat", os.path.join(DIRECTORY, journal), "--json").stdout.splitlines():
        event = json.loads(line)
        name, fields = event.get("kind_name"), event.get("fields", {})
        begin, key = ENDS.get(name, (name, None))
        place = (event["generation"], event.get("tid", ("ring", event["ring_id"])), begin, fields.get("id"))
        if name in ("call", "request", "lock"):
            opened[place].append(event["time_ns"])
        elif name in ENDS and opened[place]:
            lasted[begin].append(event["time_ns"] - opened[place].pop())
        elif name == "job":
            lasted[name].append(fields["took"])
    with Server(journal) as server:
        figures = server.figures()
    ours = {row["kind"]: (row["count"], int(row["longest"])) for row in figures["latencies"]}
    theirs = {kind: (len(all_of), max(all_of)) for kind, all_of in lasted.items()}
    check(f"{journal}: durations of {sum(count for count, _ in theirs.values())} slices", ours == theirs, (ours, theirs))
    halves = {kind: sorted(all_of)[(len(all_of) - 1) // 2] for kind, all_of in lasted.items()}
    near = all(halves[row["kind"]] <= row["p50"] <= halves[row["kind"]] * 1.032 for row in figures["latencies"])
    check(f"{journal}: half of them are not longer", near, (halves, figures["latencies"]))


def crowd():
    """Connections that ask nothing take places for some seconds only, and no more than there are."""
    with Server("markup") as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
        idle[0].sendall(b"GET /figures HTTP/1.1\r\nHost: loc")
        for connection in idle:
            connection.close()

        def is_answered():
            try:
                return server.ask("/figures")[0] == 200
            except (ConnectionError, http.client.HTTPException):
                return False
        check("it answers after a crowd that asked nothing", wait(is_answered))
        # The rest of a download is not taken: others are answered meanwhile.
        with socket.create_connection(("127.0.0.1", server.port)) as download:
            download.sendall(f"GET /timeline HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode())
            check("it answers beside a download", server.ask("/figures")[0] == 200 and download.recv(12) == b"HTTP/1.1 200")


def searches():
    with Server("markup") as server:
        search = lambda **asked: json.loads(server.ask("/events?" + urllib.parse.urlencode(asked))[2])
        found = search(where="kind = 1 and number > 990 and correlation_id != 0")
        check("a search by an expression", [event["fields"]["number"] for event in found["events"]] == [n for n in range(991, 1001) if n % 7], found)
        found = search(limit=3, kind="call")
        check("a search by a kind, cut", len(found["events"]) == 3 and found["ended"] == "limit", found)
        found = search(**{"from": "+1499ms", "until": "+1502ms"})
        check("a search by a time", sorted(event["kind"] for event in found["events"]) == [2, 4, 9], found)
        whole, part = server.ask("/timeline")[2], server.ask("/timeline?from=%2B1s&until=%2B1.2s")[2]
        check("a part of the time is a part of the timeline", 0 < len(part) < len(whole), (len(part), len(whole)))


def pages():
    """The pages of a table, one behind the other, have every event once, also where the wall clock was set back."""
    for journal, asked, options in [("mixed", {}, []), ("mixed", {"kind": "job", "from": "+1ms", "until": "-1ms"}, ["-k", "job", "--from", "+1ms", "--until", "-1ms"]),
                                    ("boots", {}, []), ("gaps", {}, [])]:
        with Server(journal) as server:
            search = lambda **more: json.loads(server.ask("/events?" + urllib.parse.urlencode({**asked, **more}))[2])
            lines = [json.loads(line) for line in run("cat", os.path.join(DIRECTORY, journal), "--json", "--strings", *options).stdout.splitlines()]
            limit, found, after = max(2, len(lines) // 7), [], {}
            while True:
                page = search(limit=limit, **after)
                found += page["events"]
                if not page["next"]:
                    break
                after = {"after": page["next"]}
            check(f"{journal} {asked}: {len(lines)} events in pages of {limit}", found == lines and page["ended"] == "all", (len(found), len(lines)))
            latest = search(limit=limit, latest=1)
            check(f"{journal} {asked}: the latest {limit}", latest["events"] == lines[-limit:], (latest["events"][:1], lines[-limit:][:1]))
    with Server("markup") as server:
        for wrong in ["x", "1-2-3", "1-2-3-4-5-6-7", "0-ffffffffffffffff-1-2-3-4"]:
            status, _, why = server.ask(f"/events?after={wrong}")
            check(f"a page behind {wrong}", status == 400 and b"after: " in why, why)
    with Server("many") as server:
        figures = server.figures()
        check("the last runs of many are listed", figures["runs_count"] == 150 and [int(row["run"], 16) for row in figures["runs"]] == list(range(51, 151)), len(figures["runs"]))


class Writer:
    """The example `growing`, which captures as it is told."""

    def __init__(self):
        self.process = subprocess.Popen([os.path.join(os.path.dirname(COMMAND), "examples", "growing"), DIRECTORY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def write(self, what):
        """Returns how many events are stored then."""
        print(what, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        check("the writer ends well", self.process.wait(DEADLINE) == 0)


def follows(browser):
    """What is written while the page is open comes into its figures, and into the table where that shows the end."""
    shutil.rmtree(os.path.join(DIRECTORY, "growing"), ignore_errors=True)
    writer = Writer()
    writer.write(150)
    with Server("growing") as server:
        shown = lambda name: browser.value(f"document.getElementById('{name}').textContent")
        rows = lambda name: browser.value(f"[...document.querySelectorAll('#{name} tr')].slice(1).map(row => [...row.cells].map(cell => cell.textContent))") or []
        ids = lambda: [int(row[4]) for row in rows("table")]
        click = lambda name: browser.value(f"document.getElementById('{name}').click()")
        browser.open(server.url)
        check("it follows a journal whose writer lives", wait(lambda: shown("state") == "follows what is written") and shown("events") == "150")
        check("the first page", wait(lambda: ids() == list(range(1, 101))) and browser.value("document.getElementById('previous-page').disabled"))
        click("next-page")
        check("the next page", wait(lambda: ids() == list(range(101, 151))))
        writer.write(30)
        check("new events come into the last page", wait(lambda: ids() == list(range(101, 181))), ids())
        check("and into the figures", wait(lambda: shown("events") == "180" and rows("kinds")[0][:3] == ["request", "1", "180"] and rows("latencies")[0][:2] == ["request", "180"]), rows("kinds"))
        click("latest")
        check("the latest events", wait(lambda: ids() == list(range(81, 181))))
        writer.write("late 3")
        check("a kind that is defined later has its name and its durations", wait(lambda: ids()[-1] == 183 and rows("table")[-1][2] == "late" and ["late", "3", "5.0 ms"] in [row[:3] for row in rows("latencies")]), rows("latencies"))
        click("first-page")
        check("the first page again", wait(lambda: ids() == list(range(1, 101))))
        writer.write(7)
        check("the first page stays while others come", wait(lambda: shown("events") == "190") and ids() == list(range(1, 101)))
        click("next-page")
        wait(lambda: ids() == list(range(101, 191)))
        click("previous-page")
        check("the page before", wait(lambda: ids() == list(range(1, 101))))
        check("every event is in a part of the time", sum(server.figures()["rates"]) == 190)
        writer.close()
        check("the writer has ended", wait(lambda: shown("state") == "all is read") and server.figures()["read_events"] == 190)
        other = Writer()
        other.write(11)
        check("another run is found", wait(lambda: shown("runs-count") == "2" and shown("events") == "201" and shown("state") == "follows what is written"))
        other.close()
        check("both are read", wait(lambda: shown("state") == "all is read") and server.figures()["read_events"] == 201)
        errors = [event for event in browser.events if event["method"] == "Runtime.exceptionThrown"]
        check("its script has no errors while it follows", not errors, errors)


class Browser:
    """A Chromium without a window. Messages go through its third and fourth file, each with a NUL behind it."""

    def __init__(self, folder):
        (ours_in, theirs_out), (theirs_in, ours_out) = os.pipe(), os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe",
                   f"--user-data-dir={folder}", "--window-size=1240,1180", "about:blank"]
        script = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(["bash", "-c", script, BROWSER, *options], pass_fds=[theirs_in, theirs_out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.input, self.output, self.buffer, self.number, self.session, self.events = ours_in, ours_out, b"", 0, None, []

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
            self.events.append(answer)

    def open(self, url):
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)["result"].get("value")

    def close(self):
        self.session = None
        try:
            self.call("Browser.close")
            self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()


def seen(browser):
    """What the page of the journal `markup` shows."""
    with Server("markup") as server:
        browser.open(server.url)
        wait(lambda: browser.value("document.getElementById('state')?.textContent") == "all is read")
        check("the address has no token any more", browser.value("location.href") == f"http://{server.host}/", browser.value("location.href"))
        cells = lambda name: browser.value(f"[...document.querySelectorAll('#{name} tr')].slice(1).map(row => [...row.cells].map(cell => cell.textContent))")
        figures = server.figures()
        check("kinds are shown", [[row[0], row[2].replace(",", "")] for row in cells("kinds")] == [[kind["name"], str(kind["events"])] for kind in figures["kinds"]], cells("kinds"))
        check("all events are counted", browser.value("document.getElementById('events').textContent") == "1,402")
        check("durations are shown", [row[:2] for row in cells("latencies")] == [[row["kind"], f"{row['count']:,}"] for row in figures["latencies"]], cells("latencies"))
        check("losses are shown", "50 events dropped_full" in browser.value("document.getElementById('losses').textContent"))
        check("a bar for each part of the time", browser.value("document.querySelectorAll('#rates .bar').length") == sum(1 for count in figures["rates"] if count))
        browser.value("document.getElementById('where').value = 'kind = 4 or kind = 9'; document.querySelector('#search button').click()")
        wait(lambda: browser.value("document.getElementById('found').textContent") == "2 events")
        rows = cells("table")
        check("markup in a payload, a kind and a thread is text", "<script>document.title" in rows[0][3] and rows[1][2].startswith("<script>") and rows[0][1].startswith("<script>"), rows)
        check("it has made no element", browser.value("document.querySelectorAll('td *, td script, img, i, #losses b').length") == 0)
        check("it has not run", browser.value("document.title") == "capture-pipeline")
        # Also if the page put it into itself as markup, the policy would not let it run.
        browser.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title = 1\">'); const s = document.createElement('script'); s.textContent = 'document.title = 2'; document.body.append(s)")
        wait(lambda: any("Content Security Policy" in json.dumps(event) for event in browser.events) or browser.value("1") is None)
        check("the policy lets no such script run", browser.value("document.title") == "capture-pipeline", browser.value("document.title"))
        link = browser.value("document.getElementById('timeline').href")
        check("the link is of what is searched for", link.endswith("/timeline?where=kind+%3D+4+or+kind+%3D+9"), link)
        length = browser.value("fetch(document.getElementById('timeline').href).then(answer => answer.arrayBuffer()).then(all => all.byteLength)")
        check("the link gives a file", length and length > 100, length)
        browser.value("document.getElementById('where').value = 'nothing = 1'; document.querySelector('#search button').click()")
        wait(lambda: "no field nothing" in browser.value("document.getElementById('found').textContent"))
        check("a wrong expression is explained", True)
        box = browser.value("(b => [b.left, b.top, b.width])(document.getElementById('rates').getBoundingClientRect())")
        for kind, part in [("mousePressed", 0.25), ("mouseMoved", 0.5), ("mouseReleased", 0.5)]:
            browser.value("document.getElementById('where').value = ''")
            browser.call("Input.dispatchMouseEvent", type=kind, x=box[0] + part * box[2], y=box[1] + 40, button="left", buttons=1, clickCount=1)
        start = browser.value("document.getElementById('from').value")
        check("a time is chosen with the mouse", re.fullmatch(r"\+\d+ns", start or "") and "from=" in browser.value("document.getElementById('timeline').href"), start)
        outside = [event for event in browser.events if event["method"] == "Network.requestWillBeSent" and not event["params"]["request"]["url"].startswith((f"http://{server.host}/", "about:"))]
        check("it asks nobody else", not outside, outside)
        errors = [event for event in browser.events if event["method"] == "Runtime.exceptionThrown"]
        check("its script has no errors", not errors, errors)


def photograph(browser):
    with Server("service") as server:
        browser.open(server.url)
        browser.call("Emulation.setDeviceMetricsOverride", width=1000, height=960, deviceScaleFactor=1, mobile=False)
        wait(lambda: browser.value("document.getElementById('state')?.textContent") == "all is read")
        browser.value("document.getElementById('where').value = 'took > 600 ms and method = \"PUT\"'; document.querySelector('#search button').click()")
        wait(lambda: "narrow" in browser.value("document.getElementById('found').textContent"))
        browser.value("[...document.querySelectorAll('#table tr')].slice(7).forEach(row => row.remove())")
        with open(SCREENSHOT, "wb") as file:
            file.write(base64.b64decode(browser.call("Page.captureScreenshot")["data"]))


refusals()
for name in ["journal", "mixed", "gaps"]:
    compare(name)
durations()
for name in ["mixed", "crossed"]:
    pairs(name)
searches()
pages()
crowd()
if BROWSER:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        chromium = Browser(profile)
        try:
            seen(chromium)
            follows(chromium)
            if SCREENSHOT:
                photograph(chromium)
        finally:
            chromium.close()
else:
    print("cli: skipped: Chromium is not there; the page is not seen")
print(f"page: {passed} passed, {failed} failed")
sys.exit(failed != 0)
