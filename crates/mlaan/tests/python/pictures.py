"""Pictures of every format but JPEG, in the kinds that people have: TIFF of all meanings and layouts, a GIF's picture anywhere on its
screen, orientation in every place that says it.

`pictures` gives kind, name, file, and whether it is turned; what is right is what Pillow makes of them.
"""

import io
import struct
import zlib

from PIL import Image, PngImagePlugin

BYTE, ASCII, SHORT, LONG, LONG8 = 1, 2, 3, 4, 16
FORMS = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", LONG8: "Q"}


def smooth(height, width):
    image = Image.new("RGB", (width, height))
    image.putdata([(x * 19 % 256, 255 - y * 13 % 256, (x + y) * 11 % 256) for y in range(height) for x in range(width)])
    return image


def flat(image):
    return getattr(image, "get_flattened_data", image.getdata)()


def encoded(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def tiff(chunks, tags, order="<", big=False, tiles=None):
    """A TIFF of compressed chunks. `tags`: kind and values of each."""
    head, number, count, place = (16, "Q", "Q", LONG8) if big else (8, "I", "H", LONG)
    data, at, places = b"".join(chunks), head, []
    for chunk in chunks:
        places.append(at)
        at += len(chunk)
    offsets, lengths = (324, 325) if tiles else (273, 279)
    tags = {**tags, offsets: (place, places), lengths: (LONG, [len(chunk) for chunk in chunks])}
    if tiles:
        tags |= {322: (SHORT, [tiles[1]]), 323: (SHORT, [tiles[0]])}
    start, more = head + len(data), b""
    entry = struct.calcsize("<HH" + number * 2)
    behind = start + struct.calcsize("<" + count) + entry * len(tags) + struct.calcsize("<" + number)
    directory = struct.pack(order + count, len(tags))
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(order + FORMS[kind] * len(values), *values)
        width = struct.calcsize("<" + number)
        if len(value) > width:
            value, more = struct.pack(order + number, behind + len(more)), more + value
        directory += struct.pack(order + "HH" + number, tag, kind, len(values)) + value.ljust(width, b"\0")
    directory += struct.pack(order + number, 0)
    magic = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start)
    return (b"II" if order == "<" else b"MM") + magic + data + directory + more


def packed(rows, bits, order):
    """Rows of numbers as bytes."""
    if bits >= 8:
        return b"".join(struct.pack(order + {8: "B", 16: "H"}[bits] * len(row), *row) for row in rows)
    out = b""
    for row in rows:
        text = "".join(format(v, f"0{bits}b") for v in row)
        text += "0" * (-len(text) % 8)
        out += bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8))
    return out


def samples(pixels, meaning, bits=8, order="<", planar=False, tiles=None, strip=None, big=False, compression=1, more=None):
    """A TIFF of rows of pixels, each a tuple of samples."""
    height, width, count = len(pixels), len(pixels[0]), len(pixels[0][0])
    bands = [[[(p[c],) for p in row] for row in pixels] for c in range(count)] if planar else [pixels]
    chunks = []
    for band in bands:
        none = (0,) * len(band[0][0])
        if tiles:
            at = lambda y, x: band[y][x] if y < height and x < width else none
            parts = [[[at(y, x) for x in range(left, left + tiles[1])] for y in range(top, top + tiles[0])]
                     for top in range(0, height, tiles[0]) for left in range(0, width, tiles[1])]
        else:
            parts = [band[top:top + (strip or height)] for top in range(0, height, strip or height)]
        chunks += [packed([[v for p in row for v in p] for row in part], bits, order) for part in parts]
    if compression == 8:
        chunks = [zlib.compress(chunk) for chunk in chunks]
    tags = {256: (SHORT, [width]), 257: (LONG, [height]), 258: (SHORT, [bits] * count), 259: (SHORT, [compression]),
            262: (SHORT, [meaning]), 277: (SHORT, [count]), 284: (SHORT, [2 if planar else 1]), **(more or {})}
    if not tiles:
        tags[278] = (SHORT, [strip or height])
    return tiff(chunks, tags, order, big, tiles)


