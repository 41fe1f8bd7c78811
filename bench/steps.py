"""Commands with limits of time, alone or side by side; how each ended is kept in a file, so that a later call goes on."""
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import errors
from limits import Clock

# After SIGTERM, and after SIGKILL: what hangs in the driver cannot be killed, and is left behind.
TERM, KILL = 3.0, 5.0
POLL = 0.1
# Seconds below which nothing begins.
LEAST = 0.5
# Ended by themselves, rightly or wrongly: not done again.
WELL = ("ok", "stopped")
ENDED = (*WELL, "FAILED")
RESULTS = ("test result:", " step  ", " test error  ", "test error  ")


@dataclass
class Step:
    """A command, where its output goes, and what it needs in its environment."""
    name: str
    command: list
    environment: dict = field(default_factory=dict)
    # How a status that is no failure is recorded.
    statuses: dict = field(default_factory=dict)
    # What asks it to end: some save first.
    ask: int = signal.SIGTERM


def say(text):
    print(text, flush=True)


def note(log, failed):
    """The line of a log that says how it went."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    lines = [l for l in text.splitlines() if l.strip()]
    results = [l for l in lines if l.startswith(RESULTS)]
    broken = [l.split()[1] for l in lines if l.startswith("test ") and l.endswith(" ... FAILED")]
    if failed:
        found = f"{', '.join(broken)}: " if broken else ""
        return " ".join((found + errors.first_line(text)).split())[:200]
    return " ".join((results or lines or [""])[-1].split())[:160]


class Running:
    """One process, with all that it starts."""

    def __init__(self, step, log):
        self.step, self.log = step, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w") as out:
            # A file of its own: whoever hangs holds no pipe that somebody reads to its end.
            self.process = subprocess.Popen(
                list(map(str, step.command)), stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=os.environ | step.environment, start_new_session=True)
        self.begin = time.monotonic()
        self.shown = 0

    def seconds(self):
        return time.monotonic() - self.begin

    def status(self):
        return self.process.poll()

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def follow(self):
        """Shows what was written since."""
        with open(self.log, errors="replace") as file:
            file.seek(self.shown)
            text = file.read()
            self.shown = file.tell()
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()

    def outcome(self, stopped):
        status = self.status()
        if status is None:
            return "HANGS"
        if status == 0:
            return "ok"
        if status in self.step.statuses:
            return self.step.statuses[status]
        return "TIMED OUT" if stopped else f"FAILED {status}"


def stop(running):
    """Ends processes: asked first, then not."""
    for number, grace in ((None, TERM), (signal.SIGKILL, KILL)):
        for r in running:
            r.signal(number or r.step.ask)
        end = time.monotonic() + grace
        while any(r.status() is None for r in running) and time.monotonic() < end:
            time.sleep(POLL)
    for r in running:
        # Whoever is left of its group.
        r.signal(signal.SIGKILL)


class Record:
    """How steps ended, in a file that is whole at any moment."""

    def __init__(self, folder, about, on_change=lambda: None):
        self.path, self.on_change = Path(folder) / "state.json", on_change
        self.data = {"about": about, "calls": [], "steps": {}}
        if self.path.exists():
            self.data = json.loads(self.path.read_text())
            # A call that was cut off left it so.
            for found in self.data["steps"].values():
                if found["outcome"] == "running":
                    found["outcome"] = "INTERRUPTED"

    @property
    def steps(self):
        return self.data["steps"]

    def ended(self, name):
        return name in self.steps and self.steps[name]["outcome"].split()[0] in ENDED

    def failed(self):
        return [n for n, s in self.steps.items() if s["outcome"].split()[0] in ("FAILED", "TIMED", "HANGS", "MISSING")]

    def keep(self, name, outcome, seconds=0.0, text="", log=None):
        # Its place is that of its last try.
        self.steps.pop(name, None)
        self.steps[name] = {"outcome": outcome, "seconds": round(seconds, 1), "note": text,
                            "log": log and log.relative_to(self.path.parent).as_posix(), "call": len(self.data["calls"])}
        if outcome != "running":
            say(f"== {line(name, self.steps[name])}")
        self.save()

    def save(self):
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.data, indent=1) + "\n")
        new.replace(self.path)
        self.on_change()


def line(name, found):
    return f"{found['outcome']:<12} {found['seconds']:>6.0f}  {name:<34} {found['note']}".rstrip()


class Runner:
    """Runs steps that have not ended in an earlier call."""

    def __init__(self, out, record):
        self.out, self.record, self.now = Path(out), record, []

    def pending(self, steps):
        return [s for s in steps if not self.record.ended(s.name)]

    def alone(self, step, seconds):
        """One step, whose output is shown; true if it ended well, now or before."""
        return self.run([step], seconds, 1, follow=True)

    def run(self, steps, seconds, jobs, follow=False):
        """At most `jobs` at a time, all together within `seconds`; true if all ended well, now or before."""
        waiting, clock = self.pending(steps), Clock(seconds)
        self.now = []
        while waiting or self.now:
            while waiting and len(self.now) < jobs and clock.left() > LEAST:
                self.start(waiting.pop(0), follow, clock)
            for r in [r for r in self.now if r.status() is not None]:
                self.end(r, False, follow)
            if clock.left() <= 0 or not self.now and waiting and clock.left() <= LEAST:
                stopped = list(self.now)
                stop(stopped)
                for r in stopped:
                    self.end(r, True, follow)
                for s in waiting:
                    self.record.keep(s.name, "left out", text="no time left")
                break
            time.sleep(POLL if self.now else 0)
            if follow and self.now:
                self.now[0].follow()
        return all(self.record.steps.get(s.name, {}).get("outcome") == "ok" for s in steps)

    def start(self, step, follow, clock):
        log = self.out / "logs" / f"{step.name.replace('/', '-')}.log"
        if follow:
            words = [*(f"{k}={v}" for k, v in step.environment.items()), *map(str, step.command)]
            say(f"== {step.name}, at most {clock.left():.0f} s: {' '.join(words)}"[:400])
        self.record.keep(step.name, "running", log=log)
        try:
            self.now.append(Running(step, log))
        except OSError as e:
            self.record.keep(step.name, "FAILED -", text=f"{step.command[0]}: {e.strerror}", log=log)

    def end(self, r, stopped, follow):
        self.now.remove(r)
        if follow:
            r.follow()
        outcome = r.outcome(stopped)
        # What it started may outlive it.
        r.signal(signal.SIGKILL)
        self.record.keep(r.step.name, outcome, r.seconds(), note(r.log, outcome.split()[0] not in (*WELL, "partly")), r.log)

    def interrupt(self):
        stop(self.now)
        for r in list(self.now):
            self.now.remove(r)
            self.record.keep(r.step.name, "INTERRUPTED", r.seconds(), log=r.log)
