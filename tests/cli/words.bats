# Comments and documents name files, functions and sections that exist (tests/words.py).
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    command -v python3 > /dev/null || skip "no python3"
}

@test "every file, name and section that a comment or document of the repository mentions exists" {
    run python3 tests/words.py .
    echo "$output"
    [ "$status" -eq 0 ] && [ -z "$output" ]
}

# A tree in which everything mentioned exists.
tree() {
    rm -rf "$T/tree"
    mkdir -p "$T/tree"/{lib/base,docs,tools,kernels}
    cd "$T/tree"
    printf '# The page\n\n## 2 Sums\n\n### 2.1 Pairs\n\nSee lib/base/sum.h and `nh_sum`. Stored by make: lib/libnextham.a.\n' > docs/page.md
    printf '/* sum.h - sums (docs/page.md 2.1), as nh_sum_X does. <math.h>: math.h. */\n#define NH_SUM 1\nint nh_sum(int a); // sum.c\n' > lib/base/sum.h
    printf '#include <math.h>\n#include "base/sum.h"\nint nh_sum_free(void);\nint nh_sum(int a) { const char *s = "/* nh_other */"; return *s + a; }\n' > lib/base/sum.c
    printf '#!/bin/sh\n# Calls nothing of docs/page.md, section 2.\necho nh_other gone.c\n' > tools/run.sh
    printf '// kernels/sum.cu: NH_SUM, nh_sum_*\n' > kernels/sum.cu
    printf 'all: # from tools/run.sh\n' > Makefile
}

@test "the check sees a file, a folder, a name or a section that does not exist, in every language" {
    cd "$BATS_TEST_DIRNAME/../.."
    words=$PWD/tests/words.py
    tree
    run python3 "$words" "$T/tree"
    [ "$status" -eq 0 ] && [ -z "$output" ]
    wrong() { # wrong FILE LINE WORD: with LINE appended, that FILE is reported with WORD
        tree
        printf '%s\n' "$2" >> "$1"
        run python3 "$words" "$T/tree"
        [ "$status" -eq 1 ] && [ "$(wc -l <<< "$output")" -eq 1 ] && [[ $output == "$1:"*": $3: "* ]] || { echo "$1, $2: $output"; return 1; }
    }
    wrong lib/base/sum.c '/* as gone.c */' gone.c
    wrong lib/base/sum.c '/* two lines:
 * nh_absent */' nh_absent
    wrong lib/base/sum.h '// base/gone.h' base/gone.h
    wrong lib/base/sum.h '/* (docs/page.md 2.1, 2.2) */' 'docs/page.md 2.2'
    wrong lib/base/sum.h '/* lib/gone */' lib/gone
    wrong kernels/sum.cu '/* nh_absent_* */' nh_absent_
    wrong kernels/sum.cu '// NH_ABSENT' NH_ABSENT
    wrong tools/run.sh 'true # docs/page.md 3' 'docs/page.md 3'
    wrong tools/run.sh '# by gone.awk' gone.awk
    wrong Makefile '# lib/base/gone.h' lib/base/gone.h
    wrong docs/page.md 'as `nh_absent` says' nh_absent
    wrong docs/page.md '[other](gone.md)' gone.md
    wrong tools/run.sh 'cat ../shared/data' ../shared
}
