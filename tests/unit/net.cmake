# boxd_unit_test(...) lines of this layer
boxd_unit_test(ws_deflate boxd_net)
boxd_unit_test(proxy_fields boxd_api)
boxd_unit_test(pty_control boxd_api)

# tests/http/test_ws_rfc6455.py and tests/clients/ws.test.mjs talk to it. It counts what a message
# costs.
add_executable(ws_echo http/ws_echo.c)
target_link_libraries(ws_echo PRIVATE boxd_net)
target_link_options(ws_echo PRIVATE -Wl,--wrap=send,--wrap=malloc,--wrap=calloc,--wrap=realloc)
