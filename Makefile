# NextHAM in C. `make help` lists the targets; GNU make and pkg-config are all it needs.
MAKEFLAGS += --no-builtin-rules
VERSION := 0.1.0
PREFIX  ?= /usr/local
CC      ?= cc
SAN     ?= 0
PORTABLE ?= 0
FUZZ    ?= 0
WERROR  ?= 0
# V=1 shows whole commands.
V       ?= 0
Q       := $(if $(filter 1,$V),,@)

PKGS := spglib netcdf fftw3 hdf5 openblas lapacke yaml-0.1 zlib libdeflate liblzma expat
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
OPT  ?= -O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=fast
# SAN=1: for AddressSanitizer and UBSan. PORTABLE=1: for any machine of the family. VECTOR=64: with vectors of 64 bytes (those of
# AVX-512), which are right on every machine, and slow where registers are shorter: for tests. FUZZ=1: the readers, for libFuzzer.
KIND  := $(if $(filter 1,$(FUZZ)),fuzz,$(if $(filter 1,$(SAN)),san,$(if $(filter 1,$(PORTABLE)),portable,$(if $(VECTOR),vector$(VECTOR),release))))
BUILD := build/$(KIND)
BIN   := $(BUILD)/bin
LIB   := $(BUILD)/libnextham.a
ifeq ($(KIND),release)
  BIN := bin
  LIB := lib/libnextham.a
else ifeq ($(KIND),san)
  OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else ifeq ($(KIND),fuzz)
  OPT := -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all -fno-omit-frame-pointer -Werror=implicit-function-declaration
else ifeq ($(KIND),portable)
  # A shared library, whose network and operations are compiled for three levels of the instruction set. The loader takes the
  # best that the machine has (glibc-hwcaps, ld.so(8)).
  OPT := -O3 -fPIC -fno-semantic-interposition -fno-math-errno -fno-trapping-math -ffp-contract=fast
  LIBRARIES := $(BUILD)/lib/nextham
  LIB := $(LIBRARIES)/libnextham.so
  LEVELS := $(if $(filter x86_64,$(shell uname -m)),x86-64-v3 x86-64-v4)
  LDFLAGS += -Wl,-rpath,'$$ORIGIN/../lib/nextham'
else
  OPT += -DNH_VECTOR=$(VECTOR) -Wno-psabi
endif
ifeq ($(WERROR),1)
  WARN += -Werror
endif
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS))
CPPFLAGS += -D_GNU_SOURCE -Ilib -I. -DNH_VERSION='"$(VERSION)"' $(PKG_CFLAGS)
# Several processes in nhtrain, where OpenMPI is there (MPI=0: without).
MPI ?= $(if $(filter 1,$(SAN) $(FUZZ)),0,$(shell pkg-config --exists ompi-c && echo 1))
ifeq ($(MPI),1)
  MPI_CFLAGS := $(shell pkg-config --cflags-only-I ompi-c)
  CPPFLAGS += -DNH_MPI $(MPI_CFLAGS)
  LDLIBS_MPI := $(shell pkg-config --libs ompi-c)
endif
# Sparse eigenproblems of geneig, where the sequential MUMPS is there (MUMPS=0: without).
MUMPS ?= $(if $(wildcard /usr/include/dmumps_c.h /usr/local/include/dmumps_c.h),1)
ifeq ($(MUMPS),1)
  %/lib/sparse/factor.o: CPPFLAGS += -DNH_MUMPS
  LDLIBS_MUMPS := -ldmumps_seq
endif
CFLAGS   += -std=c11 $(OPT) -g $(WARN) -pthread
LDFLAGS  += $(filter -fsanitize%,$(OPT)) -pthread
PKG_LIBS := $(shell pkg-config --libs $(PKGS))
# MPI first: the sequential MUMPS has an MPI_Comm_rank and MPI_Init of its own, of one process.
LDLIBS   += $(PKG_LIBS) -lm -Wl,--as-needed $(LDLIBS_MPI) $(LDLIBS_MUMPS)

