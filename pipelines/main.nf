// The steps of pipelines/Snakefile for Nextflow (22 or newer), with the same scripts and the same names of settings; no ablation study.
//   nextflow run pipelines/main.nf --crystals crystals.list --out results [-profile slurm] [-resume]
nextflow.enable.dsl = 2

params.crystals = "$projectDir/crystals.list"
params.out = 'results'
params.split = '8:1:1'
params.seed = 1
params.model = ''
params.train = "$projectDir/train-tiny.yaml"
params.set = ['network.basis=4s2p2d1f', 'schedule.epochs=10']
params.batch = 50
params.kpath = ''
params.points = 100
params.mesh = '4 4 4'
setup = "export BIN=${file("$projectDir/../bin")} KPATH='${params.kpath}' POINTS=${params.points} MESH='${params.mesh}' PATH=$projectDir:\$PATH"

process CRYSTALS {
    output: path 'crystals.tsv'
    script: "$setup; crystals.sh ${file(params.crystals)} ${params.split} ${params.seed} > crystals.tsv"
}

process GRAPH { // a crystal that fails is left out: nextflow log lists it
    errorStrategy 'ignore'
    input: tuple val(name), val(source), val(part)
    output: tuple val(name), val(part), path("${name}.nc")
    script: "$setup; graph.sh '$source' ${name}.nc; [ ! -L ${name}.nc ] || cp --remove-destination \$(realpath ${name}.nc) ${name}.nc"
}

process TRAIN {
    cpus 2
    memory '8 GB'
    input: path 'train/*'; path 'validation/*'; path settings
    output: path 'model.nc', emit: model; path 'run', emit: run
    script:
    """
    $setup
    for part in train validation; do ls -d \$PWD/\$part/*.nc > \$part.list; done
    THREADS=${task.cpus} train-run.sh model.nc run $settings train.list validation.list ${params.set.collect { "--set '$it'" }.join(' ')}
    """
}

process PREDICT { // many crystals in one process, which loads the model once
    cpus 2
    memory '8 GB'
    input: path 'graphs/*'; path model
    output: path 'predicted/*.nc', optional: true, emit: hams; path 'predicted/failed', optional: true, emit: failed
    script: "$setup; ls -d \$PWD/graphs/*.nc > list; THREADS=${task.cpus} predict.sh $model list predicted || [ -s predicted/failed ]"
}

process BANDS {
    errorStrategy 'ignore'
    publishDir "${params.out}/bands/${ham.baseName}", mode: 'copy', saveAs: { it.replaceFirst('bands/', '') }
    input: path ham
    output: path 'bands/*'
    script: "$setup; THREADS=${task.cpus} bands.sh $ham bands"
}

process REPORT {
    cpus 2
    publishDir params.out, mode: 'copy'
    input: path 'hams/*'; path 'failed*'; path 'run*'
    output: path 'report'
    script:
    """
    $setup
    ls -d \$PWD/hams/*.nc > predictions.list
    THREADS=${task.cpus} report.sh -o report \$(for r in run*/metrics.tsv; do [ ! -e \$r ] || echo -r \$(dirname \$r); done) \
        \$(for f in failed*; do [ ! -e \$f ] || echo -f \$f; done) predictions.list
    """
}

workflow {
    graphs = GRAPH(CRYSTALS().splitCsv(sep: '\t'))
    part = { wanted -> graphs.filter { it[1] == wanted }.map { it[2] } }
    if (params.model) {
        model = Channel.value(file(params.model))
        run = Channel.value([])
    } else {
        TRAIN(part('train').collect(), part('validation').collect(), file(params.train))
        model = TRAIN.out.model.first()
        run = TRAIN.out.run
    }
    PREDICT(part('test').collate(params.batch as int), model)
    hams = PREDICT.out.hams.flatten()
    BANDS(hams)
    REPORT(hams.collect(), PREDICT.out.failed.collect().ifEmpty([]), run)
}
