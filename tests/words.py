#!/usr/bin/env python3
"""words.py [FOLDER]: what comments and documents mention exists.

Checked in the comments of C, CUDA, shell, make, bats, Python and YAML, and in every word of Markdown:
files and folders of the repository, names that begin with nh_, nhk_, NH_, NHK_, sections of docs/*.md ("docs/network.md 3.4"),
and that nothing but a test points outside the repository. Prints "FILE:LINE: WORD: what is wrong"; exit status 1 where it did.
CHANGELOG.md may name what is gone. Strings are no comments."""
import os
import re
import subprocess
import sys

C = (".c", ".h", ".cu", ".cc", ".inc", ".def")
HASH = (".sh", ".bash", ".bats", ".py", ".mk", ".yaml", ".yml", ".awk")
HASH_NAMES = ("Makefile", "Snakefile", "run", "throughput")
TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', re.S)
FILE = re.compile(r"(?<![\w/.*}$<>{)-])((?:[\w-]+/)*[\w-]+(?:\.[\w-]+)*\.(?:c|h|cu|cc|md|sh|bash|bats|cdl|awk|mk|py|inc|def))(?![\w/(-])")
NAME = re.compile(r"(?<![\w$-])((?:nhk?|NHK?)_\w+)(\*?)")
SECTION = re.compile(r"\b(docs/[\w-]+\.md),? (?:sections? )?(\d+(?:\.\d+)?)((?:(?:,| and| to) \d+\.\d+)*)")
MADE = re.compile(r"(lib|kernels)/lib\w+\.(a|so)")  # by make
PLACEHOLDER = re.compile(r"(^|/)(NAME|KIND|FILE|[Xx]|x_internal)(\.|$)")


def listed(root):
    git = subprocess.run(["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard"],
                         capture_output=True, text=True) if os.path.exists(os.path.join(root, ".git")) else None
    if git and git.returncode == 0:
        return sorted(f for f in set(git.stdout.split("\n")) if f and os.path.isfile(os.path.join(root, f)))
    found = []
    for folder, _, files in os.walk(root):
        found += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(f for f in found if not re.match(r"(\.git|build|bin|man|demo)(/|$)", f))  # an unpacked archive


def split(path, text):
    """(comments, code): of the same length as the text, blanks for what belongs to the other."""
    name = os.path.basename(path)
    if path.endswith(".md") or name == "CITATION.cff":
        return text, ""
    comment = [" " if ch != "\n" else ch for ch in text]
    code = list(text)
    if path.endswith(C):
        spans = [m.span() for m in TOKEN.finditer(text) if m.group().startswith(("/*", "//"))]
    elif path.endswith(".cdl"):
        spans = [m.span() for m in re.finditer(r"//[^\n]*", text)]
    elif path.endswith(HASH) or name in HASH_NAMES or text.startswith("#!"):
        spans = [m.span() for m in re.finditer(r"(?:(?<=\s)|^)#(?!include|define|if|end|else)[^\n]*", text, re.M)]
    else:
        return "", ""
    for a, b in spans:
        for i in range(a, b):
            if text[i] != "\n":
                comment[i], code[i] = text[i], " "
    return "".join(comment), "".join(code)


def main(root):
    files = listed(root)
    parts, text, code = {}, {}, []
    for f in files:
        try:
            with open(os.path.join(root, f), encoding="utf-8") as h:
                text[f] = h.read()
        except UnicodeDecodeError:
            continue
        parts[f], its_code = split(f, text[f])
        code.append(its_code)
    code = "\n".join(code)
    names = set(re.findall(r"\w+", code))
    names |= {n[:-2] for n in names if n.endswith(("_f", "_d"))}
    pasted = tuple(set(re.findall(r"##(_\w+)", code)))  # name##_free
    foreign = set(re.findall(r"#\s*include\s*<([^>]+)>", code))
    folders = {p for f in files for p in [f[:i] for i in range(len(f)) if f[i] == "/"]}
    top = "|".join(sorted({re.escape(f.split("/")[0]) for f in files if "/" in f and not f.startswith(".")}))
    where = re.compile(r"(?<![\w/.$}-])((?:%s)/[\w./-]*\w)([*{]?)" % top) if top else None
    heads = {f: set(re.findall(r"^#+ (\d+(?:\.\d+)?)\b", text[f], re.M)) for f in text if f.endswith(".md")}
    bad = []

    def exists(word):
        return any(f == word or f.endswith("/" + word) for f in files) or word in foreign

    def known(word, star):
        if word in ("nh_name", "nhk_name"):
            return True
        if star or word.endswith("_") or "X" in word[3:].replace("MAX", "").replace("EXT", "").replace("INDEX", ""):
            pattern = re.compile(re.sub(r"X", r"\\w+", word) + r"\w*$")
            return word in names or any(pattern.match(n) for n in names)
        if word in names or word[:-2] in names and word.endswith(("_f", "_d")):
            return True
        return any(word.endswith(p) and word[:-len(p)] in names for p in pasted)

    for f, comment in parts.items():
        if f in ("tests/words.py", "tests/cli/words.bats"):  # their examples
            continue
        history = os.path.basename(f) == "CHANGELOG.md"

        def report(m, word, what):
            line = comment.count("\n", 0, m.start()) + 1
            bad.append("%s:%d: %s: %s" % (f, line, word, what))

        plain = re.sub(r"\w+://\S+", lambda m: " " * len(m.group()), comment)
        if not history:
            for m in FILE.finditer(plain):
                if not exists(m.group(1)) and not PLACEHOLDER.search(m.group(1)):
                    report(m, m.group(1), "no such file")
            for m in NAME.finditer(plain):
                if not known(m.group(1), m.group(2)):
                    report(m, m.group(1), "no such name")
            for m in where.finditer(plain) if where else ():
                w = m.group(1).rstrip(".")
                if FILE.match(w) or MADE.fullmatch(w) or w in folders or w in files:
                    continue
                if not any(x.startswith(w) for x in files) and not PLACEHOLDER.search(w):
                    report(m, w, "no such file or folder")
        for m in SECTION.finditer(plain):
            for n in [m.group(2)] + re.findall(r"\d+\.\d+", m.group(3)):
                if m.group(1) in heads and n not in heads[m.group(1)]:
                    report(m, "%s %s" % (m.group(1), n), "no such section")
        if not f.startswith("tests/") and "../shared" in text[f]:
            bad.append("%s:%d: ../shared: outside the repository" % (f, text[f][:text[f].index("../shared")].count("\n") + 1))
    print("\n".join(bad), end="\n" if bad else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
