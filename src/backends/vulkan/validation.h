// ANYGPU_VULKAN_VALIDATE=FILE: the validation layers watch this process, synchronisation included; what they report is appended to FILE.
#pragma once

#include "api.h"

namespace anygpu::vulkan {

class Validation {
 public:
  /// Whether the variable is set.
  static bool wanted();
  /// Adds the layer and the extensions that it takes. The object must outlive the call that `info` is for.
  void request(VkInstanceCreateInfo& info);
  /// From now on reports go to the file. Throws Error(Value) where it cannot be opened.
  static void listen(const LoaderApi&, VkInstance);

 private:
  VkValidationFeaturesEXT features_{VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT};
};

}  // namespace anygpu::vulkan
