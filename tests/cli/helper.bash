# Common to the command-line tests; they run from the repository's root.
BIN=${NH_BIN:-$PWD/bin}
DATA=$PWD/tests/data
SHARED=$PWD/../shared

# text FILE VARIABLE: its data as ncdump shows them, without blanks; values: its numbers, one a line
text() {
    ncdump -p 9,17 -v "$2" "$1" | awk -v v="$2" '
        /^data:/ { data = 1 }
        data && $1 == v && $2 == "=" { on = 1; $1 = $2 = "" }
        on { gsub(/ /, ""); printf "%s", $0 }
        on && /;/ { exit }'
}
values() {
    text "$1" "$2" | tr ',;' '\n\n' | sed '/^$/d'
}

one_line() { # one line on stderr, nothing else
    [ "$(printf '%s\n' "$output" | wc -l)" -eq 1 ]
}
