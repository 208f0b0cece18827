#!/usr/bin/env python3
"""An independent look at a checkpoint with Python's own zipfile and pickle: a line for each tensor, "NAME TYPE SHAPE SUM FIRST LAST".
torch_reader.py FILE; torch_reader.py --rewrite deflate|zip64 FILE TO; torch_reader.py --evil TO"""
import collections, os, pickle, struct, sys, zipfile

FORMATS = {"HalfStorage": ("e", 2), "BFloat16Storage": (None, 2), "FloatStorage": ("f", 4), "DoubleStorage": ("d", 8), "LongStorage": ("q", 8),
           "IntStorage": ("i", 4), "ShortStorage": ("h", 2), "CharStorage": ("b", 1), "ByteStorage": ("B", 1), "BoolStorage": ("?", 1)}

def reader(path):
    z = zipfile.ZipFile(path)
    assert z.testzip() is None
    name = [n for n in z.namelist() if n.endswith("data.pkl")][0]
    prefix = name[:-len("data.pkl")]

    def rebuild(storage, offset, shape, stride, *rest):
        kind, key, count = storage
        data = z.read(prefix + "data/" + key)
        letter, size = FORMATS[kind]
        if letter:
            numbers = struct.unpack("<%d%s" % (count, letter), data[:count * size])
        else:
            numbers = [struct.unpack("<f", b"\0\0" + data[2 * i:2 * i + 2])[0] for i in range(count)]
        def walk(at, dims):
            if not dims:
                yield numbers[at]
                return
            for i in range(shape[len(shape) - len(dims)]):
                yield from walk(at + i * stride[len(shape) - len(dims)], dims[1:])
        return kind, tuple(shape), list(walk(offset, shape)) if count else []

    class Anything:
        def __new__(cls, *a):
            return object.__new__(cls)
        def __init__(self, *a):
            pass
        def __setstate__(self, state):
            pass

    class Dictionary(collections.OrderedDict):
        def __setstate__(self, state):
            pass

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                return rebuild
            if (module, name) == ("torch._utils", "_rebuild_parameter"):
                return lambda t, *rest: t
            if (module, name) == ("collections", "OrderedDict"):
                return Dictionary
            if module == "torch":
                return name
            return Anything
        def persistent_load(self, pid):
            return pid[1], pid[2], pid[4]
    return Unpickler(z.open(name)).load()

if sys.argv[1] == "--rewrite":
    source, to = zipfile.ZipFile(sys.argv[3]), zipfile.ZipFile(sys.argv[4], "w", zipfile.ZIP_DEFLATED if sys.argv[2] == "deflate" else zipfile.ZIP_STORED)
    for name in source.namelist():
        with to.open(name, "w", force_zip64=sys.argv[2] == "zip64") as f:
            f.write(source.read(name))
    to.close()
elif sys.argv[1] == "--evil":
    class Evil:
        def __reduce__(self):
            return os.system, ("touch " + sys.argv[2] + ".ran",)
    with zipfile.ZipFile(sys.argv[2], "w") as z:
        z.writestr("archive/data.pkl", pickle.dumps({"state_dict": {"a": Evil()}}, 2))
else:
    for name, (kind, shape, numbers) in sorted(reader(sys.argv[1])["state_dict"].items()):
        name = name[len("module."):] if name.startswith("module.") else name
        print(name, kind, "x".join(map(str, shape)) or "-", "%.17g" % sum(numbers), *(["%.17g" % numbers[0], "%.17g" % numbers[-1]] if numbers else []))
