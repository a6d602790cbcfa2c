# Writes OUTPUT: a header with a hash of all that decides what code is emitted for a kernel's key.
set(ir ${FOLDER}/../../ir)  # whose stages and coefficients are compiled into kernels
file(GLOB sources ${FOLDER}/*.cpp ${FOLDER}/*.h ${FOLDER}/../llvm/*.cpp ${FOLDER}/../llvm/*.h ${ir}/stages.* ${ir}/minimax.h ${ir}/expr.* ${ir}/expr_ops.inc)
list(SORT sources)
list(APPEND sources ${FOLDER}/../../../include/anygpu/dtype.h)
set(all "")
foreach(source ${sources})
  file(SHA256 ${source} hash)
  string(APPEND all ${hash})
endforeach()
string(SHA256 version "${all}")
file(WRITE ${OUTPUT} "#pragma once\n\nnamespace anygpu::cpu {\ninline constexpr char kCodeVersion[] = \"${version}\";\n}\n")
