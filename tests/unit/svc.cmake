# boxd_unit_test(...) lines of this layer
boxd_unit_test(auth boxd_svc)
boxd_unit_test(ticket boxd_svc)
boxd_unit_test(ports boxd_svc)
# It counts connections, and lets descriptors run out.
target_link_options(test_ports PRIVATE -Wl,--wrap=connect,--wrap=socket)
boxd_unit_test(environ boxd_svc)
boxd_unit_test(launch boxd_svc)
boxd_unit_test(session boxd_svc)
boxd_unit_test(session_stop boxd_svc)
boxd_unit_test(proc boxd_svc)
boxd_unit_test(proc_stop boxd_svc)
boxd_unit_test(proc_table boxd_svc)
foreach(name pty pty_input pty_view pty_table)
	boxd_unit_test(${name} boxd_svc)
endforeach()
boxd_unit_test(outhub boxd_svc)
boxd_unit_test(outhub_disk boxd_svc)
boxd_unit_test(outhub_random boxd_svc)
# It lets memory run out, and takes O_TMPFILE away.
target_link_options(test_outhub_disk PRIVATE
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=openat)
foreach(name spool fs fs_tree fs_move writer replace replace_regex walk walk_run ignore grep grep_walk regex)
	boxd_unit_test(${name} boxd_svc)
endforeach()
# It lets memory run out, and filesystems not say the types of names.
target_link_options(test_walk_run PRIVATE
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=syscall)
