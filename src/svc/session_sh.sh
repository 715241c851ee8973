# What a POSIX shell of a session is told first: session_bash.sh says what it is about. Here the
# text of a command comes as a quoted word, because nothing reads a number of bytes; an interrupt
# ends the shell, because nothing leaves a command in the middle; and functions cannot be listed.
__boxd_e='__boxd_status=$? __boxd_flags=$-
command set +vx'
__boxd_begin() {
	command printf 'B\0' >&0
}
__boxd_end() {
	{
		command printf 'S%s --- %s\0C' "$__boxd_status" "$__boxd_flags"
		command unset __boxd_status __boxd_flags
		command pwd
		command printf '\0V'
		command set
		command printf '\0X'
		command export -p
		command printf '\0R'
		command readonly -p
		command printf '\0L'
		command alias
		command printf '\0Uumask '
		command umask
		command printf '\0O'
		command set +o
		command printf '\0T'
		command trap
		command printf '\0.\0'
	} >&0 || :
}
