"""Tests of what runs benchmarks on a GPU, without one: `python3 -m unittest discover bench`."""
import gc
import json
import os
import subprocess
import sys
import tempfile
import types
import unittest
import weakref
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
import capture
import errors
import gpu
import gpu_run
import gpu_tables
import networks
import sides
from limits import Clock, Part, limit
from sides import Failed
from steps import Record, Runner, Step

HERE = Path(__file__).parent


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


class Limits(unittest.TestCase):
    def test_a_part_leaves_the_floors_of_those_that_come(self):
        later = [Part("b", 20), Part("c", 70, 150), Part("d", 30, optional=True)]
        self.assertEqual(limit(Part("a", 10), later, 360), 270)
        self.assertEqual(limit(Part("a", 10, 60), later, 360), 60)

    def test_the_first_has_its_floor_and_the_last_is_left_out(self):
        self.assertEqual(limit(Part("a", 40), [Part("b", 60)], 70), 40)
        self.assertIsNone(limit(Part("b", 60), [], 30))
        self.assertIsNone(limit(Part("b", 0), [], 0))

    def test_six_minutes_have_room_for_all_that_must_be_in_them(self):
        for sets in (1, 2):
            left, given = 360 - gpu_run.LAST, {}
            parts = [Part(p.name, p.floor * sets, p.most * sets) if p.name in ("tests", "checks") else p for p in gpu_run.PARTS]
            for i, part in enumerate(parts):
                given[part.name] = limit(part, parts[i + 1:], left)
                # Everybody takes all that is offered.
                left -= given[part.name] or 0
            self.assertTrue(all(given[n] for n in ("info", "tests", "checks", "speed", "train")), given)
            self.assertGreaterEqual(given["train"], 70)
            self.assertGreaterEqual(left, 0)

    def test_an_inner_clock_ends_with_its_outer(self):
        now = Time()
        outer = Clock(10, now=now)
        now.seconds = 4
        self.assertEqual(Clock(60, outer).left(), 6)
        self.assertEqual(Clock(2, outer).left(), 2)


class Errors(unittest.TestCase):
    CUDA = ("CUDA error: operation not permitted when stream is capturing\nCUDA kernel errors might be reported later\n"
            "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n")

    def test_the_first_line_is_kept(self):
        self.assertEqual(errors.of(RuntimeError(self.CUDA)),
                         "RuntimeError: CUDA error: operation not permitted when stream is capturing")
        log = "warning\nTraceback (most recent call last):\n  File \"x.py\", line 1\n    f()\nRuntimeError: " + self.CUDA
        self.assertEqual(errors.first_line(log), "RuntimeError: CUDA error: operation not permitted when stream is capturing")

    def test_what_came_first_is_named_first(self):
        try:
            try:
                raise ValueError("the cause")
            finally:
                raise RuntimeError(self.CUDA)
        except RuntimeError as e:
            self.assertTrue(errors.of(e).startswith("ValueError: the cause (then RuntimeError: CUDA error"), errors.of(e))

    def test_rust(self):
        log = "running 1 test\nthread 'a' panicked at src/a.rs:1:2:\nwrong: 3\nnote: run with RUST_BACKTRACE\n"
        self.assertEqual(errors.first_line(log), "thread 'a' panicked at src/a.rs:1:2: wrong: 3")
        self.assertEqual(errors.first_line("error: no device\n\nhint: more\n"), "error: no device")
        self.assertEqual(errors.first_line(""), "")


class Graphs(unittest.TestCase):
    def recorded(self, how):
        """A step that was recorded with a PyTorch that only counts, and what it needs, of which nobody else knows."""
        calls, modes = [], []

        class Network:
            pass

        def step():
            network = Network()
            return networks.Step(lambda: calls.append((network, "backward")[1]), lambda: calls.append("update"), None), weakref.ref(network)

        @contextmanager
        def anything(*_, capture_error_mode=None):
            modes.append(capture_error_mode)
            yield

        stream = types.SimpleNamespace(wait_stream=lambda s: None)
        graph = types.SimpleNamespace(replay=lambda: calls.append("replay"))
        cuda = types.SimpleNamespace(Stream=lambda: stream, current_stream=lambda: stream, stream=anything, graph=anything,
                                     synchronize=lambda: None, CUDAGraph=lambda: graph)
        made, network = step()
        with mock.patch.dict(sys.modules, torch=types.SimpleNamespace(cuda=cuda)):
            return capture.recorded(made, how), network, calls, modes

    def test_what_a_graph_reads_outlives_the_recording(self):
        found, network, calls, modes = self.recorded(capture.WAYS["whole"])
        gc.collect()
        self.assertIsNotNone(network(), "freed while the graph still reads it")
        self.assertEqual(calls, ["backward", "update"] * 4)
        self.assertEqual(modes[-1], "thread_local")
        found()
        self.assertEqual(calls[-1], "replay")

    def test_the_optimiser_can_stay_out_of_it(self):
        found, _, calls, modes = self.recorded(capture.WAYS["without optimiser"])
        self.assertEqual(calls, ["backward", "update"] * 3 + ["backward"])
        self.assertEqual(modes[-1], "relaxed")
        found()
        self.assertEqual(calls[-2:], ["replay", "update"])


