#!/usr/bin/env python3
"""Gets a backup out of a repository without lifeboat: recover.py REPOSITORY BACKUP DIRECTORY

Each part becomes a file, numbered in the order in which they are to be loaded: statements and tagged rows as SQL, other rows and
bytes as the engine wrote them. Needs Python 3 and, for zstd, the module compression.zstd, pyzstd or zstandard, or the program zstd.
A .sql file of a repository needs no recovery, and a .tar file holds such a repository. A sealed one needs the program age, and
the path of the identity file in AGE_IDENTITY. Signatures are not looked at. See format.md.
"""
import gzip, json, math, os, pathlib, re, struct, subprocess, sys

LAYOUTS = ["opaque", "length-encoded", "copy-text", "tagged"]

def unzstd(data):
    for name in ("compression.zstd", "pyzstd", "zstandard"):
        try:
            return __import__(name, fromlist=["decompress"]).decompress(data)
        except ImportError:
            pass
    return subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout

def unseal(data):
    if not data.startswith(b"age-encryption.org/"):
        return data
    age = ["age", "-d", "-i", os.environ["AGE_IDENTITY"]]
    return subprocess.run(age, input=data, stdout=subprocess.PIPE, check=True).stdout

class Input:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        assert self.at <= len(self.data), "cut off"
        return self.data[self.at - n:self.at]

    def number(self, n, signed=False):
        return int.from_bytes(self.take(n), "little", signed=signed)

    def varint(self):
        byte = self.number(1)
        return byte if byte < 128 else byte - 128 + (self.varint() << 7)

    def planes(self, count, width):
        if width == 0:
            return [0] * count
        return [int.from_bytes(value, "little") for value in zip(*[self.take(count) for _ in range(width)])]

    def lengths(self, count):
        width = self.number(1)
        return self.planes(count, width) if width else [self.number(4)] * count

def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

def printed(value, scale):
    digits = str(abs(value)).zfill(scale + 1)
    point = len(digits) - scale
    return ("-" * (value < 0) + digits[:point] + "." * (scale > 0) + digits[point:]).encode()

