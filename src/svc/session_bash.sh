# What a bash of a session is told first. It runs one command after the other, each time told only
# `eval "$__boxd_r"; eval "$__boxd_x"`, because a shell reads lines one byte at a time:
#
#	__boxd_r   reads the text of the command from descriptor 0, the control socket
#	__boxd_x   runs it through the frame, session_frame.sh, and then
#	__boxd_e   remembers how it ended, and silences tracing
#	__boxd_f   reports that, then the state
#
# A report is a letter and a value, ended by NUL (session_feed.c). Nothing here may rely on what a
# command can change: IFS, options, functions of the same name as a builtin, aliases, the locale.
# These are texts and not functions, because the state has all functions in it, and a text is
# evaluated where the traps and variables of the top level are.
#
# An interrupt is signal 47, to the shell alone. Its trap acts only while a command runs. `return`
# in a trap ends the function that is being executed; the DEBUG trap, which comes before each
# command, then ends the function that called it, and so on, until it ends the frame, which is
# sourced for that reason.
exec 251>&1 252>&2
__boxd_on=
__boxd_status=
__boxd_flags=
__boxd_was=
__boxd_command=
__boxd_trap='{ [[ ${__boxd_on-} != 1 ]] || { __boxd_on=2; builtin trap - RETURN; builtin trap "{ builtin return 0 || :; } 2>&-" DEBUG; builtin return 0 || :; }; } 2>&-'
# The beginning. With allexport all that it starts would get the text of the command.
__boxd_b='\builtin trap "$__boxd_trap" 47
__boxd_on=1
\builtin export -n __boxd_on __boxd_status __boxd_flags __boxd_was __boxd_command
\builtin printf "B\0" >&0'
# Nine digits say how many bytes follow, which are characters in any locale or, for __boxd_l, are
# not: changing the locale takes longer than all the rest. The next ones are one line each: with `set -v` a second
# one would be shown. __boxd_m makes one stream of two.
__boxd_r='{ \builtin read -rN9 __boxd_command; \builtin read -rN"$__boxd_command" __boxd_command; } 2>&-'
__boxd_l='{ \builtin read -rN9 __boxd_command; LC_ALL=C \builtin read -rN"$__boxd_command" __boxd_command; } 2>&-'
if [[ -e /dev/fd/250 ]]; then
	__boxd_x='\builtin . /dev/fd/250'
else
	__boxd_x='\builtin eval "$__boxd_b";\builtin eval "$__boxd_command" </dev/null 251>&- 252>&-'
fi
__boxd_m="$__boxd_x 2>&1"';{ \builtin eval "$__boxd_e"; } >&- 2>&-;\builtin eval "$__boxd_f"'
__boxd_x+=';{ \builtin eval "$__boxd_e"; } >&- 2>&-;\builtin eval "$__boxd_f"'
# DEBUG would see the shell at work, and ERR would see the frame fail after the command has: they
# are set anew at the head of each command.
__boxd_e='__boxd_status=$? __boxd_flags=$- __boxd_was=$__boxd_on __boxd_on=
\builtin trap -p DEBUG >&0
\builtin trap - DEBUG
\builtin printf "\0E" >&0
\builtin trap -p ERR >&0
\builtin trap - ERR
\builtin set +vx
__boxd_command='
# S status, was it interrupted, do 1 and 2 lead where they always did, is LC_ALL readonly, options.
# What it prints goes out line by line, so the options come in two lines and not in eighty.
__boxd_f='{
if [[ $__boxd_was == 2 ]]; then __boxd_was=i; else __boxd_was=-; fi
if [[ /dev/fd/1 -ef /dev/fd/251 && /dev/fd/2 -ef /dev/fd/252 ]]; then __boxd_was+=-; else __boxd_was+=r; fi
if [[ ${BASH_VERSINFO[0]} -ge 5 && ${LC_ALL+${LC_ALL@a}} == *r* ]]; then __boxd_was+=l; else __boxd_was+=-; fi
{
\builtin printf "\0H%s\0O%s\0S%s %s %s\0C" "$BASHOPTS" "$SHELLOPTS" "$__boxd_status" "$__boxd_was" "$__boxd_flags"
\builtin pwd
\builtin printf "\0V"
\builtin declare -p
\builtin printf "\0F"
\builtin declare -pf
\builtin printf "\0A"
\builtin alias -p
\builtin printf "\0U"
\builtin umask -p
\builtin printf "\0T"
\builtin trap -p
\builtin printf "\0.\0"
} >&0
} || :'