class FakeWorker:
    """PyTorch's process: says what it is told to, and takes its time."""

    def __init__(self, key, test):
        self.recipe, _, self.form, _, self.way = key
        self.test, self.process = test, types.SimpleNamespace(pid=0)
        test.started.append((self.recipe, self.form, self.way))

    def load(self, clock):
        self.test.time.seconds += 5

    def turn(self, steps, warm, clock):
        self.test.time.seconds += self.test.took.get(self.form, 3)
        error = self.test.broken.get((self.recipe, self.form, self.way))
        if error:
            raise error
        return {"seconds": [{"eager": 0.03, "graph": 0.01, "nchw": 0.04, "compile": 0.008}[self.form]]}

    def end(self):
        pass


class Comparisons(unittest.TestCase):
    def setUp(self):
        self.time, self.started, self.broken, self.took, self.ran = Time(), [], {}, {}, []
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.stem = Path(self.folder.name) / "gpu"

    def ours(self, c, precision, batch, a, clock, nvml, kernels, *more):
        self.ran.append((c.recipe, kernels))
        self.time.seconds += 4
        profile = {"operations": [], "steps": 1, "seconds": 1.0} if more else None
        return {"seconds": 0.02 if kernels == "proved" else 0.005, "flops": 1, "machine": None, "profile": profile}

    def call(self, seconds, kernels="proved,new", recipes=("bp-resnet32", "mlaan-released-resnet32-16", "bp-resnet50")):
        a = gpu.arguments(["--mlaan", sys.executable, "--kernels", kernels, *recipes])
        data = {"machine": {"text": ""}, "device": "cuda:0", "kernels": a.kernels, "peaks": {"G": {}}, "gpu": "G", "results": [], "left_out": []}
        file = self.stem.with_suffix(".json")
        if file.exists():
            data["results"] = json.loads(file.read_text())["results"]
        workers = types.SimpleNamespace(take=lambda key: FakeWorker(key, self))
        clock = Clock(seconds, now=self.time)
        nvml = types.SimpleNamespace(used=lambda: None, of=lambda pid: None)
        with redirect_stderr(StringIO()) as said, mock.patch.object(gpu, "text", lambda d: ""):
            found = gpu.Comparison(a, clock, nvml, self.stem, data, workers, self.ours).run([(r, "bf16") for r in recipes])
        return found, json.loads(file.read_text()), said.getvalue()

    def test_a_second_call_measures_what_the_first_left_out_and_nothing_else(self):
        whole, first, _ = self.call(150)
        self.assertFalse(whole)
        self.assertTrue(first["left_out"])
        there = {(r["recipe"], f) for r in first["results"] for f in r["pytorch"]}
        self.assertIn(("bp-resnet32", "graph"), there)
        started, self.started = self.started, []
        whole, second, _ = self.call(1000)
        self.assertTrue(whole, second["left_out"])
        self.assertFalse({s[:2] for s in self.started} & there, "measured twice")
        self.assertEqual(len(second["results"]), 3)
        self.assertEqual(second["results"][0]["mlaan"], first["results"][0]["mlaan"])
        self.assertEqual({f for f in second["results"][0]["pytorch"]}, {"eager", "graph", "nchw", "compile"})
        # Local methods are channels last always, and are compiled last.
        self.assertNotIn("nchw", second["results"][1]["pytorch"])
        self.assertEqual(self.started[-1][:2], ("mlaan-released-resnet32-16", "compile"))
        self.started.clear()
        self.ran.clear()
        self.assertTrue(self.call(1000)[0])
        self.assertEqual((self.started, self.ran), ([], []))

    def test_every_configuration_has_its_main_forms_before_any_is_compiled(self):
        self.call(2000)
        forms = [form for _, form, _ in self.started]
        self.assertEqual(forms[:6], ["eager", "graph"] * 3)
        self.assertEqual(set(forms[6:8]), {"nchw"})

    def test_a_graph_that_cannot_be_recorded_is_recorded_in_another_way(self):
        first = RuntimeError("CUDA error: operation not permitted")
        self.broken["bp-resnet32", "graph", "whole"] = Failed(f"PyTorch, graph (whole): {errors.of(first)}")
        _, found, _ = self.call(1000, recipes=["bp-resnet32"])
        r = found["results"][0]
        self.assertEqual(r["pytorch"]["graph"]["way"], "relaxed")
        self.assertEqual(r["errors"], ["PyTorch, graph (whole): RuntimeError: CUDA error: operation not permitted"])
        self.assertEqual(r["failed"], [])

    def test_what_fails_is_kept_and_not_tried_again(self):
        for way in capture.WAYS:
            self.broken["bp-resnet32", "graph", way] = Failed(f"no {way}")
        whole, found, _ = self.call(1000, recipes=["bp-resnet32"])
        self.assertTrue(whole)
        self.assertEqual(found["results"][0]["failed"], ["graph"])
        self.assertEqual(len(found["results"][0]["errors"]), len(capture.WAYS))
        self.started.clear()
        self.assertTrue(self.call(1000, recipes=["bp-resnet32"])[0])
        self.assertEqual(self.started, [])

    def test_what_was_late_is_tried_again(self):
        self.broken["bp-resnet32", "eager", None] = Failed("late", late=True)
        whole, found, _ = self.call(1000, recipes=["bp-resnet32"])
        self.assertFalse(whole)
        self.assertNotIn("eager", found["results"][0]["pytorch"])
        self.broken.clear()
        whole, found, _ = self.call(1000, recipes=["bp-resnet32"])
        self.assertTrue(whole)
        self.assertEqual(found["results"][0]["pytorch"]["eager"]["beside"]["new"], [0.005, 0.005])

    def test_a_call_that_was_cut_off_leaves_what_it_knew(self):
        def cut(*words):
            if len(self.ran) == 1:
                raise KeyboardInterrupt
            return Comparisons.ours(self, *words)
        with mock.patch.object(self, "ours", cut), self.assertRaises(KeyboardInterrupt):
            self.call(1000, recipes=["bp-resnet32"])
        found = json.loads(self.stem.with_suffix(".json").read_text())["results"]
        self.assertEqual(list(found[0]["mlaan"]), ["proved"])
        self.assertTrue(self.call(1000, recipes=["bp-resnet32"])[0])
        found = json.loads(self.stem.with_suffix(".json").read_text())["results"]
        self.assertEqual((len(found), list(found[0]["mlaan"])), (1, ["proved", "new"]))

    def test_the_table_has_a_column_of_each_set_of_kernels(self):
        _, found, said = self.call(1000, recipes=["bp-resnet32"])
        self.assertIn("proved 20.00 ms, new 5.00 ms, eager 30.00, graph 10.00, proved ratio 0.50x, new ratio 2.00x", said)
        head, _, row = gpu_tables.speed_table(found["results"], {}, ["proved", "new"]).splitlines()
        cells = dict(zip((h.strip() for h in head.split("  ") if h.strip()), row.split()))
        self.assertEqual([cells[k] for k in ("proved ms", "new ms", "compile ms")], ["20.00", "5.00", "8.00"])
        self.assertEqual([cells[k] for k in ("proved ratio", "new ratio", "to eager")], ["0.40x", "1.60x", "6.00x"])


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


