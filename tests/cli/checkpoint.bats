# nhmodel import, export: what torch.save wrote. tests/data/torch was made by PyTorch 1.13 from `nhmodel init --seed 5` (make_torch.py there).
load helper
load tiny_net

setup() {
    T=$BATS_TEST_TMPDIR
    C=$DATA/torch
    "$BIN/nhmodel" init --config "$C/net.yaml" --seed 5 -o "$T/first.nc"
}

groups() { # the parameters of a model, as text
    ncdump -p 9,17 "$1" | sed -n '/^group/,$p'
}

imported() { # imported FILE...: gives $T/m.nc, the same weights as first.nc
    "$BIN/nhmodel" import -q --network "$C/net.yaml" "$@" -o "$T/m.nc"
    cmp <(groups "$T/first.nc") <(groups "$T/m.nc")
}

@test "a dictionary of tensors: prefixes, parameters, strided and shared tensors; what is left out is said" {
    imported "$C"/dict/model_range?_curr.pth.tar
    run "$BIN/nhmodel" import --network "$C/net.yaml" "$C"/dict/model_range?_curr.pth.tar -o "$T/m.nc"
    [ "$status" -eq 0 ]
    [[ "$output" == "nhmodel import: "*"weights from state_dict; not read: epoch, optimizer, best" ]]
}

@test "a pickled module: names by its tree" {
    imported "$C"/module/model_range?_curr.pth.tar
}

@test "deflated and zip64 archives" {
    for kind in deflate zip64; do
        for r in 0 1; do
            python3 tests/cli/torch_reader.py --rewrite $kind "$C/dict/model_range${r}_curr.pth.tar" "$T/model_range$r.pth.tar"
        done
        imported "$T"/model_range?.pth.tar
    done
}

@test "export gives back the same tensors, unused ones included, as another reader sees them" {
    imported "$C"/dict/model_range?_curr.pth.tar
    "$BIN/nhmodel" export "$T/m.nc" -o "$T/out"
    for r in 0 1; do
        python3 tests/cli/torch_reader.py "$C/dict/model_range${r}_curr.pth.tar" > "$T/a"
        python3 tests/cli/torch_reader.py "$T/out/model_range${r}_curr.pth.tar" > "$T/b"
        cmp "$T/a" "$T/b"
        grep -q "^head.half HalfStorage 3x4" "$T/b"
        grep -q "^blocks.0.ga_edge.count LongStorage - 7" "$T/b"
    done
    "$BIN/nhmodel" import -q --network "$C/net.yaml" "$T"/out/model_range?_curr.pth.tar -o "$T/again.nc"
    cmp <(ncdump -p 9,17 "$T/m.nc" | grep -v "history\|^netcdf") <(ncdump -p 9,17 "$T/again.nc" | grep -v "history\|^netcdf")
}

@test "export without unused tensors; in double precision" {
    "$BIN/nhmodel" init --config "$C/net.yaml" --seed 2 --precision double -o "$T/d.nc"
    "$BIN/nhmodel" export "$T/d.nc" -o "$T/out"
    python3 tests/cli/torch_reader.py "$T/out/model_range1_curr.pth.tar" | grep -q "^input_rs.tp.weight DoubleStorage"
    "$BIN/nhmodel" import -q --network "$C/net.yaml" "$T"/out/model_range?_curr.pth.tar -o "$T/again.nc"
    cmp <(groups "$T/d.nc") <(groups "$T/again.nc")
}

@test "a pickle that would run a program is refused" {
    python3 tests/cli/torch_reader.py --evil "$T/evil.pth.tar"
    run "$BIN/nhmodel" import "$T/evil.pth.tar" -o "$T/m.nc"
    fails 1 "nhmodel import: $T/evil.pth.tar: " "calls posix.system" refused
    [ ! -e "$T/evil.pth.tar.ran" ]
    [ ! -e "$T/m.nc" ]
}

