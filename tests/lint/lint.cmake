# What the compiler does not check: layers, limits, style. Each check has a self-test that shows it
# the violations it exists for, so that none of them passes because it sees nothing.
find_program(PYTHON3 python3 REQUIRED)
set(lint ${PROJECT_SOURCE_DIR}/tests/lint)

# boxd_lint(<name> <command...>)
function(boxd_lint name)
	add_test(NAME lint/${name} COMMAND ${ARGN} ${PROJECT_SOURCE_DIR})
	add_test(NAME lint/${name}-self-test COMMAND ${ARGN} --self-test
		WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
	set_tests_properties(lint/${name} lint/${name}-self-test PROPERTIES LABELS lint TIMEOUT 60)
endfunction()

boxd_lint(layers ${PYTHON3} ${lint}/layers.py)
boxd_lint(limits ${PYTHON3} ${lint}/limits_numbers.py)
boxd_lint(style sh ${lint}/style.sh)
boxd_lint(routes ${PYTHON3} ${lint}/routes.py)

# The README's tables need the program that prints them.
add_test(NAME lint/readme COMMAND ${PYTHON3} ${lint}/readme_tables.py $<TARGET_FILE:boxd>
	${PROJECT_SOURCE_DIR}/README.md)
add_test(NAME lint/readme-self-test COMMAND ${PYTHON3} ${lint}/readme_tables.py --self-test
	WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
set_tests_properties(lint/readme lint/readme-self-test PROPERTIES LABELS lint TIMEOUT 60)
