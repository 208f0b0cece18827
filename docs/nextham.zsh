#compdef @PROGRAMS@
# Zsh completion of all programs: the options with their texts from what --help prints, files elsewhere. `make install` fills in the programs' names.
_gnu_generic "$@"