@test "truncated and damaged files: one line, status 1" {
    local file=$C/dict/model_range0_curr.pth.tar size
    size=$(stat -c %s "$file")
    for i in $(seq 0 13); do
        head -c $((size * i / 14)) "$file" > "$T/model_range0.pth.tar"
        run "$BIN/nhmodel" import -q --network "$C/net.yaml" "$T/model_range0.pth.tar" "$C/dict/model_range1_curr.pth.tar" -o "$T/m.nc"
        fails 1 "nhmodel import: $T/model_range0.pth.tar: "
    done
    # A byte of a stored tensor: its checksum.
    python3 - "$file" "$T/model_range0.pth.tar" << 'END'
import sys, zipfile
data = bytearray(open(sys.argv[1], "rb").read())
info = [i for i in zipfile.ZipFile(sys.argv[1]).infolist() if "/data/" in i.filename and i.file_size > 100][0]
data[info.header_offset + 200 + info.file_size // 2] ^= 1
open(sys.argv[2], "wb").write(data)
END
    run "$BIN/nhmodel" import -q --network "$C/net.yaml" "$T/model_range0.pth.tar" "$C/dict/model_range1_curr.pth.tar" -o "$T/m.nc"
    fails 1 "nhmodel import: $T/model_range0.pth.tar: " "checksum"
}

@test "wrong files" {
    run "$BIN/nhmodel" import "$C"/dict/model_range?_curr.pth.tar -o "$T/m.nc"
    fails 1 "nhmodel import: $C/dict/model_range0" "neither V1 nor V1.1" "--network"
    run "$BIN/nhmodel" import --network "$C/net.yaml" "$C/dict/model_range0_curr.pth.tar" -o "$T/m.nc"
    fails 1 "nhmodel import: " "1 files, expected 2"
    run "$BIN/nhmodel" import --network "$C/net.yaml" "$C"/dict/model_range{1,0}_curr.pth.tar -o "$T/m.nc"
    fails 1 "nhmodel import: $C/dict/model_range1" "file 1 is for range 0, its name says range 1"
    run "$BIN/nhmodel" import --network "$C/net.yaml" --key nothing "$C"/dict/model_range?_curr.pth.tar -o "$T/m.nc"
    fails 1 "nhmodel import: $C/dict/model_range0" "under the key nothing"
    sed 's/2x0e+1x1o/3x0e+1x1o/; s/edge_scalars: 2/edge_scalars: 3/' "$C/net.yaml" > "$T/other.yaml"
    run "$BIN/nhmodel" import --network "$T/other.yaml" "$C"/dict/model_range?_curr.pth.tar -o "$T/m.nc"
    fails 1 "nhmodel import: $C/dict/model_range0" "shape" "expected"
    printf '\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19....' > "$T/old.pth.tar"
    run "$BIN/nhmodel" import "$T/old.pth.tar" -o "$T/m.nc"
    fails 1 "nhmodel import: $T/old.pth.tar: " "before 1.6"
    run "$BIN/nhmodel" import "$C/net.yaml" -o "$T/m.nc"
    fails 1 "nhmodel import: $C/net.yaml: " "zip archive"
    run "$BIN/nhmodel" import "$T/not_there" -o "$T/m.nc"
    fails 1 "nhmodel import: $T/not_there: " "No such file"
    run "$BIN/nhmodel" export "$T/first.nc"
    fails 1 "nhmodel export: " "-o FOLDER"
    run "$BIN/nhmodel" import --onsite-copies 3 x -o "$T/m.nc"
    [ "$status" -eq 2 ]
    run "$BIN/nhmodel" import -o "$T/m.nc"
    [ "$status" -eq 2 ]
}

@test "the published networks are known by their shapes: V1, V1.1; the factor and the copies can be set" {
    for version in standard v11; do
        "$BIN/nhmodel" init --config pipelines/$version.yaml --seed 1 -o "$T/big.nc"
        "$BIN/nhmodel" export "$T/big.nc" -o "$T/big"
        "$BIN/nhmodel" import -q --onsite-copies 2 --rydberg 13.6056980659 "$T"/big/model_range?_curr.pth.tar -o "$T/m.nc"
        "$BIN/nhmodel" info "$T/m.nc" > "$T/info"
        grep -q "rydberg: 13.6056980659" "$T/info"
        grep -q "onsite_copies: 2" "$T/info"
        grep -q "reconstruct: uu" "$T/info"
        for r in 0 3; do
            cmp <(ncks_group "$T/big.nc" $r) <(ncks_group "$T/m.nc" $r)
        done
    done
}

ncks_group() { # a hash of one small and one large parameter
    ncdump -v "/range$2/input_rs.tp.weight,/range$2/blocks.3.ga.edge_proj.tp.weight" "$1" | sed -n '/^group: range'"$2"'/,/^  }/p' | md5sum
}
