// One way to hash: words in a row, for tables in memory and for names of files.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace anygpu {

/// The hash of what `h` is the hash of, and one word more.
constexpr uint64_t hashed(uint64_t h, uint64_t word) {
  h = (h ^ word) * 0x9e3779b97f4a7c15u;
  return h ^ (h >> 32);
}

inline uint64_t hash_of(std::span<const int64_t> words, uint64_t h = 0) {
  for (const int64_t word : words) h = hashed(h, static_cast<uint64_t>(word));
  return h;
}

/// By words of eight bytes, the last filled up with zeros, and the length.
inline uint64_t hash_of(std::string_view bytes, uint64_t h = 0) {
  for (size_t i = 0; i < bytes.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, std::min<size_t>(8, bytes.size() - i));
    h = hashed(h, word);
  }
  return (h ^ bytes.size()) * 0xd6e8feb86659fd93u;
}

}  // namespace anygpu
