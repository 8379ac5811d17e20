// A program that replaces the plain operators new and delete; libstdc++'s other forms call these.
// Licence: MIT OR Apache-2.0.
#include <cstdio>
#include <cstdlib>
#include <new>

namespace {
long made, gone;
}

void *operator new(std::size_t size) {
    made++;
    void *address = std::malloc(size + 16);
    if (address == nullptr) throw std::bad_alloc();
    return static_cast<char *>(address) + 16;
}

void operator delete(void *address) noexcept {
    if (address == nullptr) return;
    gone++;
    std::free(static_cast<char *>(address) - 16);
}

void operator delete(void *address, std::size_t) noexcept {
    ::operator delete(address);
}

int main() {
    for (int i = 0; i < 500; i++) {
        delete new long;
        delete[] new long[20];
        ::operator delete(::operator new(100, std::nothrow), std::nothrow);
    }
    std::printf("%ld made, %ld gone\n", made, gone);
    return 0;
}
