# Common to the command-line tests; they run from the repository's root.
BIN=${NH_BIN:-$PWD/bin}
DATA=$PWD/tests/data
SHARED=$PWD/../shared
