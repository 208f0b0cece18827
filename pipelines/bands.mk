# Bands, pictures and tables of errors of any number of crystals, in parallel:
#
#   make -f pipelines/bands.mk -j2 LIST=crystals.list MODEL=model.nc OUT=bands
#
# LIST: one crystal a line: an ABACUS folder, a graph.nc or a structure file (graph.sh), relative to the list's folder, and, after a tab, its
# name where that is not the file's own without suffix (crystals.sh). For each crystal OUT/NAME/ gets graph.nc,
# ham.nc, and bands.svg, errors.tsv and eigenvalues in bands/ (bands.sh, whose variables KPATH, POINTS, WINDOW work here too).
# OUT/errors.tsv has all of them. THREADS [1] of each program: make -j runs several.
#
# A product is made anew only where its inputs or the model changed. A crystal that fails does not stop the others: what went wrong is
# listed in the end, and in OUT/failed.tsv, and the next call tries it again.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:

self := $(abspath $(lastword $(MAKEFILE_LIST)))
here := $(dir $(self))
BIN ?= $(abspath $(here)/../bin)
MODEL ?= $(here)model.nc
OUT ?= bands
THREADS ?= 1
export BIN KPATH POINTS WINDOW THREADS

ifeq ($(LIST),)
  $(error LIST=FILE missing: one crystal a line)
endif
# A word for the shell, whatever is in it. Names of files inside of crystals never reach make (inputs.sh).
quote = '$(subst ','\'',$1)'
names := $(shell $(call quote,$(here)inputs.sh) $(call quote,$(LIST)) $(call quote,$(OUT)))
ifneq ($(.SHELLSTATUS),0)
  $(error $(LIST) cannot be used)
endif
# OUT and MODEL are names of targets for make, which knows no quoting.
plain := $(shell printf '%s' $(call quote,$(OUT)$(MODEL)$(here)$(BIN)) | grep -Eqv '[^A-Za-z0-9_./+=,@~-]' && echo yes)
ifneq ($(plain),yes)
  $(error OUT, MODEL, BIN and the folder of bands.mk: letters, digits, _ . / + = , @ ~ - expected)
endif

.PHONY: all crystals
all:
	@mkdir -p $(OUT); $(MAKE) --no-print-directory -k -f $(self) crystals 2>&1 | grep -v '^make' || true
	@for name in $(names); do \
	    if [ ! -e $(OUT)/$$name/failed ]; then \
	        awk -v OFS='\t' -v name="$$name" '{ print sub(/^#/, "") ? "#crystal" : name, $$0 }' $(OUT)/$$name/bands/errors.tsv; \
	    fi; \
	done | awk '!/^#/ || !n++' > $(OUT)/errors.tsv; \
	rm -f $(OUT)/failed.tsv; \
	for name in $(names); do \
	    [ ! -e $(OUT)/$$name/failed ] || printf '%s\t%s\n' "$$name" "$$(< $(OUT)/$$name/failed)" >> $(OUT)/failed.tsv; \
	done; \
	if [ -e $(OUT)/failed.tsv ]; then \
	    echo "failed: $$(wc -l < $(OUT)/failed.tsv) of $(words $(names)) crystals"; sed 's/^/  /' $(OUT)/failed.tsv; exit 1; \
	fi

crystals: $(names:%=$(OUT)/%/bands/errors.tsv)

# $(call step,COMMAND): a step of one crystal.
folder = $(OUT)/$*
step = @echo '  $* $(@F)'; $(here)attempt.sh $(folder) $1

$(OUT)/%/graph.nc: $(OUT)/%/inputs
	$(call step,$(here)graph.sh "$$(< $(folder)/input)" $@)

$(OUT)/%/ham.nc: $(OUT)/%/graph.nc $(MODEL)
	$(call step,$(BIN)/nhinfer -q -j $(THREADS) -m $(MODEL) -o $@ $<)

$(OUT)/%/bands/errors.tsv: $(OUT)/%/ham.nc
	$(call step,$(here)bands.sh $< $(@D))
