// anygpu completion: scripts for shells, made from the parser's own tables, so that they cannot lag behind.
#include <iostream>
#include <memory>

#include "cli/machine/system.h"
#include "cli/verbs.h"

namespace anygpu::cli {

namespace {

/// What may follow a row of verbs.
struct Place {
  std::string path;                                        ///< "", "doctor", "cdi generate"
  std::vector<std::pair<std::string, std::string>> verbs;  ///< name, description
  struct Option {
    std::vector<std::string> names;  ///< with their dashes
    std::string description;
    bool takes = false;  ///< a value
    std::string value;   ///< "DIR", "FILE", or the values themselves: "json yaml"; may be empty
  };
  std::vector<Option> options;
  std::string positional;  ///< values of one, "bash zsh fish"
};

/// "FORMAT:{json,yaml}" -> "json yaml"; DIR and FILE stay; what else stands for a value is nothing to offer.
std::string values_of(const std::string& type) {
  const size_t open = type.find('{'), close = type.rfind('}');
  if (open == std::string::npos || close == std::string::npos) {
    const std::string name = type.substr(0, type.find(':'));
    return name == "DIR" || name == "FILE" ? name : "";
  }
  std::string values;
  for (const auto& value : split(std::string_view(type).substr(open + 1, close - open - 1), ','))
    values += (values.empty() ? "" : " ") + value;
  return values;
}

void walk(const CLI::App& app, const std::string& path, std::vector<Place>& places) {
  Place place{path, {}, {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      place.positional = values_of(option->get_type_name());
      continue;
    }
    Place::Option entry{{}, option->get_description(), option->get_items_expected_max() > 0, {}};
    for (const auto& name : option->get_snames()) entry.names.push_back("-" + name);
    for (const auto& name : option->get_lnames()) entry.names.push_back("--" + name);
    if (entry.takes) entry.value = values_of(option->get_type_name());
    place.options.push_back(std::move(entry));
  }
  const auto verbs = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* verb : verbs) place.verbs.emplace_back(verb->get_name(), verb->get_description());
  places.push_back(std::move(place));
  for (const CLI::App* verb : verbs) walk(*verb, path.empty() ? verb->get_name() : path + " " + verb->get_name(), places);
}

/// Finds the place in the words before the cursor, then offers; bash and zsh differ in how words come and go.
std::string cases(const std::vector<Place>& places, bool zsh) {
  std::string out = "  local place= word\n  for word in $before; do\n    case \"$place/$word\" in\n";
  if (!zsh) out = "  local place= word\n  for word in \"${before[@]}\"; do\n    case \"$place/$word\" in\n";
  for (const auto& place : places)
    for (const auto& [verb, description] : place.verbs)
      out += "      '" + place.path + "/" + verb + "') place='" + (place.path.empty() ? verb : place.path + " " + verb) + "' ;;\n";
  out += "    esac\n  done\n  case \"$place/$previous\" in\n";
  for (const auto& place : places)
    for (const auto& option : place.options) {
      if (!option.takes) continue;
      for (const auto& name : option.names)
        out += "    '" + place.path + "/" + name + "') " +
               (option.value == "DIR"    ? "_anygpu_folders"
                : option.value == "FILE" ? "_anygpu_files"
                                         : "_anygpu_offer " + option.value) +
               "; return ;;\n";
    }
  out += "  esac\n  case \"$place\" in\n";
  for (const auto& place : places) {
    out += "    '" + place.path + "') _anygpu_offer";
    for (const auto& [verb, description] : place.verbs) out += " " + verb;
    if (!place.positional.empty()) out += " " + place.positional;
    for (const auto& option : place.options)
      for (const auto& name : option.names)
        if (name.starts_with("--")) out += " " + name;
    out += " ;;\n";
  }
  return out + "  esac\n";
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("\\'") : std::string(1, c);
  return out + "'";
}

std::string fish(const std::vector<Place>& places) {
  std::string out = "complete -c anygpu -f\n";
  for (const auto& place : places) {
    // At a place: each of its verbs was typed, and none of those that would lead on.
    std::string here;
    for (const auto& verb : split(place.path, ' '))
      if (!verb.empty()) here += (here.empty() ? "" : "; and ") + std::string("__fish_seen_subcommand_from ") + verb;
    std::string on;
    for (const auto& [verb, description] : place.verbs) on += " " + verb;
    if (!on.empty()) here += (here.empty() ? "" : "; and ") + std::string("not __fish_seen_subcommand_from") + on;
    const std::string begin = "complete -c anygpu -n " + quoted(here.empty() ? "true" : here);
    for (const auto& [verb, description] : place.verbs) out += begin + " -a " + verb + " -d " + quoted(description) + "\n";
    if (!place.positional.empty()) out += begin + " -a " + quoted(place.positional) + "\n";
    for (const auto& option : place.options) {
      out += begin;
      for (const auto& name : option.names) out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (option.takes)
        out += option.value == "DIR"    ? " -x -a '(__fish_complete_directories)'"
               : option.value == "FILE" ? " -r -F"
                                        : " -x -a " + quoted(option.value);
      out += " -d " + quoted(option.description) + "\n";
    }
  }
  return out;
}

int completion(const CLI::App& app, const std::string& shell) {
  std::vector<Place> places;
  walk(app, "", places);
  if (shell == "bash") {
    std::cout << "# source <(anygpu completion bash)\n"
                 "_anygpu_offer() { COMPREPLY=($(compgen -W \"$*\" -- \"$current\")); }\n"
                 "_anygpu_folders() { COMPREPLY=($(compgen -d -- \"$current\")); compopt -o filenames 2>/dev/null; }\n"
                 "_anygpu_files() { COMPREPLY=($(compgen -f -- \"$current\")); compopt -o filenames 2>/dev/null; }\n"
                 "_anygpu() {\n"
                 "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
                 "  local before=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n"
              << cases(places, false) << "}\ncomplete -F _anygpu anygpu\n";
  } else if (shell == "zsh") {
    std::cout << "#compdef anygpu\n# source <(anygpu completion zsh), after compinit\n"
                 "_anygpu_offer() { compadd -- \"$@\" }\n"
                 "_anygpu_folders() { _files -/ }\n"
                 "_anygpu_files() { _files }\n"
                 "_anygpu() {\n"
                 "  local previous=$words[CURRENT-1]\n"
                 "  local -a before=(\"${(@)words[2,CURRENT-1]}\")\n"
              << cases(places, true) << "}\ncompdef _anygpu anygpu\n";
  } else {
    std::cout << "# anygpu completion fish | source\n" << fish(places);
  }
  return kGood;
}

}  // namespace

void add_completion(CLI::App& app, Run& run) {
  const auto shell = std::make_shared<std::string>();
  auto* verb = app.add_subcommand("completion", "Print what lets a shell complete this command's words");
  verb->add_option("shell", *shell, "Which shell")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}))->type_name("SHELL");
  verb->footer("For this session of bash: source <(anygpu completion bash)");
  verb->callback([shell, &app, &run] { run = [shell, &app] { return completion(app, *shell); }; });
}

}  // namespace anygpu::cli
