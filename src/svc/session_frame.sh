# Sourced by bash for each command, from a sealed memory file. One line: with `set -v` a second one
# would be shown. The private descriptors are closed for the command; the shell keeps them aside in
# copies that no program it executes inherits.
\builtin eval "$__boxd_b";\builtin eval "$__boxd_command" </dev/null 250<&- 251>&- 252>&-
