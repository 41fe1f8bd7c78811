"""Memory of a GPU as NVIDIA's management library tells it, sampled while something runs; nothing without the library."""
import ctypes
import os
import threading
import time

EVERY = 0.02
PROCESSES = 64


class Process(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong), ("gpu", ctypes.c_uint), ("compute", ctypes.c_uint)]


class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class Nvml:
    """One GPU, of those that CUDA shows to this process."""

    def __init__(self, index=0):
        shown = [s for s in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if s]
        if index < len(shown) and shown[index].isdigit():
            index = int(shown[index])
        self.handle = ctypes.c_void_p()
        try:
            self.nvml = ctypes.CDLL("libnvidia-ml.so.1")
            failed = self.nvml.nvmlInit_v2() or self.nvml.nvmlDeviceGetHandleByIndex_v2(
                ctypes.c_uint(index), ctypes.byref(self.handle))
        except (OSError, AttributeError):
            failed = True
        if failed:
            self.nvml = None

    def used(self):
        """Bytes taken by whomever."""
        m = Memory()
        if not self.nvml or self.nvml.nvmlDeviceGetMemoryInfo(self.handle, ctypes.byref(m)):
            return None
        return m.used

    def of(self, pid):
        """Bytes of a process; none where the system shows other numbers of processes than ours, as containers may."""
        if not self.nvml:
            return None
        count, found = ctypes.c_uint(PROCESSES), (Process * PROCESSES)()
        try:
            if self.nvml.nvmlDeviceGetComputeRunningProcesses_v3(self.handle, ctypes.byref(count), found):
                return None
        except AttributeError:
            return None
        bytes_ = next((p.used for p in found[:count.value] if p.pid == pid), None)
        # All bits set: not available.
        return None if bytes_ is None or bytes_ == 2**64 - 1 else bytes_


class Watch:
    """The most, while it is open, by which the memory in use grew, and that one process held."""

    def __init__(self, nvml):
        self.nvml, self.pid = nvml, None
        self.grown = self.process = None
        self.ended = threading.Event()

    def __enter__(self):
        self.before = self.nvml.used()
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def sample(self):
        while self.before is not None and not self.ended.is_set():
            now, held = self.nvml.used(), self.nvml.of(self.pid) if self.pid else None
            if now is not None:
                self.grown = max(self.grown or 0, now - self.before)
            if held is not None:
                self.process = max(self.process or 0, held)
            time.sleep(EVERY)
