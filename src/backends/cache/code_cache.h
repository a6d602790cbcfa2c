// CodeCache: compiled code in memory, found by key. What nobody uses is let go, the least lately asked for first, once there is too much.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>

namespace anygpu {

/// Entries that a CodeCache holds at most, but for those in use: ANYGPU_KEPT_KERNELS, by default 1024.
size_t kept_kernels();

/// In use is what someone else holds. Callers lock.
template <class Key, class Value, class Hash = std::hash<Key>, class Equal = std::equal_to<Key>>
class CodeCache {
 public:
  explicit CodeCache(size_t most = kept_kernels()) : most_(most) {}

  /// Null where there is none.
  std::shared_ptr<Value> find(const Key& key) {
    const auto at = index_.find(key);
    if (at == index_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, at->second);
    return at->second->second;
  }

  void insert(const Key& key, std::shared_ptr<Value> value) {
    entries_.emplace_front(key, std::move(value));
    index_[key] = entries_.begin();
    let_go();
  }

  /// Another bound: for tests.
  void keep(size_t most) { most_ = most, let_go(); }

  void erase(const Key& key) {
    const auto at = index_.find(key);
    if (at == index_.end()) return;
    entries_.erase(at->second);
    index_.erase(at);
  }

  void clear() { index_.clear(), entries_.clear(); }
  size_t size() const { return entries_.size(); }

 private:
  using Entries = std::list<std::pair<Key, std::shared_ptr<Value>>>;

  void let_go() {
    for (auto it = entries_.end(); entries_.size() > most_ && it != entries_.begin();) {
      --it;
      if (it == entries_.begin() || it->second.use_count() > 1) continue;
      index_.erase(it->first);
      it = entries_.erase(it);
    }
  }

  size_t most_;
  Entries entries_;  // the latest asked for first
  std::unordered_map<Key, typename Entries::iterator, Hash, Equal> index_;
};

}  // namespace anygpu
