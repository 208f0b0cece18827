# The kernels: compiled by nvcc where there is one (kernels/libnhkernels.a, lib/libnhkernels.so), and always by the C++
# compiler against the emulation in kernels/emu, for the tests.
CXX  ?= c++
NVCC ?= $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
CUDA_HOME := $(if $(NVCC),$(patsubst %/bin/nvcc,%,$(realpath $(shell command -v $(NVCC)))))
CUDA_ARCH ?= -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -gencode arch=compute_90,code=compute_90
NVFLAGS   ?= -std=c++17 -O3 $(CUDA_ARCH) $(if $(filter 1,$(WERROR)),-Werror all-warnings) -Xcompiler -Wall,-Wextra,-fPIC

KERNELS_TWICE := $(addprefix kernels/,adam.cu attention.cu dense.cu embedding.cu gate.cu invariants.cu lift.cu linear.cu \
                   network.cu norm.cu product.cu radial.cu rows.cu training.cu)
KERNELS_ONCE  := $(filter-out $(KERNELS_TWICE),$(wildcard kernels/*.cu))
kernel_objects = $(KERNELS_ONCE:%.cu=$(1)/%.o) $(KERNELS_TWICE:%.cu=$(1)/%.f.o) $(KERNELS_TWICE:%.cu=$(1)/%.d.o)

# --- emulated
EMU        := $(BUILD)/emu
EMU_OBJ    := $(call kernel_objects,$(EMU)) $(EMU)/kernels/emu/emu.o
# threadIdx and the like belong to a thread of the host: to be reached without a call, although in a library that is loaded late.
EMU_FLAGS  := -std=c++17 $(OPT) -g -Wall -Wextra -Wshadow -Wno-unknown-pragmas $(if $(filter 1,$(WERROR)),-Werror) -fPIC -pthread \
              -ftls-model=initial-exec -DNHK_EMULATE
EMU_COMPILE = $(CXX) $(CPPFLAGS) $(EMU_FLAGS) -MMD -MP -x c++ -c $< -o $@
EMU_LIB    := $(EMU)/libnhkernels.a
EMU_SO     := $(EMU)/libnhkernels.so

.PHONY: emu cuda
emu: $(EMU_LIB) $(EMU_SO)

$(EMU)/%.d.o: %.cu
	@mkdir -p $(@D)
	@echo '  EMU   $<'
	$Q$(EMU_COMPILE) -DNH_REAL_DOUBLE
$(EMU)/%.f.o: %.cu
	@mkdir -p $(@D)
	@echo '  EMU   $<'
	$Q$(EMU_COMPILE)
$(EMU)/%.o: %.cu
	@mkdir -p $(@D)
	@echo '  EMU   $<'
	$Q$(EMU_COMPILE)
$(EMU)/kernels/emu/%.o: kernels/emu/%.cc
	@mkdir -p $(@D)
	@echo '  EMU   $<'
	$Q$(EMU_COMPILE)
$(EMU_LIB): $(EMU_OBJ)
	$Qrm -f $@ && ar rcs $@ $^
$(EMU_SO): $(EMU_OBJ)
	@echo '  LD    $@'
	$Q$(CXX) $(LDFLAGS) -shared $^ $(shell pkg-config --libs openblas lapacke fftw3) -o $@

# Tests of the kernels, against the emulation: C, or C++ where they hold kernels of their own.
KERNEL_UNIT := $(basename $(notdir $(wildcard tests/unit/test_kernels*.c tests/unit/test_kernels*.cc)))
$(BUILD)/tests/unit/%.o: tests/unit/%.cc
	@mkdir -p $(@D)
	@echo '  CXX   $<'
	$Q$(EMU_COMPILE)
$(KERNEL_UNIT:%=$(BUILD)/unit/%): $(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(EMU_LIB) $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(CXX) $(LDFLAGS) $< $(EMU_LIB) $(LIB) $(LDLIBS) $(shell pkg-config --libs cmocka) -o $@

# --- by nvcc
CUDA     := build/cuda
CUDA_OBJ := $(call kernel_objects,$(CUDA))
CUDA_LIBS := -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64 -lcusolver -lcublas -lcufft -lcudart
ifneq ($(NVCC),)
cuda: kernels/libnhkernels.a lib/libnhkernels.so
else
cuda:
	@echo 'no nvcc: no CUDA kernels (NVCC=/path/to/nvcc)'; exit 1
endif

$(CUDA)/%.d.o: %.cu
	@mkdir -p $(@D)
	@echo '  NVCC  $<'
	$Q$(NVCC) $(CPPFLAGS) $(NVFLAGS) -DNH_REAL_DOUBLE -MMD -MP -c $< -o $@
$(CUDA)/%.f.o: %.cu
	@mkdir -p $(@D)
	@echo '  NVCC  $<'
	$Q$(NVCC) $(CPPFLAGS) $(NVFLAGS) -MMD -MP -c $< -o $@
$(CUDA)/%.o: %.cu
	@mkdir -p $(@D)
	@echo '  NVCC  $<'
	$Q$(NVCC) $(CPPFLAGS) $(NVFLAGS) -MMD -MP -c $< -o $@
kernels/libnhkernels.a: $(CUDA_OBJ)
	@echo '  AR    $@'
	$Qrm -f $@ && ar rcs $@ $^
lib/libnhkernels.so: kernels/libnhkernels.a
	@echo '  LD    $@'
	$Q$(CXX) -shared -Wl,--whole-archive $< -Wl,--no-whole-archive $(CUDA_LIBS) -o $@

# On a machine with a device: the tests of the kernels, and their times.
.PHONY: check-cuda bench-cuda
CUDA_CHECK := test_kernels_eigen test_kernels_lcao test_kernels_ops test_kernels_embedding test_kernels_loss test_kernels_outputs test_kernels_training test_kernels_network \
              test_kernels_gradient test_kernels_predict
CUDA_LINK   = $(CXX) $(LDFLAGS) $< kernels/libnhkernels.a $(LIB) $(CUDA_LIBS) $(LDLIBS)
$(CUDA)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$Q$(CC) $(CPPFLAGS) -DNH_REAL_DEVICE $(CFLAGS) -MMD -MP -c $< -o $@
$(CUDA)/unit/%: $(CUDA)/tests/unit/%.o kernels/libnhkernels.a $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(CUDA_LINK) $(shell pkg-config --libs cmocka) -o $@
$(CUDA)/bench/%: $(CUDA)/tests/bench/cuda/%.o kernels/libnhkernels.a $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(CUDA_LINK) -o $@
# The programs of both, to be compiled where there is no device to run them.
.PHONY: cuda-programs
CUDA_PROGRAMS := $(CUDA_CHECK:%=$(CUDA)/unit/%) $(CUDA)/bench/bench_kernels
cuda-programs: $(if $(NVCC),cuda $(CUDA_PROGRAMS))
check-cuda: cuda $(CUDA_CHECK:%=$(CUDA)/unit/%)
	tests/run --timeout 1200 --jobs 1 $(CUDA_CHECK:%=$(CUDA)/unit/%)
bench-cuda: cuda $(CUDA)/bench/bench_kernels
	$(CUDA)/bench/bench_kernels

# The same program on the emulated device: that its results are right, its times mean nothing.
$(BUILD)/bench/emulated/%: $(BUILD)/tests/bench/cuda/%.o $(EMU_LIB) $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$Q$(CXX) $(LDFLAGS) $< $(EMU_LIB) $(LIB) $(LDLIBS) -o $@
