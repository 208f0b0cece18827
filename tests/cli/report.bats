# pipelines/report.sh: the evaluation in one page.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    export BIN
    command -v gnuplot > /dev/null || skip "no gnuplot"
}

@test "report.sh: numbers of the programs, one page that refers to nothing, what failed" {
    export MESH="2 2 2"
    echo garbage > "$T/bad.nc"
    cp pipelines/tiny/LiCl-2.nc "$T"
    "$BIN/mkgraph" --abacus pipelines/GaAs -o "$T/GaAs.nc"
    printf 'GaAs.nc\n# comment\nbad.nc\nLiCl-2.nc\n' > "$T/test.list"
    echo LiCl-2.nc > "$T/other.list"
    printf 'stage one\t1\nstage one\t4\n' > "$T/x.times"
    printf 'earlier\tno reason\n' > "$T/earlier"
    run pipelines/report.sh -o "$T/report" -m pipelines/model.nc -t "$T" -f "$T/earlier" -n 'A <title>' "$T/test.list" "$T/other.list"
    echo "$output"
    [ "$status" -eq 0 ]
    # the tables are those of gaugemae and bandplot-data
    "$BIN/gaugemae" -q --by element "$T/report/test/predicted/"{GaAs,LiCl-2}.nc | grep -v '^#' | tr -s ' ' '\t' |
        diff - <(tail -n +2 "$T/report/test/elements.tsv")
    for m in h_label h_pred; do "$BIN/geneig" -q --matrix $m --gamma --mesh 2 2 2 -o "$T/$m.nc" "$T/report/test/predicted/GaAs.nc"; done
    "$BIN/bandplot-data" --format summary --title GaAs --ref "$T/h_label.nc" "$T/h_pred.nc" | tail -1 | grep -Fxf - "$T/report/test/crystals.tsv"
    error=$(awk -F'\t' '$2 == "h_pred" { s += $8; n++ } END { printf "%.4g", s / n }' "$T/report/test/crystals.tsv")
    awk -F'\t' -v e="$error" '/^bands/ { good = $2 == 2 && $4 == e && $5 <= e && $6 >= e && $7 > 1 } END { exit !good }' "$T/report/test/summary.tsv"
    # who is worse than H0, and nobody else
    python3 - "$T/report/test" << 'PY'
import csv, os, sys
read = lambda name: list(csv.reader(open(os.path.join(sys.argv[1], name)), delimiter="\t"))[1:]
mae = {(os.path.basename(r[9])[:-3], r[0]): float(r[6]) for r in read("each-l2.tsv") if r[1] == "overall"}
bands = {(r[0], r[1]): float(r[7]) for r in read("crystals.tsv")}
ghosts = {c: sum(int(r[10]) for t in ("crystals.tsv", "path.tsv") for r in read(t) if r[:2] == [c, "h_pred"]) for c, m in bands}
bad = {c for c in ghosts if mae[c, "h_pred"] > mae[c, "h0"] or bands[c, "h_pred"] > bands[c, "h0"] or ghosts[c]}
assert len(ghosts) == 2 and {r[0] for r in read("worse.tsv")} == bad, (bad, read("worse.tsv"))
PY
    # no difference of bands above its bound
    awk -F'\t' 'NR > 1 { n++; if (!($7 <= $10)) bad = 1 } END { exit bad || n != 32 }' "$T/report/test/kpoints.tsv"
    [ "$(cut -f1 "$T/report/failed.tsv" | tr '\n' ' ')" = "earlier bad " ]
    grep -q "^stage one	2	1	4	2.5$" "$T/report/times.tsv"
    grep -q "^network	3	" "$T/report/times.tsv"
    # one page: pictures inside, well-formed, nothing asked for elsewhere
    page=$T/report/report.html
    [ "$(grep -c '<img ' "$page")" -eq 8 ]
    ! grep -Eo '(src|href)="[^"]*"|url\([^)]*\)|@import' "$page" | grep -v '^src="data:image/svg+xml;base64,'
    grep -q 'A &lt;title&gt;' "$page"
    python3 - "$page" << 'PY'
import base64, re, sys, xml.dom.minidom
page = open(sys.argv[1]).read()
for data in re.findall(r'base64,([^"]*)"', page):
    svg = base64.b64decode(data).decode()
    assert xml.dom.minidom.parseString(svg).documentElement.tagName == "svg"
    assert not re.search(r'(href|src)\s*=\s*["\'](?!#)', svg)
for tag in "table", "tr", "p", "h2", "h3":
    assert len(re.findall("<%s[ >]" % tag, page)) == page.count("</%s>" % tag), tag
PY
    # predictions that are there already
    ls "$T/report/test/predicted/"*.nc > "$T/hams.list"
    pipelines/report.sh -o "$T/second" "$T/hams.list" > "$T/printed"
    diff "$T/report/test/summary.tsv" "$T/second/hams/summary.tsv"
}
