#!/usr/bin/env python3
"""What the CUDA kernels are made of, and what they ask of a GPU: no GPU is needed.

    python3 bench/kernels.py PROGRAMS [--counts FILE] [--arch sm_90] [--only NAME] [--loops] [--json]

PROGRAMS is a folder of kernel programs, as any program that runs on the driver of crates/host-cuda leaves them with
MLAAN_HOST_CUDA_PROGRAMS=PROGRAMS; each is compiled with the product's own options and disassembled. FILE holds what its
launches asked for, counted with MLAAN_HOST_CUDA_COUNT=FILE. Either may be left out (PROGRAMS as `-`).

Needs NVRTC, cuobjdump and nvdisasm: `pip install nvidia-cuda-nvrtc nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm` for the Python
that runs this, or a CUDA toolkit (CUDA_HOME, or its programs on PATH). Status 3: they are not there.
"""

import argparse
import collections
import concurrent.futures
import ctypes
import glob
import json
import os
import re
import shutil
import site
import subprocess
import sys
import tempfile
from pathlib import Path

# Of a multiprocessor: registers, bytes of shared memory, of those kept of each block, warps, blocks.
MULTIPROCESSORS = {"sm_80": (65536, 164 << 10, 1 << 10, 64, 32), "sm_90": (65536, 228 << 10, 1 << 10, 64, 32)}

# Kinds of instructions that loops are judged by; the first that fits.
KINDS = [
    ("HMMA", r"HMMA|HGMMA|IMMA"), ("LDSM", r"LDSM"), ("LDGSTS", r"LDGSTS|UBLKCP"), ("LDS", r"LDS"), ("STS", r"STS"),
    ("LDG", r"LDG|LD\b|LD\."), ("STG", r"STG|ST\b|ST\.|RED|ATOM"), ("local", r"LDL|STL"), ("BAR", r"BAR|LDGDEPBAR|DEPBAR"),
    ("MUFU", r"MUFU"), ("convert", r"[IF]2[IF]"), ("float", r"F(FMA|ADD|MUL|MNMX|SEL|SETP|CHK)|D(FMA|ADD|MUL)"),
    ("branch", r"BRA|BSSY|BSYNC|CALL|RET|EXIT|WARPSYNC|YIELD|BREAK"),
    ("integer", r"U?(I|LOP|SHF|LEA|SEL|PLOP|VI|PRMT|FLO|POPC|BREV|BMSK|SGXT|P2R|R2P|ISETP)"),
]


class Missing(Exception):
    """A tool that is not there."""


def folders():
    """Where packages of NVIDIA's lie, or a toolkit."""
    packages = {*site.getsitepackages(), *([os.path.join(os.environ["VIRTUAL_ENV"], "lib")] if "VIRTUAL_ENV" in os.environ else [])}
    found = [f for p in packages for d in ("", "python3*/site-packages/") for f in glob.glob(f"{p}/{d}nvidia/*/")]
    return found + [os.environ.get(v, "") for v in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]


def tool(name):
    for folder in folders():
        path = os.path.join(folder, "bin", name)
        if os.access(path, os.X_OK):
            return path
    path = shutil.which(name)
    if not path:
        raise Missing(f"{name} was not found: pip install nvidia-cuda-{name}")
    return path


def nvrtc():
    """NVRTC's library."""
    named = [os.environ["MLAAN_NVRTC"]] if "MLAAN_NVRTC" in os.environ else []
    for path in named + [p for f in folders() for p in sorted(glob.glob(f"{f}/lib*/libnvrtc.so*"))]:
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    raise Missing("NVRTC was not found: pip install nvidia-cuda-nvrtc")


