# NextHAM in C. `make help` lists the targets; GNU make and pkg-config are all it needs.
VERSION := 0.1.0
PREFIX  ?= /usr/local
CC      ?= cc
SAN     ?= 0
WERROR  ?= 0

PKGS := netcdf openblas lapacke gsl yaml-0.1 zlib liblzma
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
OPT  ?= -O3 -march=native -fno-math-errno -fno-trapping-math
BUILD := build/$(if $(filter 1,$(SAN)),san,release)
ifeq ($(SAN),1)
  OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
  BIN := $(BUILD)/bin
  LIB := $(BUILD)/libnextham.a
else
  BIN := bin
  LIB := lib/libnextham.a
endif
ifeq ($(WERROR),1)
  WARN += -Werror
endif
CPPFLAGS += -D_GNU_SOURCE -Ilib -I. -DNH_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(PKGS))
CFLAGS   += -std=c11 $(OPT) -g $(WARN) -pthread
LDFLAGS  += $(filter -fsanitize%,$(OPT)) -pthread
LDLIBS   += $(shell pkg-config --libs $(PKGS)) -lm

# Sources compiled for float and for double (lib/base/real.h).
TWICE := $(wildcard lib/ops/*.c lib/network/*.c)
ONCE  := $(filter-out $(TWICE),$(wildcard lib/*/*.c formats/*.c))
OBJ   := $(ONCE:%.c=$(BUILD)/%.o) $(TWICE:%.c=$(BUILD)/%.f.o) $(TWICE:%.c=$(BUILD)/%.d.o)
PROGRAMS := $(patsubst tools/%.c,%,$(wildcard tools/*.c))
UNIT  := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))

.PHONY: all help check unit cli bench demo install dist deps clean man format
.SECONDARY:

all: $(LIB) $(PROGRAMS:%=$(BIN)/%) $(if $(filter 0,$(SAN)),man)

$(LIB): $(OBJ)
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $(OBJ)

$(BUILD)/%.d.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DNH_REAL_DOUBLE $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/%.f.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BIN)/%: $(BUILD)/tools/%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $< $(LIB) $(LDLIBS) -o $@

$(BUILD)/unit/test_%: $(BUILD)/tests/unit/test_%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $< $(LIB) $(LDLIBS) $(shell pkg-config --libs cmocka) -o $@

clean:
	rm -rf build bin man lib/libnextham.a demo

-include $(shell find build -name '*.d' 2>/dev/null)