class Sides(unittest.TestCase):
    def test_a_program_that_ran_other_kernels_than_it_was_asked_to_is_no_side(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        program, nvml = Path(folder.name) / "mlaan", types.SimpleNamespace(used=lambda: None, of=lambda pid: None)
        a = types.SimpleNamespace(mlaan=program, device="cuda", threads=1, steps=1)
        run = lambda kernels: sides.mlaan(types.SimpleNamespace(arguments=["quickstart"]), "bf16", 8, a, Clock(60), nvml, kernels)
        script(program, """echo '{"kernels": "proved"}'""")
        self.assertEqual(run("proved")["kernels"], "proved")
        self.assertEqual(run("")["kernels"], "proved")
        with self.assertRaisesRegex(Failed, "new kernels: the program says that its proved kernels ran"):
            run("new")
        # A program of before says nothing.
        script(program, "echo '{}'")
        self.assertNotIn("kernels", run("new"))


class Steps(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name)

    def runner(self):
        return Runner(self.out, Record(self.out, {}))

    def outcomes(self):
        steps = json.loads((self.out / "state.json").read_text())["steps"]
        return {n: s["outcome"] for n, s in steps.items()}

    def test_side_by_side_within_one_limit(self):
        steps = [Step("good", ["true"]), Step("slow", ["sh", "-c", "sleep 60 & sleep 60"]), Step("never", ["true"]),
                 Step("bad", ["sh", "-c", "echo 'test a ... FAILED'; echo 'error: first'; echo last; exit 3"]),
                 Step("missing", [self.out / "nothing"])]
        with redirect_stdout(StringIO()):
            right = self.runner().run([steps[3], steps[4], steps[0], steps[1]], 3, 4)
        self.assertFalse(right)
        self.assertEqual(self.outcomes(), {"missing": "FAILED -", "good": "ok", "bad": "FAILED 3", "slow": "TIMED OUT"})
        state = json.loads((self.out / "state.json").read_text())
        self.assertEqual(state["steps"]["bad"]["note"], "a: error: first")

    def test_a_later_call_runs_what_did_not_end(self):
        count = "echo x >> {}; {}"
        steps = [Step(n, ["sh", "-c", count.format(self.out / n, then)])
                 for n, then in (("good", "true"), ("bad", "false"), ("cut", "sleep 60"))]
        for _ in range(2):
            with redirect_stdout(StringIO()):
                self.runner().run(steps, 2, 3)
        self.assertEqual([(self.out / s.name).read_text().count("x") for s in steps], [1, 1, 2])

    def test_what_was_running_when_all_was_killed_is_done_again(self):
        Record(self.out, {}).keep("a", "running")
        record = Record(self.out, {})
        self.assertEqual(record.steps["a"]["outcome"], "INTERRUPTED")
        self.assertFalse(record.ended("a"))


class Whole(unittest.TestCase):
    """`gpu.sh run` with programs that only pretend."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.out = Path(folder.name) / "gpu", Path(folder.name) / "out"
        (self.folder / "bench").mkdir(parents=True)
        for path in [*HERE.glob("*.py"), HERE / "gpu.sh"]:
            (self.folder / "bench" / path.name).write_bytes(path.read_bytes())
        (self.folder / "COMMIT").write_text("commit abc\n")
        script(self.folder / "target/release/mlaan", "echo \"$MLAAN_CUDA_KERNELS $*\"")
        # One leaves a process behind that holds whatever it was given.
        script(self.folder / "tests/holds", "sleep 30 & echo 'test result: ok. 3 passed'")
        script(self.folder / "tests/other", "[ \"$MLAAN_CUDA_KERNELS\" != new ] || { echo 'test b ... FAILED'; exit 1; }")

    def call(self, *words):
        command = (f"bash {self.folder}/bench/gpu.sh run --python {sys.executable} --device cpu --minutes 1 --out {self.out} "
                   f"{' '.join(words)} 2>&1 | tee {self.out}.log")
        found = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=25)
        return found.returncode, found.stdout

    def test_tests_of_both_sets_of_kernels_through_a_pipe(self):
        status, said = self.call("--only", "tests", "--kernels", "proved,new")
        self.assertEqual(status, 1, said)
        steps = json.loads((self.out / "state.json").read_text())["steps"]
        self.assertEqual({n: s["outcome"] for n, s in steps.items()},
                         {"test-holds/proved": "ok", "test-other/proved": "ok", "test-holds/new": "ok", "test-other/new": "FAILED 1"})
        self.assertIn("test b ... FAILED", (self.out / "summary.txt").read_text())
        self.assertTrue((self.out / "logs/test-other-new.log").exists())
        # Nothing is done twice, unless that is asked for.
        _, said = self.call("--only", "tests", "--kernels", "proved,new")
        self.assertNotIn("side by side", said)
        _, said = self.call("--only", "tests", "--kernels", "proved,new", "--retry")
        self.assertIn("tests/new: 1 side by side", said)

    def test_results_of_something_else_are_not_mixed(self):
        self.call("--only", "tests")
        status, said = self.call("--only", "tests", "--kernels", "new")
        self.assertEqual(status, 1)
        self.assertIn("cannot be mixed", said)
        (self.folder / "COMMIT").write_text("commit def\n")
        self.assertIn("was made with commit abc", self.call("--only", "tests")[1])


if __name__ == "__main__":
    unittest.main()
