# Turns the text file IN into the C source OUT: `const TYPE NAME[]` and `const size_t NAME_size`, where
# TYPE is char or unsigned char. What only people read is left out, because the binary carries it: of
# JSON (a .json) the line ends and the indentation behind them, which no string holds; of a shell
# script (a .sh), which a shell reads each time it starts, comment lines and indentation.
file(READ ${IN} text)
if(IN MATCHES "\\.json$")
	string(REGEX REPLACE "\n *" "" text "${text}")
elseif(IN MATCHES "\\.sh$")
	string(REGEX REPLACE "(^|\n)(#[^\n]*\n)+" "\\1" text "${text}")
	string(REGEX REPLACE "\n\t+" "\n" text "${text}")
endif()
file(WRITE ${OUT}.txt "${text}")
file(READ ${OUT}.txt hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "#include <stddef.h>\nextern const ${TYPE} ${NAME}[];\nextern const size_t ${NAME}_size;\nconst ${TYPE} ${NAME}[] = {${bytes}};\nconst size_t ${NAME}_size = sizeof(${NAME});\n")
