foreach(module err buf str clock id json log secret limits config)
	boxd_unit_test(${module} boxd_core)
endforeach()
target_link_libraries(test_log PRIVATE Threads::Threads)
