"""The two sides of a comparison on a GPU, as processes: `mlaan bench`, and PyTorch's worker.py."""
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import errors
from networks import Configuration
from nvml import Watch

WORKER = Path(__file__).with_name("worker.py")
# Our precision beside each of PyTorch's.
OURS = {"bf16": "bf16", "tf32": "f32", "f32": "f32"}


# Seconds after which what does not answer counts as broken, and not as late.
PATIENCE = 60


class Failed(Exception):
    """One side could not run; the table goes on without it. `late`: for want of time alone."""

    def __init__(self, text, late=False):
        super().__init__(text)
        self.late = late


def say(text):
    print(text, file=sys.stderr, flush=True)


def with_kernels(kernels):
    """The environment that chooses a set of kernels; without a name the program's own choice."""
    return os.environ | ({"MLAAN_CUDA_KERNELS": kernels} if kernels else {})


def mlaan(c, precision, batch, a, clock, nvml, kernels, *more):
    """One run of `mlaan bench`, with the GPU's memory as the system sees it."""
    command = [a.mlaan, "bench", *c.arguments, "--batch", str(batch), "--precision", OURS[precision], "--threads",
               str(a.threads), "--rounds", "1", "--steps", str(a.steps), "--json", *more]
    if a.device != "cpu":
        command += ["--device", a.device]
    who = f"mlaan, {kernels} kernels" if kernels else "mlaan"
    with Watch(nvml) as watch:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=with_kernels(kernels))
        watch.pid, limit = process.pid, max(1, clock.left())
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failed(f"{who}: did not end within {limit:.0f} s", late=limit < PATIENCE) from None
    if process.returncode:
        raise Failed(f"{who}: {errors.first_line(err) or f'status {process.returncode}'}")
    try:
        found = json.loads(out)
    except ValueError:
        raise Failed(f"{who}: printed no JSON: {out[:200]}") from None
    # Older programs do not say, and a processor has one set.
    if kernels and found.get("kernels", kernels) != kernels:
        raise Failed(f"{who}: the program says that its {found['kernels']} kernels ran")
    return found | {"grown": watch.grown, "process": watch.process}


class Worker:
    """A process that keeps PyTorch and one form of one network, and is given up when it does not answer."""

    def __init__(self, recipe, precision, form, batch, a, logs, way=None):
        self.form, self.way, self.ready = form, way, False
        self.who = f"PyTorch, {form}" + (f" ({way})" if way else "")
        self.log = logs / f"{recipe}-{precision}-{form}{'-' + way.replace(' ', '-') if way else ''}.log"
        command = [sys.executable, WORKER, recipe, str(batch), str(a.threads), precision, a.device]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def end(self):
        self.process.kill()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            # Stuck in the driver; the rest goes on without it.
            say(f"  {self.who}: process {self.process.pid} does not end")

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def answer(self, clock):
        limit = max(1, clock.left())
        try:
            line = self.lines.get(timeout=limit)
        except queue.Empty:
            self.process.kill()
            raise Failed(f"{self.who}: did not answer within {limit:.0f} s", late=limit < PATIENCE) from None
        if line is None:
            status = self.process.wait()
            raise Failed(f"{self.who}: status {status}: {errors.first_line(self.log.read_text(errors='replace'))}")
        found = json.loads(line)
        if "error" in found:
            raise Failed(f"{self.who}: {found['error']}")
        return found

    def load(self, clock):
        """Until PyTorch is loaded; it does not touch the GPU yet."""
        if not self.ready:
            self.answer(clock)
            self.ready = True

    def turn(self, steps, warm, clock):
        wanted = {"form": self.form, "steps": steps, "warm": warm} | ({"way": self.way} if self.way else {})
        try:
            print(json.dumps(wanted), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass
        return self.answer(clock)


class Workers:
    """Loading PyTorch takes seconds: where there are cores and memory for it, once for all that come later, side by side."""

    # Of memory, for each.
    GIB = 2

    def __init__(self, a, logs):
        self.a, self.logs, self.loaded = a, logs, {}

    @staticmethod
    def room():
        try:
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        except (ValueError, OSError):
            free = 0
        return int(min((os.cpu_count() or 1) - 4, free / 2 / Workers.GIB))

    def ahead(self, wanted, clock):
        """Loads the first of (recipe, precision, form, batch, way), and waits, so that nobody is timed meanwhile."""
        for key in wanted[:max(0, self.room())]:
            self.loaded[key] = self.start(key)
        begin = time.monotonic()
        for worker in self.loaded.values():
            try:
                worker.load(clock)
            except Failed:
                # Said when it is needed.
                pass
        if self.loaded:
            say(f"PyTorch was loaded in {len(self.loaded)} processes within {time.monotonic() - begin:.0f} s")

    def start(self, key):
        recipe, precision, form, batch, way = key
        return Worker(recipe, precision, form, batch, self.a, self.logs, way)

    def take(self, key):
        found = self.loaded.pop(key, None)
        if found and found.process.poll() is None:
            return found
        return self.start(key)

    def close(self):
        for worker in self.loaded.values():
            worker.end()


def configuration(recipe, a):
    """What a recipe is, and its batch."""
    c = Configuration.named(recipe)
    return c, a.batch or (a.small_batch if c.small else a.large_batch)
