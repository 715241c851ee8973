boxd_unit_test(utf8 boxd_proto)
boxd_unit_test(jsonw boxd_proto)
boxd_unit_test(linecut boxd_proto)
boxd_unit_test(sse boxd_proto)
boxd_unit_test(query boxd_proto)
boxd_unit_test(chunked boxd_proto)
boxd_unit_test(http1 boxd_proto)

# These let memory run out: proto_oom.h.
foreach(name jsonw linecut sse query)
	target_link_options(test_${name} PRIVATE -Wl,--wrap=malloc -Wl,--wrap=realloc)
endforeach()

add_executable(http1_check unit/http1_check.c)
target_link_libraries(http1_check PRIVATE boxd_proto)
