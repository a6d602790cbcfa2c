// Addresses that stand for Buffers; the ledger of fallbacks; Philox states.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "anygpu/addresses.h"
#include "anygpu/fallbacks.h"
#include "anygpu/philox.h"
#include "runtime.h"

namespace anygpu {
namespace {

TEST(Addresses, LeadToTheirBufferFromAnyByte) {
  Block* b = allocate_block(device(), 1000);
  ASSERT_NE(b->address, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b->address) % 512, 0u);
  for (int64_t at : {0, 1, 511, 512, 999}) {
    const Place p = find_place(b->address + at);
    EXPECT_EQ(p.buffer, b->buffer.get());
    EXPECT_EQ(p.offset, at);
  }
  EXPECT_EQ(find_block(b->address - 1), nullptr);
  EXPECT_EQ(find_block(b->address + 1024), nullptr);
  release_block(b);
}

TEST(Addresses, OfStrangersAndOfTheFreedLeadNowhere) {
  int mine = 0;
  EXPECT_EQ(find_block(&mine), nullptr);
  EXPECT_EQ(find_block(nullptr), nullptr);
  Block* b = allocate_block(device(), 64);
  const char* address = b->address;
  release_block(b);
  EXPECT_EQ(find_block(address), nullptr);
  EXPECT_EQ(find_place(address).buffer, nullptr);
}

TEST(Addresses, AreUsedAgain) {
  Block* first = allocate_block(device(), 3000);
  const char* address = first->address;
  release_block(first);
  Block* second = allocate_block(device(), 2900);
  EXPECT_EQ(second->address, address);
  release_block(second);
}

TEST(Addresses, OfLiveBlocksAreApart) {
  device().set_memory_limit(int64_t{1} << 62);  // a Buffer has no bytes yet, and may be larger than what the device has
  std::vector<Block*> blocks;
  for (int64_t bytes = 1; bytes < int64_t{1} << 33; bytes += bytes / 3 + 1) {
    blocks.push_back(allocate_block(device(), bytes));
  }
  for (Block* b : blocks) {
    EXPECT_EQ(find_place(b->address).buffer, b->buffer.get());
    const Place last = find_place(b->address + b->buffer->bytes - 1);
    EXPECT_EQ(last.buffer, b->buffer.get());
    EXPECT_EQ(last.offset, b->buffer->bytes - 1);
  }
  for (Block* b : blocks) release_block(b);
  device().set_memory_limit(0);
}

TEST(Addresses, OfNoBytesAreNull) {
  Block* b = allocate_block(device(), 0);
  EXPECT_EQ(b->address, nullptr);
  EXPECT_NE(b->buffer.get(), nullptr);
  release_block(b);
}

TEST(Addresses, CannotBeRead) {
  Block* b = allocate_block(device(), 4096);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_EQ(write(ends[1], b->address, 1), -1);
  EXPECT_EQ(errno, EFAULT);
  close(ends[0]);
  close(ends[1]);
  release_block(b);
}

TEST(Addresses, HoldTheirBufferUntilReleased) {
  BufferRef buffer = device().allocate(256);
  Block* b = block_of(buffer);
  Buffer* raw = buffer.get();
  const BufferPin pin(raw);
  buffer = BufferRef();
  EXPECT_FALSE(raw->dead());
  release_block(b);
  EXPECT_TRUE(raw->dead());
}

TEST(Addresses, WhatDoesNotFitTakesNone) {
  const MemoryStats before = device().memory_stats();
  device().set_memory_limit(before.allocated + 1000);
  EXPECT_THROW(allocate_block(device(), 2000), Error);
  device().set_memory_limit(0);
  Block* b = allocate_block(device(), 2000);
  EXPECT_EQ(device().memory_stats().requested, before.requested + 2000);
  release_block(b);
}

TEST(Fallbacks, AreCountedAndWarnedOfOnce) {
  fallbacks::set_mode("warn");
  fallbacks::reset_counts();
  const fallbacks::Entry first = fallbacks::enter("aten::sometimes"), second = fallbacks::enter("aten::sometimes");
  EXPECT_FALSE(first.forbidden);
  EXPECT_NE(first.words.find("does not implement aten::sometimes: it runs on the CPU"), std::string::npos) << first.words;
  EXPECT_EQ(second.words, "");
  fallbacks::set_mode("silent");
  EXPECT_EQ(fallbacks::enter("aten::quiet").words, "");
  EXPECT_EQ(fallbacks::counts(), (std::map<std::string, int64_t>{{"aten::sometimes", 2}, {"aten::quiet", 1}}));
  fallbacks::reset_counts();
  EXPECT_TRUE(fallbacks::counts().empty());
}

TEST(Fallbacks, AreRefusedAndNotCountedWhereForbidden) {
  fallbacks::reset_counts();
  fallbacks::set_mode("error");
  const fallbacks::Entry e = fallbacks::enter("aten::never");
  EXPECT_TRUE(e.forbidden);
  EXPECT_EQ(e.words, "anygpu does not implement aten::never, and ANYGPU_FALLBACK=error forbids to run it on the CPU");
  EXPECT_TRUE(fallbacks::counts().empty());
  EXPECT_EQ(fallbacks::mode(), "error");
  try {
    fallbacks::set_mode("sometimes");
    FAIL() << "no error";
  } catch (const Error& wrong) {
    EXPECT_EQ(wrong.kind(), ErrorKind::Value);
    EXPECT_STREQ(wrong.what(), "ANYGPU_FALLBACK is warn, error or silent, not 'sometimes'");
  }
  EXPECT_EQ(fallbacks::mode(), "error");
  fallbacks::set_mode("warn");
}

TEST(PhiloxState, GivesEachItsOwnCounters) {
  PhiloxState s;
  s.set_seed(7);
  const Philox a = s.reserve(10), b = s.reserve(1);
  EXPECT_EQ(a.seed, 7u);
  EXPECT_EQ(a.offset, 0u);
  EXPECT_EQ(b.offset, 10u);
  EXPECT_EQ(s.offset(), 11u);
  EXPECT_EQ(a.seed_scalar().i, 7);
  EXPECT_EQ(b.offset_scalar().i, 10);
  EXPECT_NE(a.as_seed(), b.as_seed());
  s.set_seed(7);
  EXPECT_EQ(s.offset(), 0u);
}

TEST(PhiloxState, IsSixteenBytes) {
  PhiloxState s, restored;
  s.set_seed(0x0102030405060708);
  s.set_offset(5);
  std::array<uint64_t, 2> words{};
  static_assert(PhiloxState::kBytes == sizeof words);
  s.write(words.data());
  EXPECT_EQ(words, (std::array<uint64_t, 2>{0x0102030405060708, 5}));
  restored.read(words.data());
  EXPECT_EQ(restored.seed(), s.seed());
  EXPECT_EQ(restored.offset(), 5u);
}

}  // namespace
}  // namespace anygpu
