// Minimax polynomials of f32 functions, fitted by us: what the backends that compile functions themselves share. Coefficients stand in
// rising order of powers.
#pragma once

namespace anygpu::ir::minimax {

/// (e^r - 1 - r) / r^2, |r| <= ln2 / 2
inline constexpr double kExp[] = {0.49999994, 0.16666521, 0.04166839, 0.008368745, 0.001381454};
/// (log(1 + m) - m + m^2 / 2) / m^3, sqrt(1/2) <= 1 + m <= sqrt(2)
inline constexpr double kLog[] = {0.3333333, -0.2500082, 0.20001228, -0.16623358, 0.14201745, -0.1316016, 0.1276165, -0.07634635};
/// (tanh(x) - x) / x^3 in s = x^2, |x| < 0.625
inline constexpr double kTanh[] = {-0.3333328, 0.13331442, -0.053739715, 0.020639088, -0.0057049873};
/// (erf(x) - x) / x in s = x^2, |x| < 0.93
inline constexpr double kErf[] = {0.1283792, -0.37612632, 0.112836875, -0.02685894, 0.005199907, -0.0008130013, 8.316777e-05};
/// -log(erfc(x)), 0.93 <= x <= 3.95
inline constexpr double kLogErfc[] = {0.00021131347, 1.1276112, 0.6372904, 0.1038369, -0.022181384, 0.0030318194, -0.00019477762};
/// log2(erfc(x)) / x, its error in erfc at most 2e-8; falls without end from 4 on
inline constexpr double kLog2Erfc[] = {-1.62790859,     -0.91841644,    -0.148481473,   0.0282534659,
                                       -0.000774439948, -0.00148954766, 0.000445543992, -4.53642715e-05};
/// 2^r, |r| <= 1 / 2
inline constexpr double kExp2[] = {1, 0.693146825, 0.240222365, 0.055509001, 0.00967178959, 0.0013222727};

/// ln 2 and log10 2 in two parts: the first has trailing zeros in f32, so that its product with a small whole number is exact.
inline constexpr double kLn2High = 0.693145751953125, kLn2Low = 1.42860682030941723212e-6;
inline constexpr double kLog10Of2High = 0.301025390625, kLog10Of2Low = 4.605038981195214e-6;

}  // namespace anygpu::ir::minimax
