// The catalogue's tables, one function a file.
#pragma once

#include "ops/op.h"

namespace anygpu::ops {

OpTable pointwise_unary();
OpTable pointwise_binary();
OpTable pointwise_activation();
OpTable pointwise_loss();
OpTable pointwise_special();
OpTable pointwise_iterated();
OpTable factories();
OpTable randoms();
OpTable optimizers();
OpTable reductions();
OpTable scans();
OpTable indexing();
OpTable matmuls();
OpTable convolutions();
OpTable pools();
OpTable normalisations();
OpTable softmaxes();
OpTable attentions();
OpTable losses();
OpTable ctc();
OpTable recurrent_cells();
OpTable resampling();
OpTable grid_sampling();
OpTable paddings();
OpTable unfolding();

}  // namespace anygpu::ops
