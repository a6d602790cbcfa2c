# Compile options shared by every target, and the function that makes a room.

add_library(anygpu_options INTERFACE)
target_compile_options(anygpu_options INTERFACE -Wall -Wextra -Wno-missing-field-initializers -Wno-restrict -fno-math-errno)
if(ANYGPU_SANITIZE)
  target_compile_options(anygpu_options INTERFACE -fsanitize=${ANYGPU_SANITIZE} -fno-omit-frame-pointer -g -O1)
  target_link_options(anygpu_options INTERFACE -fsanitize=${ANYGPU_SANITIZE})
  target_compile_definitions(anygpu_options INTERFACE ANYGPU_SANITIZE_$<UPPER_CASE:${ANYGPU_SANITIZE}>=1)
endif()

# anygpu_room(NAME [JOIN files at a time] KNOWS room...): a static library from the .cpp files of the current folder. It sees the public headers,
# its own folder, and the folders of the rooms that it may know: others' headers do not even resolve.
function(anygpu_room name)
  cmake_parse_arguments(ARG "" "JOIN" "KNOWS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  if(sources)
    set(scope PUBLIC)
    add_library(anygpu_${name} STATIC ${sources})
    if(ARG_JOIN)
      anygpu_join(anygpu_${name} ${ARG_JOIN})
      # GCC 12 is wrong about moves of variants and vectors that it sees through whole files.
      target_compile_options(anygpu_${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds>)
    endif()
  else()
    set(scope INTERFACE)
    add_library(anygpu_${name} INTERFACE)
  endif()
  anygpu_door(anygpu_${name} ${scope})
  target_link_libraries(anygpu_${name} ${scope} anygpu_options)
  foreach(room ${ARG_KNOWS})
    target_link_libraries(anygpu_${name} ${scope} anygpu_${room})
  endforeach()
endfunction()

# Makes `#include "<folder under src>/..."` work for the target and for who links it, and for nobody else.
function(anygpu_door target scope)
  file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})
  set(door ${PROJECT_BINARY_DIR}/doors/${target})
  cmake_path(GET folder PARENT_PATH parent)
  file(MAKE_DIRECTORY ${door}/${parent})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${door}/${folder} SYMBOLIC)
  target_include_directories(${target} ${scope} ${PROJECT_SOURCE_DIR}/include ${door})
endfunction()

option(ANYGPU_JOIN "Compile several files as one: half the processor time of a build; OFF: less to compile after a change" ON)

# Joins the files of a target, `most` at a time, in the order of their names. Headers, and what they instantiate, are then compiled once for all of them.
# Names in anonymous namespaces meet, so they must differ within a folder.
function(anygpu_join target most)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${ANYGPU_JOIN} UNITY_BUILD_BATCH_SIZE ${most})
endfunction()
