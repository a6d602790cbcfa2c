// anygpu cdi generate, anygpu cdi list
#include <filesystem>
#include <iostream>
#include <memory>

#include "cli/cdi/spec.h"
#include "cli/cdi/write.h"
#include "cli/verbs.h"

namespace anygpu::cli {

namespace {

struct Generate {
  std::string output, root = "/", format, drivers = "host";
  bool dry_run = false, software = false;
};

int generate(const Generate& options) {
  const System sys(options.root);
  const Machine machine(sys);
  const CdiSpec spec = make_cdi_spec(machine, {options.drivers == "host", options.software});
  for (const auto& note : spec.notes) std::cerr << "note: " << note << "\n";
  if (spec.file.is_null())
    return complain(kUnavailable, "[cdi] no GPU was found that this file could give to containers; see why: anygpu doctor");
  std::string output = options.output;
  // A recorded tree's devices are not this machine's.
  if (output.empty()) output = !sys.live() ? "-" : options.format == "yaml" ? "/etc/cdi/anygpu.yaml" : "/etc/cdi/anygpu.json";
  const bool yaml = options.format.empty() ? output.ends_with(".yaml") || output.ends_with(".yml") : options.format == "yaml";
  const std::string text = yaml ? to_yaml(spec.file) : spec.file.dump(2) + "\n";
  if (output == "-" || options.dry_run) {
    std::cout << text;
    if (options.dry_run && output != "-") std::cerr << "note: not written, for --dry-run: " << output << "\n";
    return kGood;
  }
  if (!output.ends_with(".json") && !output.ends_with(".yaml"))
    return complain(kUsage, "[cdi] " + output + ": container runtimes read .json and .yaml only; name it so, or print with --output -");
  // Two files of one folder with one device are an error to the runtimes: then none of them starts a container with it.
  const auto target = std::filesystem::absolute(output).lexically_normal();
  for (const auto& other : read_cdi_folder(System("/"), target.parent_path().string()))
    if (other.kind == kCdiKind && other.path != target.string())
      return complain(kCannotWrite,
                      "[cdi] " + other.path + " describes " + kCdiKind + " too, and runtimes refuse both; type: sudo rm " + other.path);
  try {
    write_by_rename(output, text);
  } catch (const CannotWrite& error) {
    return complain(kCannotWrite, error.what());
  }
  std::cout << "written: " << output << ", with the devices";
  for (const auto& device : spec.file["devices"]) std::cout << " " << kCdiKind << "=" << device["name"].get<std::string>();
  std::cout << "\nuse it:  podman run --device " << kCdiKind << "=all ...   (docker 25 or newer likewise)\n";
  return kGood;
}

int list(const std::string& root, bool json) {
  const System sys(root);
  const Containers containers = find_containers(sys, Installed(sys));
  int code = kGood;
  if (json) {
    nlohmann::ordered_json out = nlohmann::ordered_json::array();
    for (const auto& file : containers.cdi) {
      nlohmann::ordered_json names = nlohmann::ordered_json::array();
      for (const auto& device : file.devices) names.push_back(file.kind + "=" + device);
      out.push_back({{"file", file.path}, {"devices", names}});
      if (!file.error.empty()) out.back()["error"] = file.error, code = kFailures;
    }
    std::cout << out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    return code;
  }
  for (const auto& file : containers.cdi) {
    if (!file.error.empty()) code = complain(kFailures, "[cdi] " + file.path + ": " + file.error + "; see what mends it: anygpu doctor");
    for (const auto& device : file.devices) std::cout << file.kind << "=" << device << "\t" << file.path << "\n";
  }
  if (containers.cdi.empty())
    std::cerr << "note: there is no CDI file in /etc/cdi or /var/run/cdi; type: " << generate_command(sys) << "\n";
  return code;
}

}  // namespace

void add_cdi(CLI::App& app, Run& run) {
  auto* cdi = app.add_subcommand("cdi", "Container Device Interface files: how containers get the GPU");
  cdi->require_subcommand(1);

  const auto options = std::make_shared<Generate>();
  auto* write = cdi->add_subcommand("generate", "Write the file for this machine's GPUs");
  write->add_option("-o,--output", options->output, "Where to; - prints it. Without: /etc/cdi/anygpu.json, and - with --root")
      ->type_name("FILE");
  write->add_option("--root", options->root, "Describe the machine whose files are under this folder")->type_name("DIR");
  write->add_option("--format", options->format, "json or yaml; without: by the end of FILE")
      ->check(CLI::IsMember({"json", "yaml"}))
      ->type_name("FORMAT");
  write->add_option("--drivers", options->drivers, "host: mount this machine's Vulkan drivers; none: the image has its own Mesa")
      ->check(CLI::IsMember({"host", "none"}))
      ->type_name("WHICH");
  write->add_flag("--software", options->software, "A device lavapipe too: Mesa's Vulkan on the CPU, for tests without a GPU");
  write->add_flag("--dry-run", options->dry_run, "Print what would be written, and write nothing");
  write->footer("Exit status: 0 written or printed, 64 wrong usage, 69 no GPU to give, 73 not writable.");
  write->callback([options, &run] { run = [options] { return generate(*options); }; });

  const auto root = std::make_shared<std::string>("/");
  const auto json = std::make_shared<bool>(false);
  auto* show = cdi->add_subcommand("list", "The devices that the machine's CDI files describe, anygpu's and others'");
  show->add_option("--root", *root, "Read the files under this folder")->type_name("DIR");
  show->add_flag("--json", *json, "For programs: files and devices as JSON");
  show->footer("Exit status: 0 all can be read, 2 a file is broken, 64 wrong usage.");
  show->callback([root, json, &run] { run = [root, json] { return list(*root, *json); }; });
}

}  // namespace anygpu::cli
