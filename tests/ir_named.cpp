// Nameds: what the verifier refuses, how they print, and what they touch.
#include <gtest/gtest.h>

#include <functional>

#include "ir/named.h"

namespace anygpu::ir {
namespace {

Operand dense(int slot, const Dims& sizes, DType t = DType::F32) {
  return {slot, t, 0, sizes, contiguous_strides(sizes)};
}

Named matmul() {
  return {NamedKind::Matmul, {dense(0, {2, 3}), dense(1, {2, 4}), dense(2, {4, 3})}, {}, "mm"};
}

Named conv() {
  Named n{NamedKind::Conv, {dense(0, {2, 4, 5, 5}), dense(1, {2, 6, 5, 5}), dense(2, {4, 3, 3, 3}), dense(3, {4})}, {}, "conv2d"};
  n.attrs.stride = {1, 1};
  n.attrs.padding = {1, 1};
  n.attrs.dilation = {1, 1};
  n.attrs.groups = 2;
  return n;
}

Named pool() {
  Named n{NamedKind::AvgPool, {dense(0, {1, 2, 2}), dense(1, {1, 2, 4})}, {}, "avg_pool1d"};
  n.attrs.kernel = {2};
  n.attrs.stride = {2};
  n.attrs.padding = {0};
  return n;
}

Named scan(ScanKind kind = ScanKind::Max) {
  Named n{NamedKind::Scan, {dense(0, {3, 4}), dense(1, {3, 4}), dense(2, {3, 4}, DType::I64)}, {}, "cummax"};
  n.attrs.axis = 1;
  n.attrs.scan = kind;
  return n;
}

Named sort() {
  return {NamedKind::Sort, {dense(0, {3, 4}), dense(1, {3, 4}, DType::I64), dense(2, {3, 4})}, {}, "sort"};
}

TEST(Named, Prints) {
  EXPECT_EQ(to_string(conv()),
            "conv \"conv2d\" stride [1, 1] padding [1, 1] dilation [1, 1] groups 2\n"
            "  dst = slot 0 f32 + 0 sizes [2, 4, 5, 5] strides [100, 25, 5, 1]\n"
            "  src = slot 1 f32 + 0 sizes [2, 6, 5, 5] strides [150, 25, 5, 1]\n"
            "  weight = slot 2 f32 + 0 sizes [4, 3, 3, 3] strides [27, 9, 3, 1]\n"
            "  bias = slot 3 f32 + 0 sizes [4] strides [1]\n");
  EXPECT_EQ(to_string(Step(scan())),
            "scan \"cummax\" max axis 1\n"
            "  dst = slot 0 f32 + 0 sizes [3, 4] strides [4, 1]\n"
            "  src = slot 1 f32 + 0 sizes [3, 4] strides [4, 1]\n"
            "  indices = slot 2 i64 + 0 sizes [3, 4] strides [4, 1]\n");
}

TEST(Named, WellFormedPasses) {
  for (const Named& n : {matmul(), conv(), pool(), scan(), sort()}) EXPECT_NO_THROW(verify(n)) << to_string(n);
  Named biasless = conv();
  biasless.operands[3].slot = -1;
  EXPECT_NO_THROW(verify(biasless));
  biasless.operands.pop_back();
  EXPECT_NO_THROW(verify(biasless));
}

struct Spoilt {
  const char* name;
  Named (*make)();
  std::function<void(Named&)> spoil;
  const char* message;
};

Named max_scan() {
  return scan();
}
Named sum_scan() {
  return scan(ScanKind::Sum);
}

const Spoilt kSpoilt[] = {
    {"OperandMissing", matmul, [](Named& n) { n.operands.pop_back(); }, "2 operands"},
    {"OperandTooMany", pool, [](Named& n) { n.operands.push_back(n.operands[0]); }, "3 operands"},
    {"NoSlot", matmul, [](Named& n) { n.operands[1].slot = -1; }, "lhs has no slot"},
    {"StridesMissing", matmul, [](Named& n) { n.operands[1].strides.pop_back(); }, "lhs has 1 strides"},
    {"Complex", sort, [](Named& n) { n.operands[0].dtype = n.operands[2].dtype = DType::C64; }, "complex"},
    {"MixedDtypes", matmul, [](Named& n) { n.operands[1].dtype = DType::F64; }, "several dtypes"},
    {"MixedDtypesOfConvolution", conv, [](Named& n) { n.operands[1].dtype = DType::F16; }, "several dtypes"},
    {"IntegersOfSeveralDtypes", matmul,
     [](Named& n) {
       for (Operand& o : n.operands) o.dtype = DType::I32;
       n.operands[1].dtype = DType::I16;
     },
     "several dtypes"},
    {"BoolProducts", matmul,
     [](Named& n) {
       for (Operand& o : n.operands) o.dtype = DType::Bool;
     },
     "bool"},
    {"InnerSizes", matmul, [](Named& n) { n.operands[1].sizes[1] = 5; }, "inner sizes"},
    {"OuterSizes", matmul, [](Named& n) { n.operands[0].sizes[1] = 5; }, "rows or columns"},
    {"BiasSizes", matmul, [](Named& n) { n.operands.push_back(dense(3, {3})); }, "bias"},
    {"VectorTimesMatrix", matmul, [](Named& n) { n.operands[1] = dense(1, {4}); }, "rank"},
    {"Groups", conv, [](Named& n) { n.attrs.groups = 3; }, "groups"},
    {"WeightChannels", conv, [](Named& n) { n.attrs.groups = 1; }, "weight's channels"},
    {"StrideMissing", conv, [](Named& n) { n.attrs.stride.pop_back(); }, "one entry per spatial"},
    {"DilationZero", conv, [](Named& n) { n.attrs.dilation[0] = 0; }, "positive"},
    {"WindowBeyond", conv, [](Named& n) { n.attrs.padding[1] = 0; }, "reach beyond"},
    {"ConvBias", conv, [](Named& n) { n.operands[3].sizes[0] = 5; }, "bias"},
    {"KernelMissing", pool, [](Named& n) { n.attrs.kernel.clear(); }, "kernel"},
    {"AxisOutOfRange", max_scan, [](Named& n) { n.attrs.axis = 2; }, "axis 2"},
    {"IndicesOfASum", sum_scan, [](Named&) {}, "indices"},
    {"IndicesOfAnotherType", max_scan, [](Named& n) { n.operands[2].dtype = DType::I32; }, "indices"},
    {"SortIndices", sort, [](Named& n) { n.operands[1].dtype = DType::I32; }, "not i64"},
    {"SortSizes", sort, [](Named& n) { n.operands[0].sizes[0] = 2; }, "several sizes"},
};

class NamedVerifier : public testing::TestWithParam<Spoilt> {};

TEST_P(NamedVerifier, Refuses) {
  Named n = GetParam().make();
  GetParam().spoil(n);
  try {
    verify(n);
    FAIL() << "accepted:\n" << to_string(n);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::Internal);
    EXPECT_NE(std::string(e.what()).find(GetParam().message), std::string::npos) << e.what();
  }
}

INSTANTIATE_TEST_SUITE_P(EachRule, NamedVerifier, testing::ValuesIn(kSpoilt),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(NamedTouches, KnowOutputsFromInputs) {
  std::string s;
  for (const Named& n : {matmul(), scan(), sort()}) {
    for (const Touch& t : touches(Step(n)))
      s += std::string(t.write ? "w" : "r") + std::to_string(t.slot) + ":" + std::to_string(t.end - t.begin) + " ";
    s += "| ";
  }
  EXPECT_EQ(s, "w0:24 r1:32 r2:48 | w0:48 r1:48 w2:96 | w0:48 w1:96 r2:48 | ");
}

TEST(NamedTouches, AbsentOperandsTouchNothing) {
  Named n = conv();
  n.operands[3].slot = -1;
  EXPECT_EQ(touches(Step(n)).size(), 3u);
}

TEST(NamedLowering, IsWellFormed) {
  auto temp = [](DType, const Dims&) -> Operand { throw Error(ErrorKind::Internal, "no temporaries expected"); };
  for (const Named& n : {matmul(), conv(), pool(), scan(), sort()}) {
    for (const Step& s : lower(n, temp)) EXPECT_NO_THROW(verify(std::get<Generic>(s)));
  }
}

TEST(NamedLowering, AttentionIsProductsWithASoftmaxBetween) {
  int32_t slots = 8;
  auto temp = [&](DType t, const Dims& sizes) { return Operand{slots++, t, 0, sizes, contiguous_strides(sizes)}; };
  auto array = [](int32_t slot, const Dims& sizes) { return Operand{slot, DType::F16, 0, sizes, contiguous_strides(sizes)}; };
  Named n{
      NamedKind::Attention, {array(0, {2, 4, 7, 8}), {}, array(1, {2, 4, 7, 8}), array(2, {2, 2, 9, 8}), array(3, {2, 2, 9, 8})}, {}, "a"};
  std::string kinds;
  for (const Step& s : lower(n, temp)) {
    const auto* named = std::get_if<Named>(&s);
    EXPECT_NO_THROW(named ? verify(*named) : verify(std::get<Generic>(s)));
    kinds += named ? std::string(name_of(named->kind)) + " " : "generic ";
  }
  EXPECT_EQ(kinds, "matmul generic matmul ");
  for (const Step& s : lower_unclaimed(n, temp, [](const Named&) { return false; })) EXPECT_NO_THROW(verify(std::get<Generic>(s)));
}

}  // namespace
}  // namespace anygpu::ir