def compiled(library, program, arch):
    """Machine code of a program's folder for an architecture, and its intermediate code."""
    name, *options = (program / "options").read_text().splitlines()
    options = [f"--gpu-architecture={arch}"] + [o for o in options if not o.startswith("--gpu-architecture")]
    headers = [f for f in sorted(program.iterdir()) if f.suffix == ".cuh"]
    if not (program / name).is_file():
        raise SystemExit(f"{program}: its file of options names {name}, which is not there")
    texts = lambda values: (ctypes.c_char_p * len(values))(*[v.encode() for v in values])
    made, size = ctypes.c_void_p(), ctypes.c_size_t()
    library.nvrtcCreateProgram(
        ctypes.byref(made), (program / name).read_bytes(), name.encode(), len(headers),
        texts([h.read_text() for h in headers]), texts([h.name for h in headers]))
    failed = library.nvrtcCompileProgram(made, len(options), texts(options))
    def answer(what):
        getattr(library, f"nvrtcGet{what}Size")(made, ctypes.byref(size))
        room = ctypes.create_string_buffer(size.value)
        getattr(library, f"nvrtcGet{what}")(made, room)
        return room.raw
    if failed:
        raise SystemExit(f"{program} for {arch}: {answer('ProgramLog').decode()}")
    return answer("CUBIN"), answer("PTX").decode(errors="replace")


def kind(operation):
    return next((name for name, pattern in KINDS if re.match(pattern, operation)), "other")


def functions(text):
    """Of a disassembly: kernels' instructions as (address, operation, operands), and their labels' addresses."""
    found, name, waiting = {}, None, []
    for line in text.splitlines():
        if section := re.match(r"\s*\.section\s+\.text\.([^,\s]+)", line):
            name, waiting = section[1], []
            found[name] = ([], {})
        elif label := re.match(r"(\.L\S*|\$\S+):", line):
            waiting.append(label[1])
        elif name and (code := re.match(r"\s*/\*([0-9a-f]+)\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*?)\s*;", line)):
            at = int(code[1], 16)
            found[name][1].update(dict.fromkeys(waiting, at))
            waiting = []
            found[name][0].append((at, code[2], code[3]))
    return found


def divides(operation, operands):
    """Whether an instruction is the one of a division of integers that each has: the reciprocal's start, or a call."""
    return bool(re.match(r"I2F(\.\w+)*\.RP", operation) or re.search(r"CALL.*", operation) and re.search(r"(div|rem)_[us]", operands))


def examined(instructions, labels):
    """Numbers of a kernel, and its loops without others within."""
    end = min((a for label, a in labels.items() if label.startswith("$")), default=1 << 60)
    own = [i for i in instructions if i[0] < end]
    jumps = [(labels[t[1]], at) for at, op, args in own if op.startswith("BRA") and (t := re.search(r"`\((\S+)\)", args)) and t[1] in labels]
    loops = sorted({(to, at) for to, at in jumps if to < at})
    inner = [l for l in loops if not any(o != l and l[0] <= o[0] and o[1] <= l[1] for o in loops)]
    within = lambda l: [i for i in own if l[0] <= i[0] <= l[1]]
    mix = lambda some: dict(collections.Counter(kind(op) for _, op, _ in some).most_common())
    described = [{
        "at": f"{l[0]:#x}", "instructions": len(within(l)), "mix": mix(within(l)),
        "divisions": sum(divides(op, args) for _, op, args in within(l)),
    } for l in inner]
    return {
        "instructions": len(own),
        "mix": mix(own),
        "spills": sum(kind(op) == "local" for _, op, _ in own),
        "divisions": sum(divides(op, args) for _, op, args in own),
        "float_divisions": sum(op.startswith("FCHK") for _, op, _ in own),
        "loop_divisions": sum(divides(op, args) for i, (at, op, args) in enumerate(own) if any(l[0] <= at <= l[1] for l in loops)),
        "inner_loop_divisions": sum(l["divisions"] for l in described),
        "loops": described,
    }


