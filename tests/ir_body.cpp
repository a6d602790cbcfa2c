// Building bodies: sharing, folding, and what the builders refuse.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "anygpu/error.h"
#include "ir/expr.h"
#include "ir/rewriter.h"

namespace anygpu::ir {
namespace {

TEST(Body, EqualNodesAreMadeOnce) {
  Body b;
  const Val x = arg(b, DType::F32, 0), y = arg(b, DType::F32, 1);
  EXPECT_EQ((x + y).id, (x + y).id);
  EXPECT_NE((x + y).id, (x - y).id);
  EXPECT_EQ((x * 0.5).id, (x * 0.5).id);
  EXPECT_NE((x * 0.5).id, (x * 0.25).id);
}

TEST(Body, SharingSurvivesGrowthAndCopies) {
  Body b;
  for (int round = 0; round < 2; ++round) {
    for (int64_t i = 0; i < 5000; ++i) EXPECT_EQ(constant(b, DType::I64, i).id, i);
  }
  Body copy = b;
  EXPECT_EQ(constant(copy, DType::I64, int64_t{77}).id, 77);
  EXPECT_EQ(copy.size(), 5000);
}

TEST(Body, ConstantsThatDifferInBitsAreKeptApart) {
  Body b;
  EXPECT_NE(constant(b, DType::F64, 0.0).id, constant(b, DType::F64, -0.0).id);
  EXPECT_EQ(constant(b, DType::F64, std::nan("")).id, constant(b, DType::F64, std::nan("")).id);
}

TEST(Body, WhatIsMadeOfSizesIsASize) {
  Body b;
  const Val n = size(b, DType::I64, int64_t{300}), x = arg(b, DType::I64, 0);
  EXPECT_EQ(b[n.id].op, ExprOp::Size);
  EXPECT_EQ(n.id, size(b, DType::I64, int64_t{300}).id);
  EXPECT_NE(n.id, constant(b, DType::I64, int64_t{300}).id);
  const Val more = n * 4.0 + 1.0, real = cast(n, DType::F32);
  EXPECT_EQ(b[more.id].op, ExprOp::Size);
  EXPECT_EQ(b[more.id].imm.i, 1201);
  EXPECT_EQ(b[real.id].op, ExprOp::Size);
  EXPECT_EQ(b[real.id].imm.f, 300);
  EXPECT_EQ(b[(x * n).id].op, ExprOp::Mul);
  // 1 and 0 are constants, for what they simplify. Of floats they simplify nothing.
  EXPECT_EQ((x * size(b, DType::I64, int64_t{1})).id, x.id);
  EXPECT_EQ(b[(n - 300.0).id].op, ExprOp::Const);
  EXPECT_EQ(b[size(b, DType::F32, 1.0).id].op, ExprOp::Size);
}

TEST(Body, ChecksAreNeverShared) {
  Body b;
  const Val ok = arg(b, DType::Bool, 0);
  EXPECT_NE(check(ok, Fault::IndexOutOfRange).id, check(ok, Fault::IndexOutOfRange).id);
}

TEST(Body, ConstantsTakeTheirTypesValue) {
  Body b;
  EXPECT_EQ(b[constant(b, DType::I8, int64_t{300}).id].imm.i, 44);
  EXPECT_EQ(b[constant(b, DType::U8, int64_t{-1}).id].imm.i, 255);
  EXPECT_EQ(b[constant(b, DType::Bool, 0.5).id].imm.i, 1);
  EXPECT_EQ(b[constant(b, DType::I64, 1e30).id].imm.i, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(b[constant(b, DType::I32, std::nan("")).id].imm.i, 0);
  EXPECT_EQ(b[constant(b, DType::F32, 0.1).id].imm.f, static_cast<double>(0.1f));
  // A half has no constants of its own.
  const Val half = constant(b, DType::F16, 2.0);
  EXPECT_EQ(half.type(), DType::F16);
  EXPECT_EQ(b[half.id].op, ExprOp::Cast);
}

TEST(Body, CastsOfConstantsFold) {
  Body b;
  const Val c = cast(constant(b, DType::F32, 2.75), DType::I32);
  EXPECT_EQ(b[c.id].op, ExprOp::Const);
  EXPECT_EQ(b[c.id].imm.i, 2);
  EXPECT_EQ(cast(c, DType::I32).id, c.id);
}

TEST(Body, CastThereAndBackFoldsOnlyWhereExact) {
  Body b;
  const Val x = arg(b, DType::F32, 0);
  EXPECT_EQ(cast(cast(x, DType::F64), DType::F32).id, x.id);
  EXPECT_NE(cast(cast(x, DType::F16), DType::F32).id, x.id);
  const Val h = cast(x, DType::F16);
  EXPECT_EQ(cast(cast(h, DType::F32), DType::F16).id, h.id);
  EXPECT_NE(cast(cast(h, DType::BF16), DType::F16).id, h.id);
  const Val i = arg(b, DType::I64, 1);
  EXPECT_NE(cast(cast(i, DType::F64), DType::I64).id, i.id);
  EXPECT_NE(cast(cast(i, DType::I32), DType::I64).id, i.id);
  const Val s = arg(b, DType::I8, 2);
  EXPECT_EQ(cast(cast(s, DType::I64), DType::I8).id, s.id);
}

TEST(Body, FloatIdentitiesAreNotTouched) {
  Body b;
  const Val x = arg(b, DType::F32, 0);
  EXPECT_NE((x + 0.0).id, x.id);  // -0 + 0 is +0
  EXPECT_EQ(b[(x * 0.0).id].op, ExprOp::Mul);
  EXPECT_EQ(b[(constant(b, DType::F32, 1.0) + constant(b, DType::F32, 2.0)).id].op, ExprOp::Add);
}

TEST(Body, IntegerIdentitiesFold) {
  Body b;
  const Val i = arg(b, DType::I64, 0);
  EXPECT_EQ((i + 0.0).id, i.id);
  EXPECT_EQ((i * 1.0).id, i.id);
  EXPECT_EQ(b[(i * 0.0).id].imm.i, 0);
  EXPECT_EQ(b[(i * 0.0).id].op, ExprOp::Const);
  EXPECT_EQ((i / like(i, 1)).id, i.id);
  EXPECT_EQ(b[(constant(b, DType::U8, int64_t{200}) + constant(b, DType::U8, int64_t{100})).id].imm.i, 44);
}

TEST(Body, LogicFolds) {
  Body b;
  const Val p = arg(b, DType::Bool, 0), yes = constant(b, DType::Bool, int64_t{1}), no = constant(b, DType::Bool, int64_t{0});
  EXPECT_EQ((p & yes).id, p.id);
  EXPECT_EQ((no & p).id, no.id);
  EXPECT_EQ((no | p).id, p.id);
  EXPECT_EQ((p | yes).id, yes.id);
  const Val x = arg(b, DType::F32, 1), y = arg(b, DType::F32, 2);
  EXPECT_EQ(select(yes, x, y).id, x.id);
  EXPECT_EQ(select(no, x, y).id, y.id);
  EXPECT_EQ(select(p, x, x).id, x.id);
}

TEST(Body, BuildersRefuseWhatHasNoMeaning) {
  Body b;
  const Val x = arg(b, DType::F32, 0), i = arg(b, DType::I64, 1), h = cast(x, DType::F16);
  EXPECT_THROW(x + i, Error);
  EXPECT_THROW(h + h, Error);
  EXPECT_THROW(exp(h), Error);
  EXPECT_THROW(reduce(ReduceKind::Sum, h), Error);
  EXPECT_THROW(select(x, x, x), Error);
  EXPECT_THROW(select(x < x, x, i), Error);
  EXPECT_THROW(load(b, DType::F32, 0, x), Error);
  EXPECT_THROW(bitcast(x, DType::F64), Error);
  EXPECT_THROW(reduce(ReduceKind::ArgMax, x), Error);
  EXPECT_THROW(reduce_arg(ReduceKind::Sum, x, i), Error);
  Body other;
  EXPECT_THROW(x + arg(other, DType::F32, 0), Error);
  EXPECT_THROW(b.add({ExprOp::Neg, DType::F32, 1000}), Error);
}

TEST(Body, EveryOperationHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int op = 0; op <= static_cast<int>(ExprOp::Check); ++op) names.insert(name_of(static_cast<ExprOp>(op)));
  EXPECT_EQ(names.size(), static_cast<size_t>(ExprOp::Check) + 1);
  EXPECT_STREQ(name_of(ExprOp::Nextafter), "nextafter");
  EXPECT_STREQ(name_of(ExprOp::Lgamma), "lgamma");
  EXPECT_STREQ(name_of(ExprOp::Check), "check");
  EXPECT_EQ(arity(ExprOp::Hypot), 2);
  EXPECT_EQ(arity(ExprOp::Select), 3);
  EXPECT_EQ(arity(ExprOp::Reduce), 1);
}

TEST(Body, ComparisonsYieldBool) {
  Body b;
  const Val x = arg(b, DType::F64, 0), y = arg(b, DType::F64, 1);
  EXPECT_EQ((x < y).type(), DType::Bool);
  EXPECT_EQ((x > y).id, (y < x).id);
  EXPECT_EQ(isnan(x).type(), DType::Bool);
}

TEST(Table, EveryOperatorIsSaidOnce) {
  std::set<std::string> names;
  for (size_t i = 0; i < std::size(kExprOps); ++i) {
    EXPECT_TRUE(names.insert(kExprOps[i].name).second) << kExprOps[i].name;
    EXPECT_LE(kExprOps[i].arity, 3) << kExprOps[i].name;
  }
  EXPECT_STREQ(name_of(ExprOp::And), "and");
  EXPECT_EQ(info(ExprOp::Lt).types, TypeRule::Comparison);
  EXPECT_TRUE(info(ExprOp::Exp).libm);
  EXPECT_FALSE(info(ExprOp::Floor).libm);
}

TEST(Body, RefusesAMissingOperand) {
  Body body;
  const Val x = index(body, 0);
  EXPECT_THROW(body.add({ExprOp::Add, DType::I64, x.id}), Error);
  EXPECT_THROW(body.add({ExprOp::Neg, DType::I64, x.id, x.id}), Error);
}

TEST(Repeat, KnowsWhatItsIterationsCompute) {
  Body body;
  const Val x = load(body, DType::F32, 0), outside = x * 2.0;
  const auto loop = [&] {
    return repeat(9, {x, outside}, [&](const std::vector<Val>& now) {
      return Iteration{now[0] < outside, {now[0] + outside, now[1] * now[0]}};
    });
  };
  const std::vector<Val> first = loop(), second = loop();
  EXPECT_NE(first[0].id, second[0].id);  // two loops, though they look alike
  const std::vector<int> in = loops_of(body.nodes());
  EXPECT_EQ(in[x.id], -1);
  EXPECT_EQ(in[outside.id], -1);
  EXPECT_EQ(in[first[1].id], -1);
  EXPECT_EQ(body[first[0].id].a, body[first[1].id].a);
  for (int i = 0; i < body.size(); ++i) {
    if (body[i].op == ExprOp::Carry) {
      EXPECT_GE(in[i], 0);
    }
    if (body[i].op == ExprOp::Repeat) {
      EXPECT_EQ(in[body[i].c], body[i].a);
    }
  }
}

TEST(Rewriter, ReplacesANodeAndWhatRefersToIt) {
  Body from, to;
  const Val x = load(from, DType::F32, 3), y = load(from, DType::F32, 4, index(from, 0)), sum = exp(x) + y;
  const Rewriter rewritten(from.nodes(), [&](int, Node n) {
    if (n.op == ExprOp::Load && n.a == 3) return constant(to, DType::F32, 1.0).id;
    return to.add(n);
  });
  EXPECT_EQ(to[rewritten(x.id)].op, ExprOp::Const);
  EXPECT_EQ(to[rewritten(y.id)].a, 4);
  EXPECT_EQ(to[rewritten(y.id)].b, rewritten(index(from, 0).id));
  const Node& added = to[rewritten(sum.id)];
  EXPECT_EQ(added.op, ExprOp::Add);
  EXPECT_EQ(to[added.a].a, rewritten(x.id));
  EXPECT_EQ(added.b, rewritten(y.id));
  EXPECT_EQ(rewritten(-1), -1);
  const Store s = rewritten(Store{7, sum.id});
  EXPECT_EQ(s.value, rewritten(sum.id));
  EXPECT_EQ(s.access, 7);
  EXPECT_EQ(s.guard, -1);
}

}  // namespace
}  // namespace anygpu::ir
