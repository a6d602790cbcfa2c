// Train a small CNN on real handwritten digits through libtorch, on anygpu, without Python.
//
//   train_digits DIGITS.csv [device]
//
// DIGITS.csv: one image a line, 64 grey values 0 to 16 and the label, as scikit-learn ships them (digits.csv.gz, unpacked).
// The program links libanygpu_torch.so, which registers the device; torch::Device("anygpu") is all that it uses of it.
#include <torch/torch.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <vector>

namespace {

struct DigitNetImpl : torch::nn::Module {
  DigitNetImpl() {
    features = register_module(
        "features", torch::nn::Sequential(torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 32, 3).padding(1)), torch::nn::BatchNorm2d(32),
                                          torch::nn::ReLU(), torch::nn::Conv2d(torch::nn::Conv2dOptions(32, 64, 3).padding(1)),
                                          torch::nn::BatchNorm2d(64), torch::nn::ReLU(), torch::nn::MaxPool2d(2)));
    head = register_module("head", torch::nn::Sequential(torch::nn::Flatten(), torch::nn::Linear(64 * 4 * 4, 64), torch::nn::ReLU(),
                                                         torch::nn::Linear(64, 10)));
  }
  torch::Tensor forward(const torch::Tensor& x) { return head->forward(features->forward(x)); }
  torch::nn::Sequential features, head;
};
TORCH_MODULE(DigitNet);

/// Images [n, 1, 8, 8], 0 to 1, and labels [n].
std::pair<torch::Tensor, torch::Tensor> read_digits(const char* path) {
  std::ifstream file(path);
  std::vector<float> pixels;
  std::vector<int64_t> labels;
  for (std::string line; std::getline(file, line);) {
    std::stringstream cells(line);
    std::string cell;
    for (int i = 0; std::getline(cells, cell, ','); ++i)
      if (i < 64)
        pixels.push_back(std::stof(cell) / 16);
      else
        labels.push_back(std::stol(cell));
  }
  auto n = static_cast<int64_t>(labels.size());
  return {torch::tensor(pixels).reshape({n, 1, 8, 8}), torch::tensor(labels)};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: train_digits DIGITS.csv [device]\n");
    return 2;
  }
  torch::Device device(argc > 2 ? argv[2] : "anygpu");
  auto [images, labels] = read_digits(argv[1]);
  if (images.size(0) == 0) {
    std::fprintf(stderr, "train_digits: no digits in %s\n", argv[1]);
    return 1;
  }
  torch::manual_seed(0);
  torch::Tensor order = torch::randperm(images.size(0));
  int64_t n_train = images.size(0) * 4 / 5, batch = 64;
  torch::Tensor test_x = images.index_select(0, order.slice(0, n_train)).to(device),
                test_y = labels.index_select(0, order.slice(0, n_train)).to(device);

  DigitNet model;
  model->to(device);
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(2e-3));
  auto start = std::chrono::steady_clock::now();
  int steps = 0;
  for (int epoch = 0; epoch < 10; ++epoch) {
    torch::Tensor shuffled = order.slice(0, 0, n_train).index_select(0, torch::randperm(n_train)), loss;
    for (int64_t at = 0; at + batch <= n_train; at += batch, ++steps) {
      torch::Tensor pick = shuffled.slice(0, at, at + batch);
      loss = torch::nn::functional::cross_entropy(model->forward(images.index_select(0, pick).to(device)),
                                                  labels.index_select(0, pick).to(device));
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
    }
    std::printf("epoch %2d  loss %.4f\n", epoch + 1, loss.item<float>());
  }
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  model->eval();
  torch::NoGradGuard no_grad;
  double right = (model->forward(test_x).argmax(1) == test_y).sum().item<int64_t>();
  std::printf("device %s, test accuracy %.2f%%, %.0f steps per second\n", device.str().c_str(),
              100 * right / static_cast<double>(test_y.size(0)), steps / seconds);
  return 0;
}
