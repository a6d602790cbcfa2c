// Algorithms of frontends/common that compose operators.
#include <cmath>
#include <limits>

#include "common.h"
#include "frontends/common/columns.h"
#include "frontends/common/counting.h"
#include "frontends/common/embedding.h"
#include "frontends/common/order.h"
#include "frontends/common/sampling.h"
#include "frontends/common/segments.h"
#include "frontends/common/unique.h"

namespace anygpu::common {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class CommonArrays : public CommonTest {};
ANYGPU_ON_BACKENDS(CommonArrays);

TEST_P(CommonArrays, ViewsShareBytes) {
  const Array a = array({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(values(transpose(a, 0, 1)), (Values{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(values(narrow(a, -1, 1, 2)), (Values{2, 3, 5, 6}));
  EXPECT_EQ(values(select(a, 0, 1)), (Values{4, 5, 6}));
  EXPECT_EQ(values(move_dim(reshape(a, {1, 2, 3}), 2, 0)), (Values{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(values(expand(unsqueeze(select(a, 0, 0), 0), {2, 3})), (Values{1, 2, 3, 1, 2, 3}));
  EXPECT_EQ(values(along(select(a, 1, 0), 0, {2, 2})), (Values{1, 1, 4, 4}));
  copy_to(narrow(a, 1, 0, 1), full(device(), DType::F64, {1, 1}, 9));
  EXPECT_EQ(values(a), (Values{9, 2, 3, 9, 5, 6}));
  EXPECT_FALSE(is_contiguous(transpose(a, 0, 1)));
  EXPECT_EQ(reshape(a, {6}).buffer.get(), a.buffer.get());
  EXPECT_THROW(expand(a, {2, 4}), Error);
}

TEST_P(CommonArrays, OperatorsBroadcastAndTakeNumbers) {
  const Array a = array({2, 2}, {1, 2, 3, 4}), row = array({2}, {10, 20});
  EXPECT_EQ(values(a + row), (Values{11, 22, 13, 24}));
  EXPECT_EQ(values(subtract_from(1, a) * 2), (Values{0, -2, -4, -6}));
  EXPECT_EQ(values(filled(a, greater(a, 2), -1)), (Values{1, 2, -1, -1}));
  EXPECT_EQ(values(where(less(a, 2), a, row, DType::F64)), (Values{1, 20, 10, 20}));
  EXPECT_EQ(values(concatenate({a, unsqueeze(row, 0)}, 0)), (Values{1, 2, 3, 4, 10, 20}));
  EXPECT_EQ(values(sum(a, 0)), (Values{4, 6}));
  EXPECT_EQ(sum(a, 1, true).sizes, (Dims{2, 1}));
  EXPECT_EQ((a + make(device(), DType::F64, {0, 1, 1})).sizes, (Dims{0, 2, 2}));
  EXPECT_TRUE(all(greater(a, 0)));
  EXPECT_FALSE(any(is_nan(a)));
  EXPECT_EQ(read_int(full(device(), DType::I64, {}, INT64_MAX - 1)), INT64_MAX - 1);
}

TEST_P(CommonArrays, OperandsOfTwoDevicesAreRefused) {
  Device& other = Device::get(1 - GetParam());
  EXPECT_NE(refusal([&] { array({1}, {1}) + full(other, DType::F64, {1}, 1); }).find("found at least two devices"), std::string::npos);
}

class CommonOrder : public CommonTest {};
ANYGPU_ON_BACKENDS(CommonOrder);

TEST_P(CommonOrder, KthValue) {
  const Array a = array({2, 4}, {4, 1, 3, 2, 7, 7, 5, 6});
  const Ordered row = kthvalue(a, 2, 1), column = kthvalue(a, 1, 0), turned = kthvalue(transpose(a, 0, 1), 2, 0);
  EXPECT_EQ(values(row.values), (Values{2, 6}));
  EXPECT_EQ(integers(row.order), (Places{3, 3}));
  EXPECT_EQ(row.values.sizes, (Dims{2, 1}));
  EXPECT_EQ(values(column.values), (Values{4, 1, 3, 2}));
  EXPECT_EQ(values(turned.values), values(row.values));
  EXPECT_EQ(values(kthvalue(array({}, {3}), 1, 0).values), (Values{3}));
}

TEST_P(CommonOrder, Median) {
  const Array a = array({3, 4}, {4, 1, 3, 2, 1, kNaN, 3, 2, kNaN, kNaN, 8, kNaN});
  const Ordered m = median(a, 1, false), numbers = median(a, 1, true);
  EXPECT_EQ(values(m.values)[0], 2);
  EXPECT_TRUE(std::isnan(values(m.values)[1]) && std::isnan(values(m.values)[2]));
  EXPECT_EQ(integers(m.order), (Places{3, 1, 0}));
  EXPECT_EQ(values(numbers.values), (Values{2, 2, 8}));
  EXPECT_EQ(values(median(array({5}, {5, 1, 4, 2, 3}, DType::I32), 0, false).values), (Values{3}));
}

TEST_P(CommonOrder, Mode) {
  const Ordered m = mode(array({3, 5}, {1, 2, 2, 3, 3, 5, 4, 3, 2, 1, 7, 7, 7, 7, 7}), 1);
  EXPECT_EQ(values(m.values), (Values{2, 1, 7}));
  EXPECT_EQ(integers(m.order), (Places{2, 4, 4}));
}

class CommonUnique : public CommonTest {};
ANYGPU_ON_BACKENDS(CommonUnique);

TEST_P(CommonUnique, OfAVector) {
  const Array a = array({6}, {3, 1, 3, 2, 1, 1});
  const Unique u = unique(a, false, true, true), c = unique(array({5}, {3, 3, 1, 3, 3}), true, true, true);
  EXPECT_EQ(values(u.values), (Values{1, 2, 3}));
  EXPECT_EQ(integers(u.inverse), (Places{2, 0, 2, 1, 0, 0}));
  EXPECT_EQ(integers(u.counts), (Places{3, 1, 2}));
  EXPECT_EQ(values(c.values), (Values{3, 1, 3}));
  EXPECT_EQ(integers(c.inverse), (Places{0, 0, 1, 2, 2}));
  EXPECT_EQ(integers(c.counts), (Places{2, 1, 2}));
  EXPECT_FALSE(unique(a, false, false, false).inverse);
}

TEST_P(CommonUnique, OfSlices) {
  const Array a = array({2, 4}, {2, 1, 2, 1, 9, 5, 9, 4});  // columns (2,9) (1,5) (2,9) (1,4)
  const Unique u = unique_slices(a, 1, false, true, true);
  EXPECT_EQ(values(u.values), (Values{1, 1, 2, 4, 5, 9}));
  EXPECT_EQ(integers(u.inverse), (Places{2, 1, 2, 0}));
  EXPECT_EQ(integers(u.counts), (Places{1, 1, 2}));
  EXPECT_FALSE(u.by_host);
  const Unique n = unique_slices(array({3, 1}, {2, kNaN, 1}, DType::F32), 0, false, false, false);
  EXPECT_TRUE(n.by_host);
  EXPECT_EQ(n.values.sizes, (Dims{3, 1}));
}

class CommonCounting : public CommonTest {};
ANYGPU_ON_BACKENDS(CommonCounting);

TEST_P(CommonCounting, Bincount) {
  const Array x = array({5}, {1, 3, 1, 0, 3}, DType::I32);
  EXPECT_EQ(integers(bincount(x, {}, 6)), (Places{1, 2, 0, 2, 0, 0}));
  EXPECT_EQ(values(bincount(x, array({5}, {.5, 1, 2, 4, 8}), 0)), (Values{4, 2.5, 0, 9}));
  EXPECT_EQ(refusal([&] { bincount(array({1}, {-1}, DType::I64), {}, 0); }), "bincount only supports 1-d non-negative integral inputs.");
  EXPECT_EQ(refusal([&] { bincount(x, array({1}, {1}), 0); }), "weights should be 1-d and have the same length as input");
}

TEST_P(CommonCounting, Histogram) {
  const Array x = array({6}, {0, 1, 2, 3, 4, 9}, DType::F32);
  EXPECT_EQ(values(histogram(x, 2, 0, 4)), (Values{2, 3}));
  EXPECT_EQ(values(histogram(x, 3, 0, 0)), (Values{3, 2, 1}));
  EXPECT_EQ(values(histogram(array({2}, {5, 5}), 2, 0, 0)), (Values{0, 2}));
  EXPECT_EQ(refusal([&] { histogram(array({1}, {INFINITY}), 2, 0, 0); }), "range of [inf, inf] is not finite");
}

TEST_P(CommonCounting, HistogramOfPoints) {
  const Array points = array({4, 2}, {0, 0, 1, 5, 2, 10, 3, 0}), edges[] = {array({3}, {0, 1, 3}), array({2}, {0, 10})};
  EXPECT_EQ(values(histogram(points, edges, {}, false)), (Values{1, 3}));
  EXPECT_EQ(histogram(points, edges, {}, false).sizes, (Dims{2, 1}));
  EXPECT_EQ(values(histogram(points, edges, array({4}, {1, 2, 4, 8}), false)), (Values{1, 14}));
  expect_near(histogram(points, edges, {}, true), {.25 / 10, .75 / 20});
}

TEST_P(CommonCounting, RepeatPlaces) {
  const Array repeats = array({4}, {2, 0, 1, 3}, DType::I32);
  EXPECT_EQ(integers(repeat_places(repeats, std::nullopt)), (Places{0, 0, 2, 3, 3, 3}));
  EXPECT_EQ(repeat_places(repeats, 6).dtype, DType::I32);
  EXPECT_EQ(refusal([&] { repeat_places(repeats, 5); }), "allocated size does not match required size");
  EXPECT_EQ(refusal([&] { repeat_places(array({1}, {-1}, DType::I64), std::nullopt); }), "repeats can not be negative");
}

class CommonSegments : public CommonTest {};
ANYGPU_ON_BACKENDS(CommonSegments);

TEST_P(CommonSegments, Reduce) {
  const Array data = array({5, 2}, {1, 10, 2, 20, 3, 30, 4, 40, 5, 50}),
              bounds = bounds_of(places({2, 0, 2}));  // the fifth row belongs to none
  EXPECT_EQ(integers(bounds), (Places{0, 2, 2, 4}));
  const auto reduce = [&](Reduction r, std::optional<Number> initial = {}) { return values(segment_reduce(data, r, bounds, 0, initial)); };
  EXPECT_EQ(reduce(Reduction::Sum), (Values{3, 30, 0, 0, 7, 70}));
  EXPECT_EQ(reduce(Reduction::Prod), (Values{2, 200, 1, 1, 12, 1200}));
  EXPECT_EQ(reduce(Reduction::Max, 2.5), (Values{2.5, 20, 2.5, 2.5, 4, 40}));
  EXPECT_EQ(reduce(Reduction::Min), (Values{1, 10, INFINITY, INFINITY, 3, 30}));
  const Values mean = reduce(Reduction::Mean);
  EXPECT_EQ(mean[0], 1.5);
  EXPECT_TRUE(std::isnan(mean[2]));
  EXPECT_EQ(refusal([&] { check_lengths(places({2, -1}), 1); }), "lengths contains negative value!");
  EXPECT_NE(refusal([&] { check_lengths(places({2, 1}), 4); }).find("to sum to data.size"), std::string::npos);
  check_lengths(places({2, 2}), 4);
}

TEST_P(CommonSegments, Gradients) {
  const Array data = array({5}, {2, 3, 0, 5, 7}), bounds = places({0, 2, 4}), grad = array({2}, {1, 10});
  const auto gradient = [&](Reduction r) {
    return values(segment_reduce_grad(grad, segment_reduce(data, r, bounds, 0, {}), data, r, bounds, 0, {}));
  };
  EXPECT_EQ(gradient(Reduction::Sum), (Values{1, 1, 10, 10, 0}));
  EXPECT_EQ(gradient(Reduction::Mean), (Values{.5, .5, 5, 5, 0}));
  EXPECT_EQ(gradient(Reduction::Max), (Values{0, 1, 0, 10, 0}));
  EXPECT_EQ(gradient(Reduction::Prod), (Values{3, 2, 50, 0, 0}));
}

class CommonEmbedding : public CommonTest {};
ANYGPU_ON_BACKENDS(CommonEmbedding);

TEST_P(CommonEmbedding, Bags) {
  const Array table = array({3, 2}, {1, 2, 3, 4, 5, 6}), indices = places({0, 2, 1, 1}), offsets = places({0, 2, 2});
  const Bags sums = embedding_bag(table, indices, offsets, {}, BagMode::Sum, false, -1);
  EXPECT_EQ(values(sums.out), (Values{6, 8, 0, 0, 6, 8}));
  EXPECT_EQ(integers(sums.bag), (Places{0, 0, 2, 2}));
  EXPECT_EQ(integers(sums.sizes), (Places{2, 0, 2}));
  const Bags weighed = embedding_bag(table, indices, offsets, array({4}, {1, 2, 3, 4}), BagMode::Sum, true, 2);
  EXPECT_EQ(values(weighed.out), (Values{1, 2, 21, 28}));
  const Bags maxima = embedding_bag(table, indices, offsets, {}, BagMode::Max, false, 2);
  EXPECT_EQ(values(maxima.out), (Values{1, 2, 0, 0, 3, 4}));
  EXPECT_EQ(integers(maxima.places), (Places{0, 0, -1, -1, 1, 1}));
  EXPECT_EQ(values(embedding_bag(cast(table, DType::F16), indices, offsets, {}, BagMode::Mean, false, -1).out), (Values{3, 4, 0, 0, 3, 4}));
}

TEST_P(CommonEmbedding, Gradients) {
  const Array table = array({3, 1}, {1, 2, 4}), indices = places({0, 2, 1, 1}), offsets = places({0, 2}), grad = array({2, 1}, {10, 1});
  const Bags b = embedding_bag(table, indices, offsets, {}, BagMode::Mean, false, -1);
  EXPECT_EQ(values(embedding_bag_grad(grad, indices, b, {}, BagMode::Mean, 3, -1, false)), (Values{5, 1, 5}));
  EXPECT_EQ(values(embedding_bag_weights_grad(grad, table, indices, b.bag, 2)), (Values{10, 0, 2, 2}));
  const Bags m = embedding_bag(table, indices, offsets, {}, BagMode::Max, false, -1);
  EXPECT_EQ(values(embedding_bag_grad(grad, indices, m, {}, BagMode::Max, 3, -1, false)), (Values{0, 1, 10}));
  EXPECT_EQ(values(embedding_grad(array({4, 1}, {1, 2, 3, 5}), indices, 3, 2, true)), (Values{1, 4, 0}));
}

class CommonSampling : public CommonTest {};
ANYGPU_ON_BACKENDS(CommonSampling);

TEST_P(CommonSampling, Multinomial) {
  const Distribution d = distribution_of(array({2, 3}, {0, 5, 0, 1, 0, 1}, DType::F32));
  const Places drawn = integers(multinomial(d, 200, {1, 0})), again = integers(multinomial(d, 200, {1, 0}));
  EXPECT_EQ(drawn, again);
  int64_t lasts = 0;
  for (size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(drawn[i], 1);
    EXPECT_NE(drawn[200 + i], 1);
    lasts += drawn[200 + i] == 2;
  }
  EXPECT_GT(lasts, 50);
  EXPECT_LT(lasts, 150);
  const auto refused = [&](double v) { return refusal([&] { distribution_of(array({1, 2}, {v, 0})); }); };
  EXPECT_EQ(refused(-1), "invalid multinomial distribution (encountering probability entry < 0)");
  EXPECT_EQ(refused(kNaN), "invalid multinomial distribution (encountering probability entry = infinity or NaN)");
  EXPECT_EQ(refused(0), "invalid multinomial distribution (sum of probabilities <= 0)");
}

class CommonColumns : public CommonTest {};
ANYGPU_ON_BACKENDS(CommonColumns);

TEST_P(CommonColumns, AreWindowsAndAddUpAgain) {
  const Window w{.kernel = {2, 1}, .stride = {1, 2}, .padding = {1, 0}, .dilation = {1, 1}};
  const Array x = array({1, 1, 2, 3}, {1, 2, 3, 4, 5, 6});
  const Array c = im2col(x, w);  // rows -1..1, columns 0 and 2
  EXPECT_EQ(c.sizes, (Dims{1, 2, 6}));
  EXPECT_EQ(values(c), (Values{0, 0, 1, 3, 4, 6, 1, 3, 4, 6, 0, 0}));
  EXPECT_EQ(values(col2im(c, 2, 3, w)), (Values{2, 0, 6, 8, 0, 12}));
  EXPECT_EQ(values(im2col(transpose(array({1, 1, 3, 2}, {1, 4, 2, 5, 3, 6}), 2, 3), w)), values(c));
}

}  // namespace
}  // namespace anygpu::common
