# What people's files really look like: each case was met in public (issues, reference files, tutorials), or is its brother.
load helper

setup() {
    T=$BATS_TEST_TMPDIR
    TINY=$DATA/abacus_tiny
    FILES="/usr/bin/python3 $DATA/abacus_files.py"
    cd "$T" || exit 1
}

refused() { # one line that has the texts, exit 1, nothing left behind
    echo "$output"
    [ "$status" -eq 1 ]
    one_line
    for text in "$@"; do [[ "$output" == *"$text"* ]]; done
    [ -z "$(find . -name 'g.nc*')" ]
}

said() { # exit 0 and one line, a warning that has the texts; without texts nothing at all
    echo "$output"
    [ "$status" -eq 0 ]
    if [ $# -eq 0 ]; then
        [ -z "$output" ]
    else
        one_line
        for text in warning "$@"; do [[ "$output" == *"$text"* ]]; done
    fi
}

stru() { # stru LATTICE-CONSTANT [x y z]: one H in a skew cell
    printf 'ATOMIC_SPECIES\nH 1.0 H.upf\nLATTICE_CONSTANT\n%s\nLATTICE_VECTORS\n1 0 0\n0.1 1.1 0\n0 0.2 1.3\nATOMIC_POSITIONS\nDirect\nH\n0\n1\n%s\n' \
        "$1" "${2:-0 0 0}"
}
chain() { # chain LETTER STEP HOPPING [ONSITE]: H(R) or S(R) of an orbital with neighbours along a, dialect B
    printf 'STEP: %s\nMatrix Dimension of %s(R): 1\nMatrix number of %s(R): 3\n' "$2" "$1" "$1"
    printf '0 0 0 1\n %s\n 0\n 0 1\n1 0 0 1\n %s\n 0\n 0 1\n-1 0 0 1\n %s\n 0\n 0 1\n' "${4:--0.5}" "$3" "$3"
}
crystal_file() { # crystal_file LETTER STEP CONSTANT_A "x y z" HOPPING [LINE]: the same in dialect C; LINE: after the structure
    printf -- ' --- Ionic Step %s ---\n # print %s matrix in real space %s(R)\n 1 # number of spin directions\n 1 # spin index, E_Fermi = -4.5 eV\n' "$2" "$1" "$1"
    printf ' 1 # number of localized basis\n 3 # number of Bravais lattice vector R\n\n user_defined_lattice\n %s\n 1 0 0\n 0.1 1.1 0\n 0 0.2 1.3\n H\n 1\n Direct\n %s\n%s\n' "$3" "$4" "$6"
    printf ' #---#\n # CSR Format #\n #---#\n\n'
    for c in "0 0 0 1:-0.5" "1 0 0 1:$5" "-1 0 0 1:$5" "0 1 0 0"; do
        [ "$1" != S ] || c=${c/-0.5/1}
        printf ' %s\n # CSR values\n %s\n # CSR column indices\n%s\n # CSR row pointers\n 0 %s\n\n' "${c%%:*}" "$([[ $c != *:* ]] || echo "${c##*:}")" \
            "$([[ $c != *:* ]] || echo ' 0')" "$([[ $c != *:* ]] && echo 0 || echo 1)"
    done
}
run_folder() { # run_folder DIR STEP [INPUT-LINE...]: a run with H and S of that step
    mkdir -p "$1/OUT.ABACUS"
    stru 10 > "$1/STRU"
    printf 'INPUT_PARAMETERS\n' > "$1/INPUT"
    printf '%s\n' "${@:3}" >> "$1/INPUT"
    chain H "$2" -0.1 > "$1/OUT.ABACUS/data-HR-sparse_SPIN0.csr"
    chain S "$2" 0.02 1 > "$1/OUT.ABACUS/data-SR-sparse_SPIN0.csr"
}
attribute() { ncdump -h "$1" | sed -n "s/^[^:]*:$2 = \\(.*\\) ;/\\1/p"; }
bohr_near() { # bohr_near GRAPH X: the first lattice vector begins with X bohr
    awk -v x="$(values "$1" lattice | head -1)" -v want="$2" 'BEGIN { d = x / 0.529177210903 - want; exit !(d < 1e-3 && d > -1e-3) }'
}

@test "no log: no Fermi level and no number of electrons, rather than 0" {
    run_folder r 0
    "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    [ -z "$(attribute g.nc efermi)$(attribute g.nc nelec)" ]
    run bash -c "'$BIN/geneig' -q --matrix h_label --mesh 2 2 2 g.nc | '$BIN/bandplot-data'"
    [[ "$output" == *"neither a Fermi level nor a number of electrons"* ]]
    printf ' AUTOSET number of electrons:  = 1\n EFERMI = -1.0 eV\n' > r/OUT.ABACUS/running_md.log # whatever the calculation
    "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    [ "$(attribute g.nc efermi)" = -1. ]
    [ "$(attribute g.nc nelec)" = 1. ]
}

@test "logs: of INPUT's calculation; several of others are asked about; words of all ages" {
    run_folder r 0 "calculation nscf"
    echo ' EFERMI = -1.0 eV' > r/OUT.ABACUS/running_scf.log
    printf ' EFERMI = -2.0 eV\n    Autoset the number of electrons = 16\n   nspin = 1\n' > r/OUT.ABACUS/running_nscf.log
    "$BIN/mkgraph" --abacus r --basis H:1s -o a.nc
    [ "$(attribute a.nc efermi)" = -2. ]
    [ "$(attribute a.nc nelec)" = 16. ]
    mv r/OUT.ABACUS/running_nscf.log r/OUT.ABACUS/running_relax.log
    run "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    refused "several logs"
    rm r/OUT.ABACUS/running_scf.log
    sed -i 's/nspin = 1/NSPIN == 4/' r/OUT.ABACUS/running_relax.log
    run "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    said "nspin 4, but INPUT means 1"
    "$BIN/mkgraph" -q r/STRU --basis H:1s --log r/OUT.ABACUS/running_relax.log -o g.nc
    [ "$(attribute g.nc nelec)" = 16. ]
}

@test "a label that did not converge: a warning, an attribute, and nhtrain refuses it unless told" {
    run_folder r 0 "calculation scf"
    log=r/OUT.ABACUS/running_scf.log
    i=0
    for words in ' convergence has NOT been achieved!' ' !!SCF IS NOT CONVERGED!!' ' #SCF IS NOT CONVERGED#' ' !! convergence has not been achieved @_@'; do
        printf ' AUTOSET number of electrons:  = 1\n E_Fermi   -0.1  -1.36\n%s\n' "$words" > $log
        run "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
        said "did not converge"
        [ "$(attribute g.nc converged)" = 0. ]
        [ "$(attribute g.nc efermi)" = -1.36 ]
    done
    sed 's/!! conv.*/ charge density convergence is achieved/' $log > log2 && mv log2 $log
    run "$BIN/mkgraph" --abacus r --basis H:1s -o good.nc
    [ -z "$output" ]
    [ "$(attribute good.nc converged)" = 1. ]
    echo 'scf_nmax 1' >> r/INPUT # the zeroth step is not meant to
    echo ' convergence has NOT been achieved!' >> $log
    run "$BIN/mkgraph" --abacus r --basis H:1s -o h0.nc
    [ -z "$output" ]
    [ -z "$(attribute h0.nc converged)" ]
    cp "$BATS_TEST_DIRNAME"/../../pipelines/tiny/LiCl-1.nc bad.nc
    ncdump bad.nc | sed 's/^\(\t\t:cutoff = .*\)/\1\n\t\t:converged = 0. ;/' | ncgen -k nc4 -o bad.nc
    echo bad.nc > list
    printf 'init: %s\ndata: {train: list}\nrun_dir: run\nschedule: {epochs: 1}\nloss: {lambda_p: 0, lambda_q: 0, lambda_pq: 0}\n' \
        "$BATS_TEST_DIRNAME/../../pipelines/model.nc" > t.yaml
    run "$BIN/nhtrain" -q -c t.yaml
    [ "$status" -eq 1 ]
    one_line
    [[ "$output" == *"list:1: "*"bad.nc: "*"did not converge"*"unconverged: true"* ]]
    "$BIN/nhtrain" -q -c t.yaml --set data.unconverged=true
    [ -s run/best.nc ]
    sed -i 's/{train: list}/{train: list, unconverged: maybe}/' t.yaml
    run "$BIN/nhtrain" -q -c t.yaml
    [ "$status" -eq 1 ]
    [[ "$output" == *"unconverged"* ]]
}

@test "relaxations and MD: the structure of the step that the matrices belong to, or a question" {
    run_folder r 2 "calculation cell-relax"
    stru 10.4 > r/OUT.ABACUS/STRU_ION_D
    log=r/OUT.ABACUS/running_cell-relax.log
    printf ' READING ATOM TYPE 1\n   L=0, number of zeta = 1\n DIRECT COORDINATES\n atom x y z\ntaud_H1 0.5 0.5 0.5\n\n' > $log
    printf ' RELAX CELL : %d\n EFERMI = -%d.5 eV\n charge density convergence is achieved\n' 1 1 2 2 3 3 >> $log
    run "$BIN/mkgraph" --abacus r -o g.nc
    refused "ionic step 3" "STRU_ION2_D" "one step further"
    echo ' Lattice relaxation is converged!' >> $log # now STRU_ION_D is that of the last step
    run "$BIN/mkgraph" --abacus r -o g.nc
    said
    bohr_near g.nc 10.4
    [ "$(attribute g.nc efermi)" = -3.5 ]
    rm g.nc
    # of an earlier step: what was written after the one before it
    chain H 1 -0.1 > r/OUT.ABACUS/data-HR-sparse_SPIN0.csr
    chain S 1 0.02 1 > r/OUT.ABACUS/data-SR-sparse_SPIN0.csr
    run "$BIN/mkgraph" --abacus r -o g.nc
    refused "ionic step 2" "STRU_ION1_D"
    stru 10.2 > r/OUT.ABACUS/STRU_ION1_D
    "$BIN/mkgraph" --abacus r -o g.nc
    bohr_near g.nc 10.2
    [ "$(attribute g.nc efermi)" = -2.5 ]
    # MD, every step a file of its own, the structures in a folder; the last one, or the one asked for
    rm -rf r && run_folder r 0 "calculation md"
    mkdir r/OUT.ABACUS/matrix r/OUT.ABACUS/STRU
    for s in 0 4 11; do
        chain H $s "-0.1$s" > r/OUT.ABACUS/matrix/${s}_data-HR-sparse_SPIN0.csr
        chain S $s 0.02 1 > r/OUT.ABACUS/matrix/${s}_data-SR-sparse_SPIN0.csr
        stru 10.$((s + 1)) > r/OUT.ABACUS/STRU/STRU_MD_$s
    done
    rm r/OUT.ABACUS/data-*
    "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    bohr_near g.nc 10.12 # STRU_MD_11: 10.12
    "$BIN/mkgraph" --abacus r --basis H:1s --step 5 -o g.nc
    bohr_near g.nc 10.5
    "$BIN/mkgraph" --abacus r --basis H:1s --step 1 -o g.nc # STRU itself
    bohr_near g.nc 10
    rm g.nc
    run "$BIN/mkgraph" --abacus r --basis H:1s --step 3 -o g.nc
    refused "no H(R)"
}

@test "several steps in one file: the one asked for; with the structure inside, its own" {
    stru 10 > STRU
    { chain H 0 -0.1; chain H 1 -0.2; chain H 2 -0.3; } > h.csr
    run "$BIN/mkgraph" STRU --basis H:1s --label h.csr -o g.nc
    refused "h.csr: 3 ionic steps" "--step"
    run "$BIN/mkgraph" STRU --basis H:1s --label h.csr --step 9 -o g.nc
    refused "no ionic step 9"
    "$BIN/mkgraph" STRU --basis H:1s --label h.csr --step 2 -o g.nc
    chain H 1 -0.2 > one.csr
    "$BIN/mkgraph" STRU --basis H:1s --label one.csr -o one.nc
    cmp <(values g.nc h_label) <(values one.nc h_label)
    rm g.nc
    run "$BIN/mkgraph" STRU --basis H:1s --label one.csr --step 1 -o g.nc
    refused "of ionic step 2, not 1"
    # dialect C has the structure of each step
    { crystal_file H 1 5.29177 "0 0 0" -0.1; crystal_file H 2 5.4 "0 0 0" -0.2; } > c.csr
    run "$BIN/mkgraph" STRU --basis H:1s --label c.csr -o g.nc
    refused "lattice vector a1"
    "$BIN/mkgraph" STRU --basis H:1s --label c.csr --step 1 -o g.nc
    run_folder r 0 "calculation md"
    rm r/OUT.ABACUS/*
    cp c.csr r/OUT.ABACUS/hrs1_nao.csr
    { crystal_file S 1 5.29177 "0 0 0" 0.1; crystal_file S 2 5.4 "0 0 0" 0.2; } > r/OUT.ABACUS/sr_nao.csr
    "$BIN/mkgraph" --abacus r --basis H:1s --step 2 -o g.nc
    bohr_near g.nc 10.2045
}

@test "the structure in a matrix file is checked, and gives the Fermi level and the images" {
    stru 10 > STRU
    crystal_file H 1 5.29177 "0 0 0" -0.1 > h.csr
    "$BIN/mkgraph" STRU --basis H:1s --label h.csr -o good.nc
    [ "$(attribute good.nc efermi)" = -4.5 ]
    [ "$(values good.nc h_label | awk '$1 != 0' | wc -l)" -eq 3 ]
    stru 11 > wide
    run "$BIN/mkgraph" wide --basis H:1s --label h.csr -o g.nc
    refused h.csr "lattice vector a1"
    stru 10 "0.04 0 0" > moved
    run "$BIN/mkgraph" moved --basis H:1s --label h.csr -o g.nc
    refused h.csr "atom 1" "away"
    sed 's/^H$/He/; s/^H /He /' STRU > helium
    run "$BIN/mkgraph" helium --basis He:1s --label h.csr -o g.nc
    refused "is H, that of the structure He"
    sed 's/^ 1$/ 2/; s/^ 0 0 0$/ 0 0 0\n .5 .5 .5/' h.csr > two.csr
    run "$BIN/mkgraph" STRU --basis H:1s --label two.csr -o g.nc
    refused "2 atoms, the structure has 1"
    # an atom on the border of the cell: the header says on which side ABACUS had it
    crystal_file H 1 5.29177 "1 0 0" -0.1 > border.csr
    "$BIN/mkgraph" STRU --basis H:1s --label border.csr -o border.nc
    awk -v x="$(values border.nc position | head -1)" 'BEGIN { exit !(x > 5.29 && x < 5.30) }'
    crystal_file S 1 5.29177 "0 0 0" 0.1 > s.csr
    run "$BIN/mkgraph" STRU --basis H:1s --label border.csr --overlap s.csr -o g.nc
    refused s.csr "in another cell than in border.csr"
    for wrong in 's/^ 5.29177$/ -1/' 's/^ 0.1 1.1 0$/ 0.1 1.1/' 's/^ H$/\n/' 's/^ Direct/ Cartesian/' 's/^ 0 0 0$/ 0 nan 0/'; do
        sed "$wrong" h.csr > bad.csr
        run "$BIN/mkgraph" STRU --basis H:1s --label bad.csr -o g.nc
        refused bad.csr:
    done
}

@test "no STRU: the structure in the header of the matrices is enough" {
    stru 10 > STRU
    crystal_file H 1 5.29177 "0 0 0" -0.1 > hrs1_nao.csr
    crystal_file S 1 5.29177 "0 0 0" 0.1 > sr_nao.csr
    "$BIN/mkgraph" --no-history --basis H:1s --label hrs1_nao.csr --overlap sr_nao.csr STRU -o want.nc
    "$BIN/mkgraph" --no-history --basis H:1s --label hrs1_nao.csr --overlap sr_nao.csr hrs1_nao.csr -o g.nc
    cmp <(values want.nc h_label) <(values g.nc h_label)
    bohr_near g.nc 10
    mkdir -p r/OUT.ABACUS
    cp hrs1_nao.csr sr_nao.csr r/OUT.ABACUS
    echo INPUT_PARAMETERS > r/INPUT
    "$BIN/mkgraph" --no-history --basis H:1s --abacus r -o g.nc
    cmp <(values want.nc h_label) <(values g.nc h_label)
    rm g.nc
    chain H 0 -0.1 > r/OUT.ABACUS/hrs1_nao.csr
    run "$BIN/mkgraph" --basis H:1s --abacus r -o g.nc
    refused "no structure in its header"
    rm r/OUT.ABACUS/hrs1_nao.csr
    run "$BIN/mkgraph" --basis H:1s --abacus r -o g.nc
    refused "r/STRU: no such file"
    sed 's/^ H$/ Qq/' hrs1_nao.csr > label.csr
    run "$BIN/mkgraph" --basis H:1s label.csr -o g.nc
    refused "label of atom 1"
}

@test "one of the two files of nspin 2 is no matrix for both spins" {
    stru 10 > STRU
    crystal_file H 1 5.29177 "0 0 0" -0.1 | sed 's/^ 1 # number of spin/ 2 # number of spin/' > up.csr
    crystal_file H 1 5.29177 "0 0 0" -0.2 | sed 's/^ 1 # number of spin/ 2 # number of spin/; s/^ 1 # spin index/ 2 # spin index/' > down.csr
    run "$BIN/mkgraph" STRU --basis H:1s --label up.csr -o g.nc
    refused "spin 1 of two"
    run "$BIN/mkgraph" STRU --basis H:1s --label down.csr,up.csr -o g.nc
    refused "spin 2 of two"
    "$BIN/mkgraph" STRU --basis H:1s --label up.csr,down.csr -o g.nc
    ncdump -h g.nc | grep -q 'spin = 4 ;'
    rm g.nc
    chain H 0 -0.1 > h.csr
    printf ' EFERMI = 1 eV\n  nspin = 2\n' > log
    run "$BIN/mkgraph" STRU --basis H:1s --label h.csr --log log -o g.nc
    refused "log: nspin 2"
}

@test "gamma_only matrices are no H(R)" {
    stru 10 > STRU
    note='# representation: gamma-only folded matrix; stored R-space contributions are summed into R = (0, 0, 0)'
    crystal_file H 1 5.29177 "0 0 0" -0.1 "$note" > h.csr
    run "$BIN/mkgraph" STRU --basis H:1s --label h.csr -o g.nc
    refused h.csr "gamma_only"
    run_folder r 0 "gamma_only 1"
    "$BIN/mkgraph" --abacus r --basis H:1s -o fine.nc # a key that ABACUS overruled: there are cells
    printf 'STEP: 0\nMatrix Dimension of H(R): 1\nMatrix number of H(R): 1\n0 0 0 1\n -0.5\n 0\n 0 1\n' > r/OUT.ABACUS/data-HR-sparse_SPIN0.csr
    run "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    refused "gamma_only"
}

@test "files that another run left in the folder are not taken" {
    run_folder r 0
    crystal_file H 1 5.29177 "0 0 0" -0.1 > r/OUT.ABACUS/hrs1_nao.csr
    run "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    refused "hrs1_nao.csr" "data-HR-sparse_SPIN0.csr" "another run"
    rm r/OUT.ABACUS/hrs1_nao.csr
    chain S 0 0.02 1 > r/OUT.ABACUS/SR.csr
    run "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    refused "SR.csr" "another run"
    rm r/OUT.ABACUS/SR.csr
    chain H 0 7 > r/OUT.ABACUS/data-HR-sparse_SPIN1.csr # nspin is 1 where INPUT says nothing
    "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    ncdump -h g.nc | grep -q 'spin = 1 ;'
    echo 'nspin 2' >> r/INPUT
    "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    ncdump -h g.nc | grep -q 'spin = 4 ;'
    gzip -k r/OUT.ABACUS/data-HR-sparse_SPIN0.csr # the same file packed is no other
    "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
}

@test "a log whose atoms are others: a warning" {
    run_folder r 0 "calculation scf"
    printf ' EFERMI = 1 eV\n DIRECT COORDINATES\n atom x y z\ntaud_H1 0.5 0.5 0.5\n' > r/OUT.ABACUS/running_scf.log
    run "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    said "running_scf.log: the atoms in the log are not those of"
    sed -i 's/0.5 0.5 0.5/1 0 0/' r/OUT.ABACUS/running_scf.log
    run "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    [ -z "$output" ]
    crystal_file H 1 5.29177 "1 0 0" -0.1 > r/OUT.ABACUS/hrs1_nao.csr # its Fermi level is -4.5
    rm r/OUT.ABACUS/data-H*
    run "$BIN/mkgraph" --abacus r --basis H:1s -o g.nc
    said "Fermi level 1 eV in the log, -4.5 eV in the header"
}

@test "orbitals on coarse meshes: norms that are nearly 1" {
    stru 10 > STRU
    chain S 0 0.02 9.9932718e-01 > s.csr
    run "$BIN/mkgraph" STRU --basis H:1s --overlap s.csr -o g.nc
    said
    run "$BIN/mkgraph" -v STRU --basis H:1s --overlap s.csr -o g.nc
    [[ "$output" == *"norm 0.999327"* ]]
    chain S 0 0.02 1.0902 > s.csr
    run "$BIN/mkgraph" STRU --basis H:1s --overlap s.csr -o g.nc
    said "1.0902"
    rm g.nc
    chain S 0 0.02 1.2345678 > s.csr
    run "$BIN/mkgraph" STRU --basis H:1s --overlap s.csr -o g.nc
    refused "not normalised" "1.23457"
}

@test "STRU: repeated labels, sections in another order, long comments in any language" {
    body='LATTICE_CONSTANT\n8 // Länge: 格子常数\nLATTICE_VECTORS\n1 0 0\n0 1 0\n0 0 1\nATOMIC_POSITIONS # 原子位置 and many, many words of which some look like 1 2 3\nDirect\nFe\n2.0\n1\n0 0 0\nFe\n-2.0\n1\n.5 .5 .5\nO\n0\n1\n.5 .5 0\n'
    head='#repeated comments\nATOMIC_SPECIES\nFe 55.8 Fe.upf\nFe 55.8 Fe.upf\nO 16 O.upf\n\nNUMERICAL_ORBITAL\nFe_gga_8au_100Ry_4s2p2d1f.orb\nFe_gga_8au_100Ry_2s1p1d.orb\nO_gga_7au_100Ry_2s2p1d.orb\n\n'
    printf "$head$body" > STRU
    printf "$body\n$head" > turned
    "$BIN/mkgraph" --no-history STRU -o a.nc
    "$BIN/mkgraph" --no-history turned -o b.nc
    cmp a.nc b.nc
    [ "$(text a.nc atom_species)" = "0,1,2;" ]
    [ "$(text a.nc species_shells)" = "9,4,5;" ]
    printf "$(printf "$head$body" | awk '/^O$/ { hold = 1 } { print }' | sed 's/^O 16/C 16/')" > unknown
    run "$BIN/mkgraph" unknown -o g.nc
    refused '"O" is not in ATOMIC_SPECIES'
    sed 's/^O 16 O.upf/Q/; s/^Fe 55.8 Fe.upf/O 16 O.upf/; ' STRU | awk '/^O 16/ && n++ { print "Fe 55.8 Fe.upf"; next } /^Q$/ { print "Fe 55.8 Fe.upf"; next } { print }' > ambiguous
    run "$BIN/mkgraph" ambiguous -o g.nc
    refused "more than once"
}

@test "mkabacus keeps labels, masses and moments of a STRU" {
    mkdir pp oo
    touch pp/Fe.upf pp/O.upf oo/Fe_gga_7au_100Ry_1s1p.orb oo/O_gga_7au_100Ry_1s1p.orb
    printf 'ATOMIC_SPECIES\nFe1 55.8 Fe.upf\nFe2 55.8 Fe.upf\nO 16 O.upf\n\nLATTICE_CONSTANT\n8\nLATTICE_VECTORS\n1 0 0\n0 1 0\n0 0 1\nATOMIC_POSITIONS\nDirect\n' > STRU
    printf 'Fe1\n2.0\n1\n0 0 0 1 1 1 mag 2.0\nFe2\n-2.0\n1\n.5 .5 .5 m 1 1 1 mag -2.0 angle1 90\nO\n0\n1\n.5 .5 0 mag 0.1 0.2 0.3 v 1 2 3\n' >> STRU
    run "$BIN/mkabacus" --pseudo-dir pp --orbital-dir oo --outdir run STRU
    said
    grep -qx 'ntype 3' run/INPUT
    grep -qx 'Fe2 55.8 Fe.upf' run/STRU
    grep -A2 -x 'Fe2' run/STRU | sed -n 2p | grep -qx -- -2
    grep -q ' 0 0 0 mag 2$' run/STRU
    grep -Eq ' 0 0 0 mag -2 -0 -1.2[0-9e-]*$' run/STRU
    grep -q ' 0 0 0 mag 0.1 0.2 0.3$' run/STRU
    "$BIN/mkabacus" --pseudo-dir pp --orbital-dir oo --outdir again run/STRU # and can be read again
    cmp run/STRU again/STRU
    run "$BIN/mkabacus" --nspin 1 --pseudo-dir pp --orbital-dir oo --outdir run STRU
    said "moments"
    sed -i 's/mag 2.0$/mag/' STRU
    run "$BIN/mkabacus" --pseudo-dir pp --orbital-dir oo --outdir run STRU
    [ "$status" -eq 1 ]
    [[ "$output" == *"after mag"* ]]
}

@test "KPT: a comment of many characters is no label" {
    stru 10 > STRU
    chain H 0 -0.1 > h.csr
    chain S 0 0.02 1 > s.csr
    "$BIN/mkgraph" STRU --basis H:1s --label h.csr --overlap s.csr -o g.nc
    printf 'K_POINTS\n2\nLine\n0 0 0 3 #start_of_the_first_segment_of_the_path_(Gamma)\n0.5 0 0 1 #X\n' > KPT
    "$BIN/fourier" -q --matrix h_label --kpath KPT -o hk.nc g.nc
    [[ "$(text hk.nc k_label)" == *'"X";' ]]
}

@test "extended XYZ: pbc that is not T T T is said" {
    printf '1\nLattice="3 0 0 0 3 0 0 0 3" pbc="T T F" Properties=species:S:1:pos:R:3\nH 0 0 0\n' > slab.xyz
    run "$BIN/mkgraph" slab.xyz --basis H:1s -o g.nc
    said "pbc"
    sed -i 's/T T F/T T T/' slab.xyz
    run "$BIN/mkgraph" slab.xyz --basis H:1s -o g.nc
    [ -z "$output" ]
}

@test "a crystal of exactly 255 pairs" {
    stru 10 > STRU
    chain H 0 -0.1 > h.csr
    for cutoff in 23.2 23.3 23.4; do
        "$BIN/mkgraph" STRU --basis H:1s --cutoff $cutoff --label h.csr -o g.nc
        ncdump -h g.nc | sed -n 's/.*pair = \(.*\) ;/\1/p' >> sizes
    done
    grep -qx 255 sizes
}

@test "dialect F: blocks of several processes, text and binary, real and complex" {
    H=$TINY/nspin4/scf/OUT.tiny/data-HR-sparse_SPIN0.csr
    S=$TINY/nspin1/OUT.tiny/data-HR-sparse_SPIN0.csr
    "$BIN/mkgraph" --no-history --label "$H" "$TINY/nspin4/scf/STRU" -o a.nc
    "$BIN/mkgraph" --no-history --label "$S" "$TINY/nspin1/STRU" -o a1.nc
    for how in text bare binary; do
        $FILES blocks "$H" hrs_block_up $how 3 10 8
        "$BIN/mkgraph" --no-history --label hrs_block_up_1.dat "$TINY/nspin4/scf/STRU" -o b.nc
        cmp a.nc b.nc
        $FILES blocks "$S" one $how 2 5 4
        gzip -f one_0.dat one_1.dat
        "$BIN/mkgraph" --no-history --label one_0.dat.gz "$TINY/nspin1/STRU" -o b.nc
        cmp a1.nc b.nc
        rm one_*
    done
    mkdir -p r/OUT.ABACUS
    cp "$TINY/nspin4/scf/STRU" r
    mv hrs_block_up_* r/OUT.ABACUS
    "$BIN/mkgraph" -q --abacus r -o r.nc
    cmp <(values a.nc h_label) <(values r.nc h_label)
    cd r/OUT.ABACUS
    mv hrs_block_up_1.dat x
    run "$BIN/mkgraph" --label hrs_block_up_0.dat "$TINY/nspin4/scf/STRU" -o g.nc
    refused hrs_block_up_1.dat "No such file"
    cp hrs_block_up_0.dat hrs_block_up_1.dat
    run "$BIN/mkgraph" --label hrs_block_up_0.dat "$TINY/nspin4/scf/STRU" -o g.nc
    refused "is there twice"
    head -c 1001 x > hrs_block_up_1.dat
    run "$BIN/mkgraph" --label hrs_block_up_0.dat "$TINY/nspin4/scf/STRU" -o g.nc
    refused "cut off"
    $FILES blocks "$H" t text 1 10 8
    for wrong in '100q' 's/^Pair: 0 0 10 10/Pair: 0 0 10 2000000000/' 's/^rows: 0/rows: -3/' 's/^rows: 0/rows: 0 1/' 's/^R: 0 0 0$/R: 0 0/' '$a extra' \
        '0,/^ (/s/^ ([^,]*/ (nan/' 's/^n_atom_pairs .*/n_atom_pairs 99999999999/'; do
        sed "$wrong" t_0.dat > bad
        run "$BIN/mkgraph" --label bad "$TINY/nspin4/scf/STRU" -o g.nc
        refused bad:
    done
}

@test "names of files of all ages" {
    H=$TINY/nspin1/OUT.tiny/data-HR-sparse_SPIN0.csr
    S=$TINY/nspin1/OUT.tiny/data-SR-sparse_SPIN0.csr
    "$BIN/mkgraph" --no-history --label "$H" --overlap "$S" "$TINY/nspin1/STRU" -o want.nc
    mkdir -p r/OUT.ABACUS/matrix
    cp "$TINY/nspin1/STRU" r
    for names in "data-HR-sparse_SPIN0.csr data-SR-sparse_SPIN0.csr" "hrs1_nao.csr srs1_nao.csr" "hrs1_nao.csr sr_nao.csr" "hrs1_nao.dat sr_nao.dat" \
        "hr_nao.csr SR.csr" "hrs1_nao.csr srg1_nao.csr" "hrs1g1_nao.csr srs1g1_nao.csr" "matrix/0_data-HR-sparse_SPIN0.csr matrix/0_data-SR-sparse_SPIN0.csr" "hrs1_nao.csr.gz s0r_nao.csr"; do
        set -- $names
        if [[ $1 == *.gz ]]; then gzip -c "$H" > "r/OUT.ABACUS/$1"; else cp "$H" "r/OUT.ABACUS/$1"; fi
        cp "$S" "r/OUT.ABACUS/$2"
        "$BIN/mkgraph" -q --no-history --abacus r -o g.nc
        cmp <(values want.nc h_label) <(values g.nc h_label)
        cmp <(values want.nc overlap) <(values g.nc overlap)
        rm "r/OUT.ABACUS/$1" "r/OUT.ABACUS/$2"
    done
    for h0 in data-H0R-sparse_SPIN0.csr h0rs1_nao.csr; do # H0 beside H in one run
        cp "$H" r/OUT.ABACUS/hrs1_nao.csr
        sed 's/^ \(-*[0-9]\.[0-9]*e\)/ \1/' "$H" > "r/OUT.ABACUS/$h0"
        cp "$S" r/OUT.ABACUS/data-S0R-sparse_SPIN0.csr
        "$BIN/mkgraph" -q --no-history --abacus r -o g.nc
        cmp <(values want.nc h_label) <(values g.nc h0)
        cmp <(values want.nc h_label) <(values g.nc h_label)
        cmp <(values want.nc overlap) <(values g.nc overlap)
        rm r/OUT.ABACUS/*.csr
    done
    sed 's/STEP.*//; s/H(R)/H0(R)/' "$H" > core.csr
    { printf -- ' --- Ionic Step 1 ---\n # print H0 matrix in real space H0(R); h0_type=core; formula=T + V_nl + V_loc; physical_nspin=1; unit=Ry\n'; sed 1,2d <(crystal_file H 1 5 "0 0 0" 1); } > core.csr
    stru 10 > STRU
    run "$BIN/mkgraph" STRU --basis H:1s --h0 core.csr -o g.nc
    rm -f g.nc
    refused "core Hamiltonian"
}

@test "r(R): position_matrix, in Å, from text and binary" {
    /usr/bin/python3 -c 'import netCDF4' || skip "no netCDF4 for Python"
    /usr/bin/python3 "$DATA/make_species.py" .
    printf '2\nLattice="0 1.8 1.8 1.8 0 1.8 1.8 1.8 0" Properties=species:S:1:pos:R:3\nB 0 0 0\nN 0.9 0.9 0.95\n' > bn.xyz
    "$BIN/h0build" -q --position --pseudo-dir pseudo --orbital-dir orbital --ecut 20 bn.xyz -o want.nc
    printf 'ATOMIC_SPECIES\nB 1 B.upf\nLATTICE_CONSTANT\n5\nLATTICE_VECTORS\n1 0 0\n0 1 0\n0 0 1\nATOMIC_POSITIONS\nDirect\nB\n1.5\n1\n0 0 0\n' > STRU
    run "$BIN/h0build" --pseudo-dir pseudo --orbital-dir orbital --ecut 10 STRU -o magnetic.nc
    [ "$status" -eq 0 ]
    [[ "$output" == *"warning: STRU: its starting moments are not used"* ]]
    for how in text binary; do
        $FILES position want.nc data-rR-sparse.csr $how
        "$BIN/mkgraph" --orbital-dir orbital --position data-rR-sparse.csr bn.xyz -o g.nc
        paste <(values want.nc position_matrix) <(values g.nc position_matrix) |
            awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-9) bad = 1; if ($1 > 0.5) some = 1 } END { exit bad || !some || NR < 1000 }'
    done
    rm g.nc
    head -c 3001 data-rR-sparse.csr > cut
    run "$BIN/mkgraph" --orbital-dir orbital --position cut bn.xyz -o g.nc
    refused cut
    $FILES position want.nc r.csr text
    run "$BIN/mkgraph" --orbital-dir orbital --label r.csr bn.xyz -o g.nc
    refused r.csr "position matrix r(R)"
    run "$BIN/mkgraph" --basis H:1s --position <(chain H 0 1) <(stru 10) -o g.nc
    refused "position matrix r(R) expected"
}
