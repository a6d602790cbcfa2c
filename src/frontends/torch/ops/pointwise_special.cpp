// Special functions. What is not here (airy_ai) runs on the CPU.
#include <ATen/NativeFunctions.h>
#include <ATen/native/BinaryOps.h>
#include <ATen/native/UnaryOps.h>

#include <cmath>

#include "pointwise.h"

namespace anygpu::torch_frontend {

/// f32 and f64 are all that PyTorch knows most of these of.
static void want_no_halves(const at::TensorIteratorBase& iter) {
  const at::ScalarType t = compute_dtype(iter);
  if (C10_UNLIKELY(t == at::kHalf || t == at::kBFloat16)) throw Refused(c10::str("anygpu does not do this of ", t));
}

}  // namespace anygpu::torch_frontend

namespace at::native {
using namespace anygpu;
using namespace anygpu::torch_frontend;
namespace {

ANYGPU_STUB(digamma_stub, "digamma")
ANYGPU_STUB(erfinv_stub, "erfinv")
ANYGPU_STUB(i0_stub, "i0")
ANYGPU_STUB(special_i0e_stub, "i0e")
ANYGPU_STUB(special_i1_stub, "i1")
ANYGPU_STUB(special_i1e_stub, "i1e")
ANYGPU_STUB_OF(want_no_halves, special_erfcx_stub, "erfcx")
ANYGPU_STUB_OF(want_no_halves, special_ndtri_stub, "ndtri")
ANYGPU_STUB_OF(want_no_halves, special_log_ndtr_stub, "log_ndtr")
ANYGPU_STUB_OF(want_no_halves, special_bessel_j0_stub, "j0")
ANYGPU_STUB_OF(want_no_halves, special_bessel_j1_stub, "j1")
ANYGPU_STUB_OF(want_no_halves, special_bessel_y0_stub, "y0")
ANYGPU_STUB_OF(want_no_halves, special_bessel_y1_stub, "y1")
ANYGPU_STUB_OF(want_no_halves, special_modified_bessel_i0_stub, "i0")
ANYGPU_STUB_OF(want_no_halves, special_modified_bessel_i1_stub, "i1")
ANYGPU_STUB_OF(want_no_halves, special_modified_bessel_k0_stub, "k0")
ANYGPU_STUB_OF(want_no_halves, special_modified_bessel_k1_stub, "k1")
ANYGPU_STUB_OF(want_no_halves, special_scaled_modified_bessel_k0_stub, "k0e")
ANYGPU_STUB_OF(want_no_halves, special_scaled_modified_bessel_k1_stub, "k1e")
ANYGPU_STUB_OF(want_no_halves, special_spherical_bessel_j0_stub, "spherical_j0")
ANYGPU_STUB_OF(want_no_halves, zeta_stub, "zeta")
ANYGPU_STUB_OF(want_no_halves, chebyshev_polynomial_t_stub, "chebyshev_t")
ANYGPU_STUB_OF(want_no_halves, chebyshev_polynomial_u_stub, "chebyshev_u")
ANYGPU_STUB_OF(want_no_halves, chebyshev_polynomial_v_stub, "chebyshev_v")
ANYGPU_STUB_OF(want_no_halves, chebyshev_polynomial_w_stub, "chebyshev_w")
ANYGPU_STUB_OF(want_no_halves, shifted_chebyshev_polynomial_t_stub, "shifted_chebyshev_t")
ANYGPU_STUB_OF(want_no_halves, shifted_chebyshev_polynomial_u_stub, "shifted_chebyshev_u")
ANYGPU_STUB_OF(want_no_halves, shifted_chebyshev_polynomial_v_stub, "shifted_chebyshev_v")
ANYGPU_STUB_OF(want_no_halves, shifted_chebyshev_polynomial_w_stub, "shifted_chebyshev_w")
ANYGPU_STUB_OF(want_no_halves, hermite_polynomial_h_stub, "hermite_h")
ANYGPU_STUB_OF(want_no_halves, hermite_polynomial_he_stub, "hermite_he")
ANYGPU_STUB_OF(want_no_halves, laguerre_polynomial_l_stub, "laguerre_l")
ANYGPU_STUB_OF(want_no_halves, legendre_polynomial_p_stub, "legendre_p")
ANYGPU_STUB_OF(want_float, igamma_stub, "igamma")
ANYGPU_STUB_OF(want_float, igammac_stub, "igammac")

REGISTER_PRIVATEUSE1_DISPATCH(
    polygamma_stub, +[](TensorIteratorBase& iter, int64_t n) {
      if (n == 0) return record_iter(ANYGPU_OP("digamma"), iter);
      record_iter(calls::polygamma(type_of(iter), n), iter);
    })

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  ANYGPU_FACES_INPLACE(digamma);
  ANYGPU_FACES_INPLACE(erfinv);
  ANYGPU_FACES_INPLACE(i0);
  ANYGPU_FACES(polygamma);
  ANYGPU_FACES(special_i0e);
  ANYGPU_FACES(special_i1);
  ANYGPU_FACES(special_i1e);
  ANYGPU_FACES(special_erfcx);
  ANYGPU_FACES(special_ndtri);
  ANYGPU_FACES(special_log_ndtr);
  ANYGPU_FACES(special_bessel_j0);
  ANYGPU_FACES(special_bessel_j1);
  ANYGPU_FACES(special_bessel_y0);
  ANYGPU_FACES(special_bessel_y1);
  ANYGPU_FACES(special_modified_bessel_i0);
  ANYGPU_FACES(special_modified_bessel_i1);
  ANYGPU_FACES(special_modified_bessel_k0);
  ANYGPU_FACES(special_modified_bessel_k1);
  ANYGPU_FACES(special_scaled_modified_bessel_k0);
  ANYGPU_FACES(special_scaled_modified_bessel_k1);
  ANYGPU_FACES(special_spherical_bessel_j0);
  ANYGPU_FACES(special_zeta);
  ANYGPU_FACES(special_chebyshev_polynomial_t);
  ANYGPU_FACES(special_chebyshev_polynomial_u);
  ANYGPU_FACES(special_chebyshev_polynomial_v);
  ANYGPU_FACES(special_chebyshev_polynomial_w);
  ANYGPU_FACES(special_shifted_chebyshev_polynomial_t);
  ANYGPU_FACES(special_shifted_chebyshev_polynomial_u);
  ANYGPU_FACES(special_shifted_chebyshev_polynomial_v);
  ANYGPU_FACES(special_shifted_chebyshev_polynomial_w);
  ANYGPU_FACES(special_hermite_polynomial_h);
  ANYGPU_FACES(special_hermite_polynomial_he);
  ANYGPU_FACES(special_laguerre_polynomial_l);
  ANYGPU_FACES(special_legendre_polynomial_p);
  ANYGPU_FACES_INPLACE(igamma);
  ANYGPU_FACES_INPLACE(igammac);
}

}  // namespace
}  // namespace at::native
