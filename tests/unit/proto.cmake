boxd_unit_test(utf8 boxd_proto)
boxd_unit_test(jsonw boxd_proto)
boxd_unit_test(linecut boxd_proto)
boxd_unit_test(sse boxd_proto)
boxd_unit_test(query boxd_proto)
boxd_unit_test(chunked boxd_proto)
boxd_unit_test(http1 boxd_proto)
boxd_unit_test(http1_response boxd_proto)
boxd_unit_test(multipart boxd_proto)
boxd_unit_test(glob boxd_proto)
boxd_unit_test(range boxd_proto)
boxd_unit_test(cond boxd_proto)
boxd_unit_test(lines boxd_proto)
boxd_unit_test(ws_frame boxd_proto)
boxd_unit_test(ws_handshake boxd_proto)

# These let memory run out: proto_oom.h.
foreach(name jsonw linecut sse query glob multipart)
	target_link_options(test_${name} PRIVATE -Wl,--wrap=malloc -Wl,--wrap=realloc)
endforeach()

# Says what the parser makes of a head; tests/http/test_h11_diff.py compares that with h11.
add_executable(http1_check unit/http1_check.c)
target_link_libraries(http1_check PRIVATE boxd_proto)
