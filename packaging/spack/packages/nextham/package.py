from spack.package import *


class Nextham(MakefilePackage):
    """Predicts self-consistent DFT Hamiltonians and band structures of crystals."""

    homepage = "https://arxiv.org/abs/2509.19877"
    license("MIT")
    version("0.1.0")  # from a clone: spack develop --path PATH nextham@0.1.0

    variant("mpi", default=True, description="several processes in nhtrain and nhscf")

    depends_on("c", type="build")
    depends_on("gmake", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("spglib")
    depends_on("netcdf-c")
    depends_on("hdf5+hl")
    depends_on("fftw@3")
    depends_on("openblas threads=pthreads")
    depends_on("netlib-lapack+lapacke")
    depends_on("libyaml")
    depends_on("zlib-api")
    depends_on("libdeflate")
    depends_on("xz")
    depends_on("expat")
    depends_on("openmpi", when="+mpi")
    depends_on("gnuplot", type="run")

    @property
    def options(self):
        mpi = "1" if "+mpi" in self.spec else "0"
        return ["PORTABLE=1", "NVCC=", "MPI=" + mpi, "PREFIX=" + self.prefix]

    def build(self, spec, prefix):
        make("all", "shared", *self.options)

    def install(self, spec, prefix):
        make("install", *self.options)
