# Turns the JSON file IN into the C source OUT: `const unsigned char NAME[]` and `const size_t NAME_size`.
# Line ends and the indentation behind them go: no string of JSON holds one.
file(READ ${IN} text)
string(REGEX REPLACE "\n *" "" text "${text}")
file(WRITE ${OUT}.json "${text}")
file(READ ${OUT}.json hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "#include <stddef.h>\nextern const unsigned char ${NAME}[];\nextern const size_t ${NAME}_size;\nconst unsigned char ${NAME}[] = {${bytes}};\nconst size_t ${NAME}_size = sizeof(${NAME});\n")