def column(n, s, rows, tagged):
    """A column's fields as (tag, content), or None where they are NULL."""
    head = n.number(1)
    if head & 3 == 1:
        return [None] * rows
    bits = n.take((rows + 7) // 8) if head & 3 == 2 else bytes(rows)
    nulls = [bits[row // 8] >> row % 8 & 1 for row in range(rows)]
    count = rows - sum(nulls)
    tag = n.number(1) if tagged else 3
    tags = [tag] * count if tag else n.take(count)
    if head >> 2 == 0:
        fields = [s.take(length) for length in n.lengths(count)]
    elif head >> 2 == 1:
        scale, width, least = n.number(1), n.number(1), n.number(8, True)
        values = [n.number(8, True)] if width & 128 else []
        for distance in n.planes(count - len(values), width & 127):
            values.append(least + distance + (values[-1] if width & 128 else 0))
        values = [(value + 2**63) % 2**64 - 2**63 for value in values]
        fields = [varint((v << 1 ^ v >> 63) % 2**64) if tag == 1 else printed(v, scale) for v in values]
    else:
        fields = [bytes(field) for field in zip(*[n.take(count) for _ in range(n.number(1))])]
    present = zip(tags, fields)
    return [None if null else next(present) for null in nulls]

def field(layout, value):
    if value is None:
        return [b"", b"\xfb", b"\\N", b"\0"][layout]
    tag, content = value
    size = len(content)
    if layout == 3:
        return bytes([tag]) + (varint(size) if tag > 2 else b"") + content
    for limit, first, width in [(251, b"", 1), (1 << 16, b"\xfc", 2), (1 << 24, b"\xfd", 3), (1 << 64, b"\xfe", 8)]:
        if layout == 1 and size < limit:
            return first + size.to_bytes(width, "little") + content
    return content

def decode_chunk(data):
    """The segments of a chunk, each as ("rows", layout, columns, [row, ...]), ("bytes", 0, 0, bytes), or
    ("fragment", 1 if it begins its row + 2 if it ends it, 0, bytes)."""
    chunk, segments, size = Input(data), [], 0
    assert chunk.take(4) == b"LBC\1", "not a chunk of version 1"
    codec = {b"zstd": unzstd, b"gzip": gzip.decompress, b"none": bytes}[chunk.take(chunk.number(1))]
    total, _, count = struct.unpack("<3I", chunk.take(12))
    while len(segments) < count:
        _, kind, detail, columns, items, raw, n1, n2, s1, s2 = struct.unpack("<IBBH6I", chunk.take(32))
        n, s = [Input(codec(frame) if frame else b"") for frame in (chunk.take(n1), chunk.take(s1))]
        assert (len(n.data), len(s.data)) == (n2, s2), "damaged"
        size += raw
        if kind == 0:
            found = [(0, detail, columns, n.lengths(items), 0)]
        elif kind == 4:
            found = []
            for _ in range(items):
                kind, detail = n.take(2)
                columns, rows = (n.varint(), n.varint()) if kind == 0 else (0, 0)
                found.append((kind, detail, columns, rows, n.varint()))
            found = [(k, d, c, [n.varint() for _ in range(rows)], length) for k, d, c, rows, length in found]
        else:
            found = [(kind, detail, columns, [], raw)]
        for kind, detail, columns, lengths, length in found:
            if kind == 0:
                content = [s.take(length) for length in lengths]
            elif kind == 1:
                glue, end = (b"\t", b"\n") if detail == 2 else (b"", b"")
                by_column = [column(n, s, items, detail == 3) for _ in range(columns)]
                content = [glue.join(field(detail, value) for value in row) + end for row in zip(*by_column)]
            else:
                content = s.take(length)
            name, detail = ("rows", LAYOUTS[detail]) if kind < 2 else (["bytes", "fragment"][kind - 2], detail)
            segments.append((name, detail, columns, content))
    assert size == total and chunk.at == len(data), "damaged"
    return segments

def varint_at(row, at):
    value = shift = 0
    while True:
        value, shift, at = value | (row[at] & 127) << shift, shift + 7, at + 1
        if row[at - 1] < 128:
            return value, at

def literals(row):
    """The fields of a tagged row, in SQL."""
    at = 0
    while at < len(row):
        tag, at = row[at], at + 1
        if tag == 0:
            yield "NULL"
        elif tag == 2:
            value, at = struct.unpack_from("<d", row, at)[0], at + 8
            yield repr(value) if math.isfinite(value) else "9e999" if value > 0 else "-9e999"
        else:
            value, at = varint_at(row, at)
            if tag == 1:
                yield str(value >> 1 ^ -(value & 1))
                continue
            content, at = row[at:at + value], at + value
            try:
                text = content.decode() if tag == 3 and b"\0" not in content else None
            except UnicodeDecodeError:
                text = None
            if text is not None:
                yield "'" + text.replace("'", "''") + "'"
            else:
                yield ("CAST(X'%s' AS TEXT)" if tag == 3 else "X'%s'") % content.hex()

def quoted(name):
    return '"' + name.replace('"', '""') + '"'

def rows_of(segments):
    """Whole rows, fragments joined."""
    long = b""
    for name, detail, _, content in segments:
        if name == "rows":
            yield from content
        elif name == "fragment":
            long = content if detail & 1 else long + content
            if detail & 2:
                yield long

def recover(repository, backup, directory):
    header, _, body = (repository / "manifests" / backup).read_bytes().split(b"\n", 2)
    header = json.loads(header)
    decode = {"zstd": unzstd, "gzip": gzip.decompress, "none": bytes}[header["body"]["codec"]]
    sealed = header["body"]["sealed"]
    names = []
    for entry in header["lists"]:
        chunks = (repository / "lists" / entry["id"][:2] / entry["id"]).read_bytes()[8:]
        for at in range(0, len(chunks), 72):
            names.append(chunks[at:at + 32].hex() + ("." + chunks[at + 32:at + 40].hex() if sealed else ""))
    decoded = {}
    def chunk(place):
        if place not in decoded:
            decoded.clear()
            decoded[place] = decode_chunk(unseal((repository / "chunks" / names[place][:2] / names[place]).read_bytes()))
        return decoded[place]
    part_list = b"".join(s[3] for place in json.loads(decode(unseal(body)))["part-list"] for s in chunk(place))
    for number, part in enumerate(map(json.loads, part_list.splitlines())):
        segments = (s for place, first, count in part["spans"] for s in chunk(place)[first:first + count])
        object, kind = part["object"], part["kind"]
        layout = kind["rows"]["layout"] if isinstance(kind, dict) else kind
        name = re.sub(r"[^A-Za-z0-9_-]", "_", f"{number:06}-{part['phase']}-{object['kind']}-{object['name'][:80]}")
        with open(directory / (name + (".sql" if layout in ("sql", "tagged") else ".rows")), "wb") as file:
            if layout == "sql":
                file.writelines(statement + b";\n" for statement in rows_of(segments))
            elif layout == "tagged":
                columns = ", ".join(quoted(column["name"]) for column in kind["rows"]["columns"])
                into = f"INSERT INTO {quoted(object['name'])} ({columns}) VALUES "
                file.writelines(f"{into}({', '.join(literals(row))});\n".encode() for row in rows_of(segments))
            elif isinstance(kind, dict):
                file.writelines(rows_of(segments))
            else:
                file.writelines(s[3] for s in segments)

if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    repository, directory = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
    directory.mkdir(parents=True, exist_ok=True)
    recover(repository, sys.argv[2], directory)
