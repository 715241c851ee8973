# boxd_unit_test(...) lines of this layer
boxd_unit_test(ws_deflate boxd_net)

# costs.
add_executable(ws_echo http/ws_echo.c)
target_link_libraries(ws_echo PRIVATE boxd_net)
target_link_options(ws_echo PRIVATE -Wl,--wrap=send,--wrap=malloc,--wrap=calloc,--wrap=realloc)
