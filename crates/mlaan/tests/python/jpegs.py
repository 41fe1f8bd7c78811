"""Writes JPEGs of every layout: sampling factors, scans, restart intervals, colour transforms, odd sizes.

Encoders write few of these layouts; readers must know all. `write` makes a file of planes, by the standard's own tables.
"""

import functools
import math

LUMA = [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
        18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
QUANT = [max(1, q // 4) for q in LUMA]
# Rows and columns of an 8x8 block in zigzag order.
ZIGZAG = sorted(((y, x) for y in range(8) for x in range(8)), key=lambda p: (p[0] + p[1], p[1] if (p[0] + p[1]) % 2 == 0 else p[0]))
DC_BITS = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
DC_VALUES = list(range(12))
AC_BITS = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D]
AC_VALUES = list(bytes.fromhex(
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748"
    "494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3"
    "c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"))
COS = [[math.cos((2 * i + 1) * k * math.pi / 16) * (math.sqrt(0.125) if k == 0 else 0.5) for i in range(8)] for k in range(8)]


def codes(bits, values):
    table, code, at = {}, 0, 0
    for length, count in enumerate(bits, 1):
        for _ in range(count):
            table[values[at]] = (code, length)
            code, at = code + 1, at + 1
        code <<= 1
    return table


DC, AC = codes(DC_BITS, DC_VALUES), codes(AC_BITS, AC_VALUES)


class Bits:
    def __init__(self):
        self.out, self.acc, self.n = bytearray(), 0, 0

    def put(self, value, length):
        self.acc, self.n = (self.acc << length) | (value & ((1 << length) - 1)), self.n + length
        while self.n >= 8:
            self.n -= 8
            byte = (self.acc >> self.n) & 255
            self.out += bytes([byte, 0] if byte == 255 else [byte])
        self.acc &= (1 << self.n) - 1

    def code(self, table, symbol):
        self.put(*table[symbol])

    def number(self, value):
        size = abs(value).bit_length()
        self.put(value if value >= 0 else value + (1 << size) - 1, size)

    def align(self):
        if self.n:
            self.put((1 << (8 - self.n)) - 1, 8 - self.n)


def dct(plane, top, left):
    """Quantised coefficients of a block, in zigzag order; beyond the edge the last pixels are repeated."""
    height, width = len(plane), len(plane[0])
    return transformed(tuple(tuple(plane[min(top + y, height - 1)][min(left + x, width - 1)] - 128 for x in range(8)) for y in range(8)))


@functools.cache  # Many layouts have the same picture.
def transformed(block):
    rows = [[sum(row[x] * COS[k][x] for x in range(8)) for k in range(8)] for row in block]
    return [round(sum(rows[y][u] * COS[v][y] for y in range(8)) / QUANT[v * 8 + u]) for v, u in ZIGZAG]


def scan(bits, components, blocks, order, restart, first, last, sequential):
    """One scan's entropy-coded data. `blocks(component, y, x)` are coefficients, `order` says which, unit by unit."""
    before = {c: 0 for c in components}
    for at, unit in enumerate(order):
        if restart and at and at % restart == 0:
            bits.align()
            bits.out += bytes([0xFF, 0xD0 + (at // restart - 1) % 8])
            before = {c: 0 for c in components}
        for c, y, x in unit:
            values = blocks(c, y, x)
            if first == 0:
                difference = values[0] - before[c]
                before[c] = values[0]
                bits.code(DC, abs(difference).bit_length())
                bits.number(difference)
            if not sequential and first == 0:
                continue
            run = 0
            for value in values[max(first, 1):last + 1]:
                if value == 0:
                    run += 1
                    continue
                while run > 15:
                    bits.code(AC, 0xF0)
                    run -= 16
                bits.code(AC, run << 4 | abs(value).bit_length())
                bits.number(value)
                run = 0
            if run:
                bits.code(AC, 0)
    bits.align()


def segment(marker, payload):
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + bytes(payload)


def write(planes, factors, size, scans, restart=0, colours="jfif", ids=None, progressive=False, frame=None):
    """A JPEG of `planes` (rows of numbers, one plane per component, each of its subsampled size); `factors`: (across, down).

    `scans`: the components of each scan. Progressive: these for the first coefficients, then two scans per component for the others.
    `colours`: a JFIF segment, the colour transform of an Adobe segment, or none of them. `frame`: another SOF marker.
    """
    height, width = size
    across, down = max(f[0] for f in factors), max(f[1] for f in factors)
    ids = ids or list(range(1, len(planes) + 1))
    out = bytearray(b"\xff\xd8")
    if colours == "jfif":
        out += segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    elif colours is not None:
        out += segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([colours]))
    out += segment(0xDB, [0] + [QUANT[y * 8 + x] for y, x in ZIGZAG])
    sof = [8, *height.to_bytes(2, "big"), *width.to_bytes(2, "big"), len(planes)]
    for i, (h, v) in zip(ids, factors):
        sof += [i, h << 4 | v, 0]
    out += segment(frame or (0xC2 if progressive else 0xC0), sof)
    out += segment(0xC4, [0x00] + DC_BITS + DC_VALUES) + segment(0xC4, [0x10] + AC_BITS + AC_VALUES)
    if restart:
        out += segment(0xDD, restart.to_bytes(2, "big"))
    known = {}

    def blocks(c, y, x):
        if (c, y, x) not in known:
            known[c, y, x] = dct(planes[c], 8 * y, 8 * x)
        return known[c, y, x]

    units = (math.ceil(height / (8 * down)), math.ceil(width / (8 * across)))
    passes = [(of, 0, 0) for of in scans] + [((c,), *band) for band in ((1, 5), (6, 63)) for c in range(len(planes))]
    for of, first, last in passes if progressive else [(of, 0, 63) for of in scans]:
        if len(of) == 1:
            # A component alone has no padding to whole units.
            h, v = factors[of[0]]
            rows, columns = math.ceil(math.ceil(height * v / down) / 8), math.ceil(math.ceil(width * h / across) / 8)
            order = [[(of[0], y, x)] for y in range(rows) for x in range(columns)]
        else:
            order = [[(c, my * factors[c][1] + y, mx * factors[c][0] + x) for c in of for y in range(factors[c][1]) for x in range(factors[c][0])]
                     for my in range(units[0]) for mx in range(units[1])]
        sos = [len(of)] + [b for c in of for b in (ids[c], 0x00)] + [first, last, 0]
        out += segment(0xDA, sos)
        bits = Bits()
        scan(bits, of, blocks, order, restart, first, last, not progressive)
        out += bits.out
    return bytes(out + b"\xff\xd9")


def planes(size, factors, seed=0):
    """A smooth picture's components, subsampled."""
    height, width = size
    across, down = max(f[0] for f in factors), max(f[1] for f in factors)
    made = []
    for c, (h, v) in enumerate(factors):
        rows, columns = math.ceil(height * v / down), math.ceil(width * h / across)
        sx, sy = across / h, down / v
        made.append([[round(128 + (90 if c in (0, 3) else 55) * math.sin(0.11 * (x + 0.5) * sx + 1.7 * c + seed) * math.cos(0.09 * (y + 0.5) * sy - c))
                      for x in range(columns)] for y in range(rows)])
    return made


FACTORS = {
    "444": [(1, 1)] * 3, "422": [(2, 1), (1, 1), (1, 1)], "440": [(1, 2), (1, 1), (1, 1)], "420": [(2, 2), (1, 1), (1, 1)],
    "411": [(4, 1), (1, 1), (1, 1)], "410": [(4, 2), (1, 1), (1, 1)], "441": [(1, 4), (1, 1), (1, 1)], "24": [(2, 4), (1, 1), (1, 1)],
    "31": [(3, 1), (1, 1), (1, 1)], "13": [(1, 3), (1, 1), (1, 1)], "32": [(3, 2), (1, 1), (1, 1)], "23": [(2, 3), (1, 1), (1, 1)],
    "mixed": [(2, 2), (2, 1), (1, 2)], "uneven": [(2, 2), (1, 2), (1, 1)], "fine blue": [(2, 2), (2, 2), (1, 1)],
    "fine chroma": [(1, 1), (2, 2), (2, 2)], "all 21": [(2, 1)] * 3, "pair": [(2, 2), (1, 2), (1, 2)],
    # A component is sampled more than once a unit, and less than another.
    "between 421": [(4, 1), (2, 1), (1, 1)], "between 422": [(4, 1), (2, 1), (2, 1)], "between 244": [(2, 1), (4, 1), (4, 1)],
    "between down": [(1, 4), (1, 2), (1, 1)], "between both": [(2, 3), (4, 1), (2, 1)], "between of 21": [(4, 4), (2, 2), (1, 1)],
}
SCANS = {
    "one": [(0, 1, 2)], "three": [(0,), (1,), (2,)], "luma, chroma": [(0,), (1, 2)], "two, red": [(0, 1), (2,)],
    "backwards": [(2,), (1,), (0,)], "chroma, luma": [(1, 2), (0,)],
}
SCANS4 = {"one": [(0, 1, 2, 3)], "four": [(0,), (1,), (2,), (3,)], "two": [(0, 3), (1, 2)]}


def layouts(sizes):
    """Name and file of all layouts, in each of the sizes."""
    for size in sizes:
        for restart, progressive in ((0, False), (3, False), (0, True), (1, True)):
            tail = f"{size[1]}x{size[0]}, restart {restart}{', progressive' if progressive else ''}"
            for name, factors in FACTORS.items():
                made = planes(size, factors)
                for how, scans in SCANS.items():
                    yield f"{name}, {how}, {tail}", write(made, factors, size, scans, restart, progressive=progressive)
                if name not in ("444", "420", "422"):
                    continue
                for kind, colours, ids in (("rgb", 0, None), ("rgb by numbers", None, [82, 71, 66]), ("ycc of adobe", 1, None), ("unmarked", None, [0, 1, 2])):
                    for how, scans in SCANS.items():
                        yield f"{kind} {name}, {how}, {tail}", write(made, factors, size, scans, restart, colours, ids, progressive)
            for name in ("444", "420", "422", "440"):
                factors = FACTORS[name] + [FACTORS[name][0]]
                made = planes(size, factors)
                for kind, colours in (("cmyk", 0), ("ycck", 2), ("cmyk unmarked", None)):
                    for how, scans in SCANS4.items():
                        yield f"{kind} {name}, {how}, {tail}", write(made, factors, size, scans, restart, colours, progressive=progressive)
            for factor in ((1, 1), (2, 2), (1, 2), (3, 1), (4, 4)):
                yield f"grey {factor}, {tail}", write(planes(size, [factor]), [factor], size, [(0,)], restart, progressive=progressive)
        yield f"extended, {size}", write(planes(size, FACTORS["420"]), FACTORS["420"], size, SCANS["one"], frame=0xC1)


def transcoded(file, *options):
    """The same picture coded otherwise, by libjpeg-turbo's `jpegtran`."""
    import subprocess
    return subprocess.run(["jpegtran", "-copy", "all", *options], input=file, capture_output=True, check=True).stdout


def arithmetics(sizes):
    """Layouts with arithmetic coding, in scans as they are and progressive ones, with and without restarts."""
    wanted = ("444, one", "420, one", "422, one", "440, one", "411, one", "31, one", "13, one", "mixed, one", "rgb 444, one", "cmyk 420, one", "ycck 422, one", "grey (1, 1)", "grey (2, 2)")
    for name, file in layouts(sizes):
        if name.startswith(wanted) and "restart 0" in name and "progressive" not in name:
            for options in ((), ("-restart", "1"), ("-progressive",), ("-progressive", "-restart", "2B")):
                yield f"arithmetic {name}{', ' if options else ''}{' '.join(options)}", transcoded(file, "-arithmetic", *options)


SEPARATE = "0; 1; 2;"
REFINING = " ".join(f"{c}: {band};" for band in ("0-0, 0, 1", "1-5, 0, 2", "6-63, 0, 2", "1-63, 2, 1", "0-0, 1, 0", "1-63, 1, 0") for c in range(3))


def betweens(sizes):
    """Components sampled between once and most often, alone in their scans, which may refine coefficients bit by bit."""
    import tempfile
    for size in sizes:
        for name, factors in FACTORS.items():
            if not name.startswith("between"):
                continue
            file, tail = write(planes(size, factors), factors, size, SCANS["three"]), f"{size[1]}x{size[0]}"
            yield f"{name}, {tail}", file
            for how, script, options in (("refining", REFINING, ()), ("refining, restart", REFINING, ("-restart", "2B")),
                                         ("arithmetic", SEPARATE, ("-arithmetic",)), ("arithmetic refining", REFINING, ("-arithmetic",))):
                with tempfile.NamedTemporaryFile("w") as scans:
                    scans.write(script)
                    scans.flush()
                    yield f"{name}, {tail}, {how}", transcoded(file, "-scans", scans.name, *options)


def fixture(name, size, file):
    """Name, sides, file, and the pixels that libjpeg makes of it, in a line."""
    import base64
    import io
    from PIL import Image
    pixels = Image.open(io.BytesIO(file)).convert("RGB").tobytes()
    print(name, size[0], size[1], base64.b64encode(file).decode(), base64.b64encode(pixels).decode(), sep="\t")


def fixtures():
    """A few of the layouts."""
    size = (13, 21)
    few = [f"{name}, {how}" for name in ("420", "422") for how in SCANS]
    few += ["444, three", "440, three", "410, three", "31, one", "31, three", "13, three", "mixed, backwards", "fine chroma, one", "fine chroma, three"]
    few += ["rgb 420, three", "rgb 444, three", "rgb by numbers 444, one", "rgb by numbers 420, three", "cmyk 420, one", "cmyk 420, four",
            "ycck 420, one", "ycck 422, two", "grey (3, 1)", "grey (2, 2)"]
    few = [name + ", 21x13, restart 0" for name in few] + ["420, three, 21x13, restart 3", "24, one, 21x13, restart 0, progressive"]
    few += [f"arithmetic {name}" for name in ("420, one, 21x13, restart 0", "31, one, 21x13, restart 0, -progressive", "rgb 444, one, 21x13, restart 0, -progressive -restart 2B",
                                              "cmyk 420, one, 21x13, restart 0, -progressive", "grey (1, 1), 21x13, restart 0, -restart 1", "422, one, 21x13, restart 0, -progressive -restart 2B")]
    for name, file in [*layouts([size]), *arithmetics([size])]:
        if name in few:
            few.remove(name)
            fixture(name, size, file)
    assert not few, few
    size = (9, 70)
    few = ["between 422, three, 70x9, restart 0", "between both, backwards, 70x9, restart 3", "between of 21, three, 70x9, restart 0", "between 421, luma, chroma, 70x9, restart 1, progressive"]
    few += ["between 244, 70x9, refining, restart", "between of 21, 70x9, arithmetic"]
    for name, file in [*layouts([size]), *betweens([size])]:
        if name in few:
            few.remove(name)
            fixture(name, size, file)
    assert not few, few


if __name__ == "__main__":
    fixtures()
