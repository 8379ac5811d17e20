// What plugs_in.c loads: C++ in a C program. Licence: MIT OR Apache-2.0.
#include <map>
#include <stdexcept>
#include <string>

extern "C" int plug_in();
extern "C" int plug_in() {
    std::map<int, std::string> texts;
    for (int i = 0; i < 500; i++) texts[i] = std::string(static_cast<std::size_t>(30 + i), 'x');
    try {
        throw std::runtime_error("caught");
    } catch (const std::exception &) {
        return static_cast<int>(texts.size());
    }
}