def rows(image):
    values = [p if isinstance(p, tuple) else (p,) for p in flat(image)]
    return [values[y * image.width:(y + 1) * image.width] for y in range(image.height)]


def tiffs():
    image = smooth(13, 21)
    grey, alpha = image.convert("L"), image.split()[0]
    colours = {320: (SHORT, [v * 257 for c in range(3) for v in [(i * (7 + c) + c) % 256 for i in range(256)]])}
    extra = lambda kind: {338: (SHORT, [kind])}
    rgb = rows(image)
    for order in "<>":
        for name, how in (("", {}), (", strips", {"strip": 5}), (", tiles", {"tiles": (16, 16)}), (", BigTIFF", {"big": True}), (", deflate", {"compression": 8})):
            if order == ">" and "big" in how:
                # Pillow reads none of this byte order.
                continue
            how = {**how, "order": order}
            tail = f"{name} {order}"
            yield "exact", "palette" + tail, samples(rows(grey), 3, more=colours, **how)
            yield "exact", "rgb" + tail, samples(rgb, 2, **how)
            yield "exact", "grey and alpha" + tail, samples(rows(Image.merge("LA", (grey, alpha))), 1, more=extra(2), **how)
            yield "rounded", "grey of 16 bits" + tail, samples([[(p[0] * 255 + x,) for x, p in enumerate(row)] for row in rows(grey)], 1, 16, **how)
            yield "rounded", "rgb of 16 bits" + tail, samples([[tuple(v * 255 + x for v in p) for x, p in enumerate(row)] for row in rgb], 2, 16, **how)
    for bits in (1, 2, 4):
        small = [[(p[0] >> (8 - bits),) for p in row] for row in rows(grey)]
        for how in ({}, {"strip": 4}, {"compression": 8}):
            yield "exact", f"grey of {bits} bits {how}", samples(small, 1, bits, **how)
            yield "exact", f"inverted grey of {bits} bits {how}", samples(small, 0, bits, **how)
            few = {320: (SHORT, [v * 257 for c in range(3) for v in [(i * 15 + c) % 256 for i in range(1 << bits)]])}
            yield "exact", f"palette of {bits} bits {how}", samples(small, 3, bits, more=few, **how)
    yield "exact", "inverted grey", samples(rows(grey), 0)
    by_alpha = [[tuple(v * p[3] // 255 for v in p[:3]) + p[3:] for p in row] for row in rows(Image.merge("RGBA", (*image.split(), alpha)))]
    for kind, name in ((0, "unspecified"), (1, "associated"), (2, "own")):
        yield "exact", f"rgb and alpha, {name}", samples(by_alpha, 2, more=extra(kind))
        yield "exact", f"rgb and alpha of 16 bits, {name}", samples([[tuple(v * 257 for v in p) for p in row] for row in by_alpha], 2, 16, more=extra(kind))
    yield "exact", "rgb and two more", samples([[p + (7,) for p in row] for row in by_alpha], 2, more={338: (SHORT, [2, 0])})
    inks = [[(*p, (x * 9) % 256) for x, p in enumerate(row)] for row in rgb]
    yield "exact", "cmyk", samples(inks, 5)
    for compression in (1, 8):
        yield "exact", f"rgb in planes, {compression}", samples(rgb, 2, planar=True, compression=compression)
        yield "exact", f"cmyk in planes, {compression}", samples(inks, 5, planar=True, compression=compression)
        yield "exact", f"rgb in planes of tiles, {compression}", samples(rgb, 2, planar=True, tiles=(16, 16), compression=compression)
    for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK"):
        source = Image.merge("LA", (grey, alpha)) if mode == "LA" else Image.merge("RGBA", (*image.split(), alpha)) if mode == "RGBA" else image.convert(mode)
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "group4"):
            if compression != "group4" or mode == "1":
                yield "exact", f"{mode} by Pillow, {compression}", encoded(source, "TIFF", compression=compression)
    for quality in (75, 95):
        yield "near", f"YCbCr in JPEG, {quality}", encoded(image.convert("YCbCr"), "TIFF", compression="jpeg", quality=quality)
        yield "near", f"RGB in JPEG, {quality}", encoded(image, "TIFF", compression="jpeg", quality=quality)
        yield "near", f"grey in JPEG, {quality}", encoded(grey, "TIFF", compression="jpeg", quality=quality)
    yield "exact", "two pictures", encoded(image, "TIFF", save_all=True, append_images=[image.rotate(90)])


def codes(numbers, bits):
    """LZW codes that clear before they grow."""
    out, held, count, clear = bytearray(), 0, 0, 1 << bits
    stream = []
    for i, number in enumerate(numbers):
        if i % (clear - 2) == 0:
            stream.append(clear)
        stream.append(number)
    for code in [*stream, clear + 1]:
        held |= code << count
        count += bits + 1
        while count >= 8:
            out.append(held & 255)
            held >>= 8
            count -= 8
    out.append(held & 255)
    return bytes([bits]) + b"".join(bytes([len(out[i:i + 255])]) + out[i:i + 255] for i in range(0, len(out), 255)) + b"\0"


def gif(screen, size, at, common=True, own=False, transparent=None, background=0, disposal=0, interlaced=False, colours=16):
    palette = lambda step: b"".join(bytes([i * step % 256, i * 91 % 256, 255 - i * 15]) for i in range(colours))
    bits = (colours - 1).bit_length() - 1
    file = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80 | bits if common else 0, background, 0)
    file += palette(37) if common else b""
    if transparent is not None or disposal:
        file += bytes([0x21, 0xF9, 4, disposal << 2 | (transparent is not None), 0, 0, transparent or 0, 0])
    file += b"\x2C" + struct.pack("<HHHHB", *at, *size, (0x80 | bits if own else 0) | interlaced << 6)
    file += palette(11) if own else b""
    return file + codes([(i * 5 + i // size[0]) % 16 for i in range(size[0] * size[1])], 4) + b"\x3B"


def gifs():
    places = [((20, 14), (20, 14), (0, 0)), ((20, 14), (9, 7), (4, 3)), ((20, 14), (20, 14), (4, 3)), ((10, 8), (20, 14), (0, 0)), ((20, 14), (9, 7), (15, 10)), ((20, 14), (20, 7), (0, 3))]
    for screen, size, at in places:
        for common, own in ((True, False), (True, True), (False, True), (False, False)):
            for transparent, background in ((None, 0), (None, 3), (0, 0), (5, 3)):
                for disposal in (0, 2, 3):
                    name = f"{size} at {at} of {screen}, tables {common} {own}, transparent {transparent}, {background}, {disposal}"
                    yield "exact", name, gif(screen, size, at, common, own, transparent, background, disposal)
    yield "exact", "interlaced", gif((20, 14), (11, 9), (3, 3), interlaced=True)
    yield "exact", "few colours", gif((20, 14), (11, 9), (3, 3), colours=4)


def turned():
    image = smooth(13, 21)
    for value in range(10):
        exif, other = Image.Exif(), Image.Exif()
        exif[0x112], other[0x10F] = value, "maker"
        block = exif.tobytes()
        block = block.removeprefix(b"Exif\0\0")
        profile = f"\nexif\n{len(block):8}\n{block.hex()}\n"
        for form, text in (("attribute", f'tiff:Orientation="{value}"/>'), ("element", f"><tiff:Orientation>{value}</tiff:Orientation>")):
            xmp = f"<x:xmpmeta><rdf:Description {text}</x:xmpmeta>"
            for name, first in (("alone", None), ("beside EXIF without", other), ("beside EXIF of 3", None)):
                if name == "beside EXIF of 3":
                    first = Image.Exif()
                    first[0x112] = 3
                more = {"exif": first} if first else {}
                tail = f"{value} in XMP, {form}, {name}"
                yield "turned jpeg", f"JPEG, {tail}", encoded(image, "JPEG", quality=90, xmp=xmp.encode(), **more)
                yield "turned", f"WebP, {tail}", encoded(image, "WEBP", lossless=True, xmp=xmp.encode(), **more)
                for packed_text in (False, True):
                    info = PngImagePlugin.PngInfo()
                    info.add_itxt("XML:com.adobe.xmp", xmp, zip=packed_text)
                    yield "turned", f"PNG, {tail} {packed_text}", encoded(image, "PNG", pnginfo=info, **more)
            yield "turned", f"TIFF, {value} in XMP, {form}", samples(rows(image), 2, more={700: (BYTE, list(xmp.encode()))})
        for packed_text in (False, True):
            for more in ({}, {"exif": other}):
                info = PngImagePlugin.PngInfo()
                info.add_text("Raw profile type exif", profile, zip=packed_text)
                yield "turned", f"PNG, {value} in a profile, {packed_text} {list(more)}", encoded(image, "PNG", pnginfo=info, **more)
        # Pillow reads no large files of the other byte order.
        for order, big in (("<", False), (">", False), ("<", True)):
            yield "turned", f"TIFF, {value} {order} {big}", samples(rows(image), 2, order=order, big=big, more={274: (SHORT, [value])})


def pictures():
    for kind, name, file in [*tiffs(), *gifs()]:
        yield kind, name, file, False
    for kind, name, file in turned():
        yield kind, name, file, True


def rgb(image):
    """As RGB; of grey with 16 bits Pillow's own `convert` makes nearly all white."""
    if image.mode.startswith("I"):
        grey = Image.new("L", image.size)
        grey.putdata([(v + 128) // 257 for v in flat(image)])
        image = grey
    return image.convert("RGB")


def fixtures():
    """A few with the pixels that Pillow makes of them, each a line: name, sides, file, pixels."""
    import base64
    from PIL import ImageOps
    few = {"palette, tiles >", "palette, BigTIFF <", "grey and alpha <", "grey of 16 bits, strips >", "rgb of 16 bits <", "grey of 2 bits {}", "inverted grey of 4 bits {'strip': 4}",
           "palette of 4 bits {}", "rgb and alpha, associated", "rgb and alpha of 16 bits, associated", "rgb and two more", "cmyk", "cmyk in planes, 8",
           "rgb in planes of tiles, 1", "RGB by Pillow, zstd", "L by Pillow, tiff_lzw", "1 by Pillow, group4", "YCbCr in JPEG, 95", "two pictures", "interlaced", "few colours",
           "(9, 7) at (4, 3) of (20, 14), tables True False, transparent None, 3, 2", "(9, 7) at (4, 3) of (20, 14), tables True True, transparent 5, 3, 0",
           "(9, 7) at (15, 10) of (20, 14), tables False False, transparent None, 0, 0", "JPEG, 6 in XMP, attribute, alone", "PNG, 8 in XMP, element, alone True",
           "WebP, 5 in XMP, element, beside EXIF of 3", "TIFF, 7 in XMP, attribute", "PNG, 6 in a profile, True []", "PNG, 8 in a profile, False ['exif']", "TIFF, 6 < True"}
    for kind, name, file, is_turned in pictures():
        if name in few:
            few.remove(name)
            image = Image.open(io.BytesIO(file))
            image = rgb(ImageOps.exif_transpose(image) if is_turned else image)
            print(name, image.height, image.width, base64.b64encode(file).decode(), base64.b64encode(image.tobytes()).decode(), sep="\t")
    assert not few, few


if __name__ == "__main__":
    fixtures()
