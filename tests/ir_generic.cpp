// Generics: what varies, what the verifier refuses, how they print, and what they touch.
#include <gtest/gtest.h>

#include <functional>

#include "ir/generic.h"
#include "ir/named.h"

namespace anygpu::ir {
namespace {

/// Row-wise softmax: y[i, j] = exp(x - max) / sum.
Generic softmax(int64_t rows = 4, int64_t columns = 8) {
  Generic g;
  g.name = "softmax";
  g.sizes = {rows, columns};
  g.reduce = 0b10;
  g.accesses = {{0, DType::F32, 0, {columns, 1}}, {1, DType::F32, 0, {columns, 1}}};
  const Val x = load(g.body, DType::F32, 0);
  const Val e = exp(x - reduce(ReduceKind::Max, x));
  g.stores.push_back({1, (e / reduce(ReduceKind::Sum, e)).id});
  return g;
}

TEST(Generic, Prints) {
  EXPECT_EQ(to_string(softmax()),
            "generic \"softmax\" [4, 8*]\n"
            "  @0 = slot 0 f32 + 0 strides [8, 1]\n"
            "  @1 = slot 1 f32 + 0 strides [8, 1]\n"
            "  %0 = load f32 @0\n"
            "  %1 = reduce.max f32 %0\n"
            "  %2 = sub f32 %0, %1\n"
            "  %3 = exp f32 %2\n"
            "  %4 = reduce.sum f32 %3\n"
            "  %5 = div f32 %3, %4\n"
            "  store @1 <- %5\n");
}

TEST(Generic, PrintsIndicesArgumentsAndGuards) {
  Generic g;
  g.name = "put";
  g.sizes = {5};
  g.accesses = {{0, DType::I64, 2, {1}}, {3, DType::F64, 0, {0}}};
  g.args = {7};
  const Val i = load(g.body, DType::I64, 0);
  const Val ok = check(i < constant(g.body, DType::I64, int64_t{9}), Fault::IndexOutOfRange);
  const Val v = arg(g.body, DType::F64, 0) * 0.5;
  const Val bits = philox(index(g.body, 0), i, i, 2);
  const Val best = reduce_arg(ReduceKind::ArgMax, v, bits);
  g.stores.push_back({1, cast(best, DType::F64).id, i.id, ok.id, Combine::Add});
  EXPECT_EQ(to_string(g),
            "generic \"put\" [5] args [7]\n"
            "  @0 = slot 0 i64 + 2 strides [1]\n"
            "  @1 = slot 3 f64 + 0 strides [0]\n"
            "  %0 = load i64 @0\n"
            "  %1 = const i64 9\n"
            "  %2 = lt bool %0, %1\n"
            "  %3 = check bool %2 or \"index out of range\"\n"
            "  %4 = arg f64 #0\n"
            "  %5 = const f64 0.5\n"
            "  %6 = mul f64 %4, %5\n"
            "  %7 = index i64 d0\n"
            "  %8 = philox i64 %7, %0, %0 word 2\n"
            "  %9 = reduce.argmax i64 %6, %8\n"
            "  %10 = cast f64 %9\n"
            "  store @1 + %0 <- add %10 if %3\n");
}

TEST(Generic, KnowsWhatVaries) {
  const Generic g = softmax();
  EXPECT_EQ(varies_in_reduction(g), (std::vector<bool>{true, false, true, true, false, true}));
  EXPECT_EQ(dims_of(g, 0), 0b11u);
  EXPECT_EQ(dims_of(g, 1), 0b01u);
  EXPECT_EQ(dims_of(g, 5), 0b11u);
}

TEST(Generic, KnowsWhatIsStoredAtEveryIndex) {
  const auto full = [](const std::function<void(Generic&)>& change) -> bool {
    Generic g = softmax();
    change(g);
    verify(g);
    return stored_at_every_index(g)[0];
  };
  const auto once = [](Generic& g) { g.accesses[1].strides = {1, 0}, g.stores[0].value = 4; };
  EXPECT_TRUE(full([](Generic&) {}));
  EXPECT_FALSE(full(once));
  EXPECT_TRUE(full([](Generic& g) { g.stores[0].value = 4; }));  // a sum, all along the row
  EXPECT_TRUE(full([](Generic& g) { g.accesses[0].strides = {1, 0}; }));
  EXPECT_TRUE(full([&](Generic& g) { once(g), g.stores[0].guard = (Val{&g.body, 0} < Val{&g.body, 2}).id; }));
  EXPECT_TRUE(full([&](Generic& g) { once(g), g.stores[0].index = index(g.body, 1).id; }));
  // A row of one element is written once, whatever its stride; of one of none, nothing is.
  EXPECT_FALSE(full([](Generic& g) { g.sizes[1] = 1, g.stores[0].value = 4; }));
  EXPECT_TRUE(full([](Generic& g) { g.sizes[1] = 0, g.stores[0].value = 4; }));
}

TEST(Generic, WellFormedPasses) {
  EXPECT_NO_THROW(verify(softmax()));
}

/// Each entry spoils a good Generic in one way; the verifier must say no, and name it.
struct Spoilt {
  const char* name;
  std::function<void(Generic&)> spoil;
  const char* message;
};

Node node(ExprOp op, DType t, int a = -1, int b = -1, int c = -1, int64_t imm = 0) {
  Node n{op, t, a, b, c};
  n.imm.i = imm;
  return n;
}

const Spoilt kSpoilt[] = {
    {"NegativeSize", [](Generic& g) { g.sizes[0] = -1; }, "negative size"},
    {"MaskBeyondRank", [](Generic& g) { g.reduce |= 1u << 5; }, "mask"},
    {"NoSlot", [](Generic& g) { g.accesses[0].slot = -1; }, "no slot"},
    {"StridesOfAnotherRank", [](Generic& g) { g.accesses[0].strides = {1}; }, "strides in a space of rank"},
    {"ComplexAccess", [](Generic& g) { g.accesses[0].dtype = DType::C64; }, "complex"},
    {"LoadOfAnotherType", [](Generic& g) { g.body.add(node(ExprOp::Load, DType::F64, 0)); }, "access's dtype"},
    {"LoadThroughNothing", [](Generic& g) { g.body.add(node(ExprOp::Load, DType::F32, 9)); }, "not there"},
    {"LoadAtAFloat", [](Generic& g) { g.body.add(node(ExprOp::Load, DType::F32, 0, 0)); }, "not i64"},
    {"ArgOutOfRange", [](Generic& g) { arg(g.body, DType::F32, 0); }, "argument 0 of 0"},
    {"ConstOfHalf", [](Generic& g) { g.body.add(node(ExprOp::Const, DType::F16)); }, "not defined on f16"},
    {"IndexOfNoDimension", [](Generic& g) { index(g.body, 2); }, "dimension 2"},
    {"IndexOfAnotherType", [](Generic& g) { g.body.add(node(ExprOp::Index, DType::I32)); }, "not defined on i32"},
    {"MixedAdd", [](Generic& g) { g.body.add(node(ExprOp::Add, DType::F32, 0, index(g.body, 0).id)); }, "is not f32"},
    {"ArithmeticOnHalf",
     [](Generic& g) {
       const int h = cast(Val{&g.body, 0}, DType::F16).id;
       g.body.add(node(ExprOp::Add, DType::F16, h, h));
     },
     "not defined on f16"},
    {"ArithmeticOnBool",
     [](Generic& g) {
       const int p = (Val{&g.body, 0} < Val{&g.body, 2}).id;
       g.body.add(node(ExprOp::Add, DType::Bool, p, p));
     },
     "not defined on bool"},
    {"ExpOfInteger", [](Generic& g) { g.body.add(node(ExprOp::Exp, DType::I64, index(g.body, 0).id)); }, "not defined on i64"},
    {"AndOfFloats", [](Generic& g) { g.body.add(node(ExprOp::And, DType::F32, 0, 2)); }, "not defined on f32"},
    {"ShiftOfFloats", [](Generic& g) { g.body.add(node(ExprOp::Shl, DType::F32, 0, 2)); }, "not defined on f32"},
    {"CheckInALoop",
     [](Generic& g) {
       const Val x{&g.body, 0};
       repeat(3, {x}, [&](const std::vector<Val>& now) { return Iteration{check(now[0] < x, Fault::OutOfBounds), {now[0] + x}}; });
     },
     "stands in a loop"},
    {"LoopInALoop",
     [](Generic& g) {
       const Val x{&g.body, 0};
       repeat(3, {x}, [&](const std::vector<Val>& now) {
         const Val inner = repeat(2, {now[0]}, [&](const std::vector<Val>& in) { return Iteration{in[0] < x, {in[0] + x}}; })[0];
         return Iteration{now[0] < x, {inner}};
       });
     },
     "loops do not nest"},
    {"StoreFromWithinALoop",
     [](Generic& g) {
       const Val x{&g.body, 0};
       repeat(3, {x}, [&](const std::vector<Val>& now) {
         const Val next = now[0] + x;
         g.stores[0].value = next.id;
         return Iteration{next < x, {next}};
       });
     },
     "stored from within a loop"},
    {"ComparisonThatIsNoBool", [](Generic& g) { g.body.add(node(ExprOp::Lt, DType::F32, 0, 2)); }, "not defined on f32"},
    {"ComparisonOfHalves",
     [](Generic& g) {
       const int h = cast(Val{&g.body, 0}, DType::BF16).id;
       g.body.add(node(ExprOp::Lt, DType::Bool, h, h));
     },
     "compares bf16"},
    {"SelectByFloat", [](Generic& g) { g.body.add(node(ExprOp::Select, DType::F32, 0, 0, 2)); }, "selects by"},
    {"BitcastToAnotherWidth", [](Generic& g) { g.body.add(node(ExprOp::Bitcast, DType::F64, 0)); }, "width"},
    {"PhiloxOfFloats", [](Generic& g) { g.body.add(node(ExprOp::Philox, DType::I64, 0, 0, 0)); }, "not i64"},
    {"PhiloxFifthWord",
     [](Generic& g) {
       const int i = index(g.body, 0).id;
       g.body.add(node(ExprOp::Philox, DType::I64, i, i, i, 4));
     },
     "word 4"},
    {"SumOfBool",
     [](Generic& g) {
       const int p = (Val{&g.body, 0} < Val{&g.body, 2}).id;
       g.body.add(node(ExprOp::Reduce, DType::Bool, p, -1, -1, static_cast<int>(ReduceKind::Sum)));
     },
     "reduces bool by sum"},
    {"AnyOfFloats", [](Generic& g) { g.body.add(node(ExprOp::Reduce, DType::F32, 0, -1, -1, static_cast<int>(ReduceKind::Any))); },
     "reduces f32 by any"},
    {"ArgMaxWithoutIndex",
     [](Generic& g) { g.body.add(node(ExprOp::Reduce, DType::I64, 0, -1, -1, static_cast<int>(ReduceKind::ArgMax))); }, "no index"},
    {"SumWithIndex",
     [](Generic& g) { g.body.add(node(ExprOp::Reduce, DType::F32, 0, index(g.body, 1).id, -1, static_cast<int>(ReduceKind::Sum))); },
     "does not use"},
    {"UnknownReduction", [](Generic& g) { g.body.add(node(ExprOp::Reduce, DType::F32, 0, -1, -1, 99)); }, "no known reduction"},
    {"CheckOfFloat", [](Generic& g) { g.body.add(node(ExprOp::Check, DType::Bool, 0, -1, -1, 1)); }, "not bool"},
    {"CheckWithoutFault",
     [](Generic& g) {
       const int p = (Val{&g.body, 0} < Val{&g.body, 2}).id;
       g.body.add(node(ExprOp::Check, DType::Bool, p, -1, -1, 0));
     },
     "fault 0"},
    {"NoStore", [](Generic& g) { g.stores.clear(); }, "stores nothing"},
    {"StoreThroughNothing", [](Generic& g) { g.stores[0].access = 7; }, "access that is not there"},
    {"StoreOfNothing", [](Generic& g) { g.stores[0].value = -1; }, "not in the body"},
    {"StoreOfAnotherType", [](Generic& g) { g.accesses[1].dtype = DType::F64; }, "value is not of its access's dtype"},
    {"StoreAtAFloat", [](Generic& g) { g.stores[0].index = 0; }, "index is not an i64"},
    {"GuardThatIsNoBool", [](Generic& g) { g.stores[0].guard = 0; }, "guard is not a bool"},
};

class Verifier : public testing::TestWithParam<Spoilt> {};

TEST_P(Verifier, Refuses) {
  Generic g = softmax();
  GetParam().spoil(g);
  try {
    verify(g);
    FAIL() << "accepted:\n" << to_string(g);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::Internal);
    EXPECT_NE(std::string(e.what()).find(GetParam().message), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("generic \"softmax\""), std::string::npos) << e.what();
  }
}

INSTANTIATE_TEST_SUITE_P(EachRule, Verifier, testing::ValuesIn(kSpoilt), [](const auto& info) { return std::string(info.param.name); });

std::string text(const std::vector<Touch>& touches) {
  std::string s;
  for (const Touch& t : touches)
    s += std::string(t.write ? "w" : "r") + std::to_string(t.slot) + "[" + std::to_string(t.begin) + "," +
         (t.end == INT64_MAX ? "all" : std::to_string(t.end)) + ") ";
  return s;
}

TEST(Touches, CoverTheBytesOfEachAccess) {
  EXPECT_EQ(text(touches(Step(softmax()))), "r0[0,128) w1[0,128) ");
}

TEST(Touches, FollowOffsetsAndNegativeStrides) {
  Generic g = softmax();
  g.accesses[0].offset = 31;
  g.accesses[0].strides = {-8, -1};
  g.accesses[1].offset = 5;
  EXPECT_EQ(text(touches(Step(g))), "r0[0,128) w1[20,148) ");
}

TEST(Touches, ComputedOffsetsTakeTheWholeSlot) {
  Generic g;
  g.sizes = {4};
  g.accesses = {{0, DType::I64, 0, {1}}, {1, DType::F32, 0, {0}}, {2, DType::F32, 0, {0}}};
  const Val i = load(g.body, DType::I64, 0);
  g.stores.push_back({2, load(g.body, DType::F32, 1, i).id, i.id, -1, Combine::Add});
  verify(g);
  EXPECT_EQ(text(touches(Step(g))), "r0[0,32) r1[0,all) r2[0,all) w2[0,all) ");
}

TEST(Touches, CombiningReadsWhatItWrites) {
  Generic g;
  g.sizes = {4};
  g.accesses = {{0, DType::F32, 0, {1}}, {1, DType::F32, 0, {1}}};
  g.stores.push_back({1, load(g.body, DType::F32, 0).id, -1, -1, Combine::Max});
  EXPECT_EQ(text(touches(Step(g))), "r0[0,16) r1[0,16) w1[0,16) ");
}

TEST(Touches, NothingOfAnEmptySpace) {
  EXPECT_EQ(text(touches(Step(softmax(0, 8)))), "");
  // Reducing nothing still writes the identity.
  Generic g;
  g.sizes = {3, 0};
  g.reduce = 0b10;
  g.accesses = {{0, DType::F32, 0, {1, 1}}, {1, DType::F32, 0, {1, 0}}};
  g.stores.push_back({1, reduce(ReduceKind::Sum, load(g.body, DType::F32, 0)).id});
  EXPECT_EQ(text(touches(Step(g))), "w1[0,12) ");
}

}  // namespace
}  // namespace anygpu::ir