# Sources compiled for float and for double (lib/base/real.h).
TWICE := $(wildcard lib/ops/*.c lib/network/*.c) lib/ensemble/feature_rows.c lib/ensemble/predict_io.c lib/training/submodel.c
ONCE  := $(filter-out $(TWICE),$(wildcard lib/*/*.c formats/*.c formats/*/*.c))
# Loops over points of the grid: where the instruction set is chosen when a program starts, for each, as TWICE are.
WIDE  := lib/lcao/tile_kernels.c lib/lcao/orbital_table.c
OBJ   := $(ONCE:%.c=$(BUILD)/%.o) $(TWICE:%.c=$(BUILD)/%.f.o) $(TWICE:%.c=$(BUILD)/%.d.o)
ifeq ($(KIND),fuzz)
  # Readers and what they use.
  OBJ := $(patsubst %.c,$(BUILD)/%.o,$(filter-out formats/netcdf/run_folder.c,$(filter lib/base/% lib/crystal/% lib/properties/% lib/o3/% lib/nextham/% \
         lib/lcao/% lib/device/% lib/plan/% formats/%,$(ONCE))) $(wildcard lib/training/settings*.c lib/training/kspace.c))
endif
PROGRAMS := $(patsubst tools/%.c,%,$(wildcard tools/*.c))
UNIT  := $(basename $(notdir $(wildcard tests/unit/test_*.c tests/unit/test_*.cc)))

# The front door knows the others by name.
$(BUILD)/tools/nextham.o: CPPFLAGS += -DNH_PROGRAMS='$(foreach p,$(PROGRAMS),"$(p)",)'

include kernels/kernels.mk
.DEFAULT_GOAL := all
.PHONY: all help check check-quick check-vectors fuzz unit bench demo install dist deb deps clean man format format-check
.SECONDARY:

all: $(LIB) $(PROGRAMS:%=$(BIN)/%) $(if $(filter release portable,$(KIND)),man $(if $(NVCC),cuda))

ifeq ($(KIND),portable)
SHARED = $(CC) -shared -Wl,-Bsymbolic-functions $(LDFLAGS) $(filter %.o,$^) $(LDLIBS) -Wl,-soname,libnextham.so -o $@
$(LIB): $(OBJ) $(LEVELS:%=$(LIBRARIES)/glibc-hwcaps/%/libnextham.so)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(SHARED)

define LEVEL_RULES
$(BUILD)/$(1)/%.d.o: %.c
	@mkdir -p $$(@D)
	@echo '  CC    $$< ($(1))'
	$$Q$$(CC) $$(CPPFLAGS) -DNH_REAL_DOUBLE $$(CFLAGS) -march=$(1) -MMD -MP -c $$< -o $$@
$(BUILD)/$(1)/%.f.o: %.c
	@mkdir -p $$(@D)
	@echo '  CC    $$< ($(1))'
	$$Q$$(CC) $$(CPPFLAGS) $$(CFLAGS) -march=$(1) -MMD -MP -c $$< -o $$@
$(BUILD)/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	@echo '  CC    $$< ($(1))'
	$$Q$$(CC) $$(CPPFLAGS) $$(CFLAGS) -march=$(1) -MMD -MP -c $$< -o $$@
$(LIBRARIES)/glibc-hwcaps/$(1)/libnextham.so: $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(WIDE),$(ONCE))) $(WIDE:%.c=$(BUILD)/$(1)/%.o) $(TWICE:%.c=$(BUILD)/$(1)/%.f.o) $(TWICE:%.c=$(BUILD)/$(1)/%.d.o)
	@mkdir -p $$(@D)
	@echo '  LD    $$@'
	$$Q$$(SHARED)
endef
$(foreach level,$(LEVELS),$(eval $(call LEVEL_RULES,$(level))))
else
$(LIB): $(OBJ)
	@mkdir -p $(@D)
	@echo '  AR    $@'
	$Qrm -f $@ && ar rcs $@ $(OBJ)
endif

$(BUILD)/%.d.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$Q$(CC) $(CPPFLAGS) -DNH_REAL_DOUBLE $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/%.f.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$Q$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$Q$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BIN)/%: $(BUILD)/tools/%.o $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(CC) $(LDFLAGS) $< $(LIB) $(LDLIBS) -o $@

$(BUILD)/unit/test_%: $(BUILD)/tests/unit/test_%.o $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(CC) $(LDFLAGS) $< $(LIB) $(LDLIBS) $(shell pkg-config --libs cmocka) -o $@

# --- tests and timings ---------------------------------------------------------------------------------------------
# Preloaded, it makes one allocation of a program fail (tests/cli/memory.bats). AddressSanitizer has its own allocator.
FAULTS := $(if $(filter san,$(KIND)),,$(BUILD)/faults/failmalloc.so)
unit: $(UNIT:%=$(BUILD)/unit/%) $(BUILD)/fuzz/replay $(FAULTS) $(EMU_SO)

# Everything: unit tests and the programs through their command lines. SAN=1: under AddressSanitizer and UBSan.
check: all unit $(if $(filter release,$(KIND)),shared)
	tests/run --unit $(BUILD)/unit --bin $(BIN)

# For the loop of editing and testing: what takes less than about three seconds, and no kernels. 20 s on two cores.
QUICK := $(filter-out test_kernels% test_training test_invariance,$(UNIT))
check-quick: $(LIB) $(PROGRAMS:%=$(BIN)/%) $(QUICK:%=$(BUILD)/unit/%)
	tests/run --unit $(BUILD)/unit --bin $(BIN) $(QUICK:%=$(BUILD)/unit/%) $(addprefix tests/cli/,mkgraph.bats time_reversal.bats fourier.bats)

# Tests that depend on the vector width.
VECTOR_UNIT := $(addprefix $(BUILD)/unit/,test_ops test_frame test_kernels test_network test_gradient)
check-vectors: $(VECTOR_UNIT)
	tests/run $(VECTOR_UNIT)

$(BUILD)/faults/failmalloc.so: tests/faults/failmalloc.c
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(CC) $(CPPFLAGS) -std=c11 -O1 $(WARN) -shared -fPIC $< -ldl -o $@

# --- the readers against any bytes (docs/security.md): replay runs the corpora with any compiler, fuzz finds new inputs
FUZZ_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/fuzz/*.c))
$(BUILD)/fuzz/replay: $(FUZZ_OBJ) $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@
build/fuzz/fuzz: $(FUZZ_OBJ) $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(CC) -fsanitize=address,undefined,fuzzer -pthread $^ $(LDLIBS) -o $@
build/fuzz/tests/fuzz/main.o: CPPFLAGS += -DNH_LIBFUZZER

# Seconds for each target; the targets (all of them where it is empty).
FUZZ_TIME    ?= 60
FUZZ_TARGETS ?=
CLANG        ?= clang
fuzz:
	@command -v $(CLANG) >/dev/null || { echo "make fuzz: libFuzzer needs clang (apt-get install clang); CLANG=NAME for another name" >&2; exit 1; }
	@$(MAKE) FUZZ=1 CC="$(CLANG)" NVCC= build/fuzz/fuzz
	tests/fuzz/run --seconds $(FUZZ_TIME) $(FUZZ_TARGETS)

$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(CC) $(LDFLAGS) $< $(LIB) $(LDLIBS) -o $@

# Crystals in the list of the benchmark of long lists.
CRYSTALS ?= 1000
# Cells of silicon along each axis (5: 1000 atoms, 3 GB of files in $TMPDIR; 0: none).
SILICON ?= 5
BENCH := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))
bench: all $(BENCH)
	tests/bench/run --bench $(BUILD)/bench --bin $(BIN) --crystals $(CRYSTALS) --silicon $(SILICON)

# --- the main job on the crystal that the repository ships ------------------------------------------------------------
demo: all
	pipelines/demo.sh $(BIN) demo

# --- manual pages: from the same tables as --help ---------------------------------------------------------------------
# Formats (section 5) and the overview (section 7): docs/man.
PAGES := $(filter %.5 %.7,$(notdir $(wildcard docs/man/*)))
man: $(PROGRAMS:%=man/%.1) $(PAGES:%=man/%)
man/%.1: $(BIN)/%
	@mkdir -p $(@D)
	$Q$< --man > $@.tmp && mv $@.tmp $@
$(PAGES:%=man/%): man/%: docs/man/% docs/man/page $(PROGRAMS:%=man/%.1) $(wildcard formats/netcdf/*.cdl)
	$Qdocs/man/page $< $(VERSION) $(filter %.1,$^) > $@.tmp && mv $@.tmp $@

# --- packages ---------------------------------------------------------------------------------------------------------
DEBIAN := gcc g++ make pkg-config libc6-dev libnetcdf-dev libhdf5-dev libsymspg-dev libfftw3-dev libopenblas-dev liblapacke-dev libyaml-dev zlib1g-dev libdeflate-dev liblzma-dev libexpat1-dev libmumps-seq-dev \
          gnuplot-nox libcmocka-dev bats netcdf-bin groff-base xz-utils python3-numpy python3-netcdf4
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
deps:
	@missing=; for p in $(DEBIAN); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

# --- the library for other programs: public headers, a shared library with what they declare, nextham.pc -----------------
ABI    := 0
PUBLIC := $(addprefix base/,error.h progress.h threads.h version.h) \
          $(addprefix crystal/,bands.h condition.h eigen.h fourier.h graph.h kpath.h kpoints.h neighbours.h pairs.h spectrum.h structure.h) \
          formats/library.h
PUBLIC_FILES := $(foreach h,$(PUBLIC),$(firstword $(wildcard lib/$(h) $(h))))
SONAME := libnextham.so.$(ABI)
PUBLIC_SO := $(BUILD)/public/$(SONAME)

# Objects for it: without training, whose processes would bring MPI along; the linker takes those that are needed.
NOT_PUBLIC := lib/training/% formats/netcdf/run_folder.c
PIC_ONCE  := $(filter-out $(NOT_PUBLIC),$(ONCE))
PIC_TWICE := $(filter-out $(NOT_PUBLIC),$(TWICE))
ifeq ($(KIND),portable)
  PIC := $(BUILD)
else
  PIC := $(BUILD)/pic
  PIC_FLAGS := -fPIC -fno-semantic-interposition
endif
pic_objects = $(PIC_ONCE:%.c=$(PIC)/%.o) $(PIC_TWICE:%.c=$(1)/%.f.o) $(PIC_TWICE:%.c=$(1)/%.d.o)
$(PIC)/public/symbols: include/symbols include/nextham.h $(PUBLIC_FILES)
	@mkdir -p $(@D)
	$Qinclude/symbols include/nextham.h $(CC) $(CPPFLAGS) > $@
$(PIC)/public/exports: $(PIC)/public/symbols
	$Qsed '1i { global:' $< | sed '1!s/$$/;/; $$a local: *; };' > $@
# PUBLIC_LINK: objects in an archive of their own, so that only what the public functions reach is in the library.
PUBLIC_LINK = rm -f $@.a && ar rcs $@.a $(filter %.o,$^) && $(CC) -shared $(LDFLAGS) -Wl,--as-needed -Wl,-soname,$(SONAME) \
              -Wl,--version-script=$(PIC)/public/exports -Wl,-z,defs $$(sed 's/^/-Wl,-u,/' $(PIC)/public/symbols) $@.a $(LDLIBS) -o $@ && rm $@.a
$(PUBLIC_SO): $(call pic_objects,$(PIC)) $(PIC)/public/exports
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(PUBLIC_LINK)
define PUBLIC_LEVEL
$(BUILD)/public/glibc-hwcaps/$(1)/$(SONAME): $(call pic_objects,$(BUILD)/$(1)) $(PIC)/public/exports
	@mkdir -p $$(@D)
	@echo '  LD    $$@'
	$$Q$$(PUBLIC_LINK)
endef
$(foreach level,$(LEVELS),$(eval $(call PUBLIC_LEVEL,$(level))))
PUBLIC_LEVELS := $(LEVELS:%=$(BUILD)/public/glibc-hwcaps/%/$(SONAME))
ifneq ($(KIND),portable)
$(PIC)/%.d.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $< (shared)'
	$Q$(CC) $(CPPFLAGS) -DNH_REAL_DOUBLE $(CFLAGS) $(PIC_FLAGS) -MMD -MP -c $< -o $@
$(PIC)/%.f.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $< (shared)'
	$Q$(CC) $(CPPFLAGS) $(CFLAGS) $(PIC_FLAGS) -MMD -MP -c $< -o $@
$(PIC)/%.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $< (shared)'
	$Q$(CC) $(CPPFLAGS) $(CFLAGS) $(PIC_FLAGS) -MMD -MP -c $< -o $@
endif
.PHONY: shared
shared: $(PUBLIC_SO) $(PUBLIC_LEVELS)

# --- installation: programs, library, manual pages, workflows with their models. PORTABLE=1: for other machines, too; the
# programs' own library is then in lib/nextham.
TO := $(DESTDIR)$(PREFIX)
to_public = sed -E 's,^\#include "(base|crystal|formats)/,\#include "nextham/\1/,' $(1) > $(TO)/include/$(2)
install: all shared
	install -d $(TO)/bin $(TO)/lib/pkgconfig $(TO)/share/man/man1 $(TO)/share/nextham $(addprefix $(TO)/include/nextham/,base crystal formats)
	install -m 755 $(PROGRAMS:%=$(BIN)/%) $(TO)/bin
	install -m 755 $(PUBLIC_SO) $(TO)/lib/$(SONAME).$(VERSION)
	ln -sf $(SONAME).$(VERSION) $(TO)/lib/$(SONAME)
	ln -sf $(SONAME) $(TO)/lib/libnextham.so
	$(if $(NVCC),install -m 644 lib/libnhkernels.so $(TO)/lib)
	$(if $(filter portable,$(KIND)),install -D -m 644 -t $(TO)/lib/nextham $(LIB),install -m 644 $(LIB) $(TO)/lib)
	$(foreach level,$(LEVELS),install -D -m 644 -t $(TO)/lib/nextham/glibc-hwcaps/$(level) $(LIBRARIES)/glibc-hwcaps/$(level)/libnextham.so;)
	$(foreach level,$(LEVELS),install -D -m 644 -t $(TO)/lib/glibc-hwcaps/$(level) $(BUILD)/public/glibc-hwcaps/$(level)/$(SONAME);)
	install -m 644 $(PROGRAMS:%=man/%.1) $(TO)/share/man/man1
	@$(call to_public,include/nextham.h,nextham.h)
	@for h in $(PUBLIC); do f=lib/$$h; [ -e $$f ] || f=$$h; $(call to_public,$$f,nextham/$$h); done
	sed -e 's,@PREFIX@,$(PREFIX),; s,@VERSION@,$(VERSION),; s,@PACKAGES@,$(PKGS),; s,@LIBS@,-lm -pthread $(LDLIBS_MPI),' include/nextham.pc.in > $(TO)/lib/pkgconfig/nextham.pc
	@cd pipelines && find . -type f -exec sh -c 'for f; do mode=644; [ ! -x "$$f" ] || mode=755; install -D -m $$mode "$$f" "$(abspath $(TO))/share/nextham/pipelines/$$f"; done' - {} +
	ln -sfn ../../bin $(TO)/share/nextham/bin
	install -D -m 644 -t $(TO)/share/man/man5 $(patsubst %,man/%,$(filter %.5,$(PAGES)))
	install -D -m 644 -t $(TO)/share/man/man7 $(patsubst %,man/%,$(filter %.7,$(PAGES)))
	install -d $(TO)/share/bash-completion/completions
	install -m 644 docs/nextham.bash $(TO)/share/bash-completion/completions/nhinfer
	for p in $(filter-out nhinfer,$(PROGRAMS)); do ln -sf nhinfer $(TO)/share/bash-completion/completions/$$p; done
	install -d $(TO)/share/zsh/site-functions
	sed 's/@PROGRAMS@/$(PROGRAMS)/' docs/nextham.zsh > $(TO)/share/zsh/site-functions/_nextham

# The committed tree as nextham-VERSION.tar.gz.
dist:
	git archive --prefix=nextham-$(VERSION)/ -o nextham-$(VERSION).tar.gz HEAD

# Debian packages of the committed tree, in build/deb (packaging/README.md).
deb:
	rm -rf build/deb
	mkdir -p build/deb/nextham-$(VERSION)
	git archive HEAD | tar -x -C build/deb/nextham-$(VERSION)
	cp -r packaging/debian build/deb/nextham-$(VERSION)/debian
	cd build/deb/nextham-$(VERSION) && dpkg-buildpackage -us -uc

# C, C++ and CUDA in one style (.clang-format); format-check: names what is not, changes nothing.
SOURCES = $(shell git ls-files "*.c" "*.h" "*.inc" "*.cu" "*.cc")
format:
	@.ci/format $(SOURCES)
format-check:
	@.ci/format --check $(SOURCES)

help:
	@echo 'make            programs in bin/, lib/libnextham.a, manual pages in man/'
	@echo 'make deps       install the Debian packages that are missing'
	@echo 'make demo       the whole pipe on the GaAs run in pipelines/, results in demo/'
	@echo 'make check      all tests (SAN=1: under AddressSanitizer and UBSan)   make check-quick those of 20 s'
	@echo 'make fuzz       the readers against any bytes, FUZZ_TIME=60 seconds each (needs clang)'
	@echo 'make bench      timings, with the sgemm rate of the same run'
	@echo 'make cuda       the kernels, where nvcc is; part of make then'
	@echo 'make check-cuda the tests of the kernels on the CUDA device   make bench-cuda their times'
	@echo 'make PORTABLE=1 for any x86-64: in build/portable, the instruction set is chosen when a program starts'
	@echo 'make install PREFIX=/usr/local [DESTDIR=] [PORTABLE=1]   programs and library    make shared    make dist    make clean'
	@echo 'make deb        Debian packages, in build/deb'
	@echo 'make format     clang-format over C, C++ and CUDA          make format-check changes nothing'

clean:
	rm -rf build bin man lib/libnextham.a lib/libnhkernels.so kernels/libnhkernels.a demo

-include $(shell find build -name '*.d' 2>/dev/null)