def occupancy(arch, registers, shared, threads):
    """Part of a multiprocessor's warps that are there at once, at the most."""
    all_registers, room, kept, warps, blocks = MULTIPROCESSORS[arch]
    of_block = -(-threads // 32)
    by_registers = all_registers // (-(-registers * 32 // 256) * 256) // of_block
    return min(by_registers, room // (shared + kept), warps // of_block, blocks) * of_block / warps


def launches(path):
    """Launches of a file of counts."""
    return [json.loads(l) for l in open(path) if l.startswith('{"kernel"')] if path else []


def kernels(folder, archs, counted):
    """Every kernel of every program for every architecture."""
    library, dump, disassemble = nvrtc(), tool("cuobjdump"), tool("nvdisasm")
    most = collections.defaultdict(int)
    for l in counted:
        most[l["kernel"]] = max(most[l["kernel"]], l["shared"])
    programs = sorted(p.parent for p in Path(folder).glob("*/options"))
    if not programs:
        raise SystemExit(f"{folder} holds no programs; set MLAAN_HOST_CUDA_PROGRAMS={folder} for a run on the host's driver")

    def of_program(program, arch):
        code, intermediate = compiled(library, program, arch)
        threads = {m[1]: int(m[2]) for m in re.finditer(r"\.entry (\w+)\([^)]*\)\s*\.maxntid (\d+)", intermediate)}
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(code)
            file.flush()
            said = lambda *command: subprocess.run(command, check=True, capture_output=True, text=True).stdout
            usage = said(dump, "--dump-resource-usage", file.name)
            code = functions(said(disassemble, "-c", file.name))
        defines = " ".join(o[2:] for o in (program / "options").read_text().splitlines() if o.startswith("-D"))
        found = []
        for name, numbers in re.findall(r"Function (\w+):\s*\n\s*(.*)", usage):
            used = {k: int(v) for k, v in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", numbers)}
            # The compiler's own part is kept of each block anyway.
            shared = max(0, used["SHARED"] - (1024 if arch >= "sm_90" else 0)) + most[name]
            found.append({
                "program": program.name.split("-")[0], "defines": defines, "kernel": name, "arch": arch, "registers": used["REG"],
                "stack": used["STACK"], "shared": shared, "threads": threads.get(name, 1024),
                "occupancy": occupancy(arch, used["REG"], shared, threads.get(name, 1024)), **examined(*code[name]),
            })
        return found

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda both: of_program(*both), [(program, arch) for program in programs for arch in archs]):
            yield from found


def table(rows, right):
    """Rows of text under a head, columns as wide as need be."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    line = lambda r: "  ".join(t.rjust(w) if i in right else t.ljust(w) for i, (t, w) in enumerate(zip(r, widths))).rstrip()
    return "\n".join([line(rows[0]), "-" * (sum(widths) + 2 * len(widths) - 2), *map(line, rows[1:])])


def show_kernels(found, loops):
    head = "kernel defines arch regs stack spills div in-loops inner-loops fdiv instr shared occ".split()
    rows = [head] + [[
        k["kernel"], k["defines"] or "-", k["arch"], *(str(k[n]) for n in ("registers", "stack", "spills", "divisions", "loop_divisions",
        "inner_loop_divisions", "float_divisions", "instructions", "shared")), f"{k['occupancy']:.0%}"] for k in found]
    print(table(rows, range(3, 13)))
    print("\ndiv: divisions of integers by values of run time, of those within loops and within loops without others; fdiv: of floats.\n"
          "shared: bytes of a block, with --counts the most that a launch took; occ: part of a multiprocessor's warps.")
    for k in found if loops else []:
        print(f"\n{k['kernel']} {k['defines']} {k['arch']}")
        for l in k["loops"]:
            print(f"  {l['at']:>8} {l['instructions']:5}  {', '.join(f'{n} {v}' for n, v in l['mix'].items())}"
                  + (f"; {l['divisions']} divisions" if l["divisions"] else ""))


def ratio(a, b):
    return f"{a / b:.2f}" if b else "-"


def summed(counted):
    """Launches of one kind and shape together."""
    groups = collections.defaultdict(list)
    for l in counted:
        groups[l["kernel"], tuple(l["grid"]), l["threads"], l["shared"]].append(l)
    for (kernel, grid, threads, shared), all_ in groups.items():
        total = lambda kinds, what: sum(l[k].get(what, 0) for l in all_ for k in kinds)
        memory, banks = ("global_load", "global_store"), ("shared_load", "shared_store")
        yield {
            "kernel": kernel, "grid": grid, "threads": threads, "shared": shared, "launches": len(all_),
            **{f"{k}_{w}": total([k], w) for k in memory for w in ("units", "least", "launch_least")},
            "wavefronts": total(banks, "units"), "least_wavefronts": total(banks, "least"),
            "lanes": total(memory + banks, "lanes"), "instructions": total(memory + banks, "instructions"),
            "barriers": sum(l["barriers"] for l in all_),
        }


def show_counts(groups):
    head = "kernel grid threads shared launches load-sectors of-least of-launch store-sectors of-least of-launch wavefronts of-least idle".split()
    rows = [head]
    for g in groups:
        memory = [t for k in ("global_load", "global_store") for t in (
            str(g[f"{k}_units"]), ratio(g[f"{k}_units"], g[f"{k}_least"]), ratio(g[f"{k}_units"], g[f"{k}_launch_least"]))]
        idle = 1 - g["lanes"] / (32 * g["instructions"]) if g["instructions"] else 0
        rows.append([g["kernel"], "x".join(map(str, g["grid"])), str(g["threads"]), str(g["shared"]), str(g["launches"]), *memory,
                     str(g["wavefronts"]), ratio(g["wavefronts"], g["least_wavefronts"]), f"{idle:.0%}"])
    print(table(rows, range(2, 14)))
    print("\nSectors are 32 bytes of global memory; of-least: of what each instruction's bytes would fill; of-launch: of all bytes of a\n"
          "launch, each once. Wavefronts are rows of 32 banks of shared memory. Idle: lanes that take no part in accesses.")


def lines_of(counted, only, most):
    """The source lines that ask for the most beyond the least."""
    worst = collections.Counter()
    for l in counted:
        if not only or re.search(only, l["kernel"]):
            for s in l["sites"]:
                (name, n), = ((k, v) for k, v in s.items() if k != "at")
                worst[l["kernel"], name, l["library"], s["at"]] += n["units"] - n["least"]
    for (kernel, name, library, at), more in worst.most_common(most):
        if more:
            found = subprocess.run(["addr2line", "-s", "-i", "-e", library, hex(at)], capture_output=True, text=True).stdout.split("\n")
            print(f"{kernel:24} {name:12} {more:10} beyond the least: {' < '.join(f.split(' ')[0] for f in found[:4] if f)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", help="folder of programs, or -")
    parser.add_argument("--counts", help="file of launches")
    parser.add_argument("--arch", default="sm_80,sm_90", help="architectures, divided by commas [%(default)s]")
    parser.add_argument("--only", help="kernels whose name this expression finds")
    parser.add_argument("--loops", action="store_true", help="print the instructions of loops, too")
    parser.add_argument("--lines", type=int, default=0, metavar="N", help="print the N source lines that ask for the most beyond the least")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    counted = launches(args.counts)
    wanted = lambda k: not args.only or re.search(args.only, k["kernel"])
    try:
        found = [] if args.programs == "-" else [k for k in kernels(args.programs, args.arch.split(","), counted) if wanted(k)]
    except Missing as missing:
        print(missing, file=sys.stderr)
        sys.exit(3)
    groups = [g for g in summed(counted) if wanted(g)]
    if args.json:
        print(json.dumps({"kernels": found, "launches": groups}))
        return
    if found:
        show_kernels(found, args.loops)
    if groups:
        print()
        show_counts(groups)
    lines_of(counted, args.only, args.lines)


if __name__ == "__main__":
    main()
