// Every form of operator new and delete, directly and by expressions; those that fail; a new_handler that releases a
// reserve. Licence: MIT OR Apache-2.0.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace {
struct alignas(64) Aligned {
    char bytes[64];
};
void *reserve;

void release_reserve() {
    if (reserve == nullptr) throw std::bad_alloc();
    ::operator delete(reserve);
    reserve = nullptr;
}

int failing() {
    int caught = 0;
    volatile std::size_t huge = static_cast<std::size_t>(-1) / 4;
    for (int i = 0; i < 10; i++) {
        try {
            ::operator delete(::operator new(huge));
        } catch (const std::bad_alloc &) {
            caught++;
        }
        try {
            ::operator delete[](::operator new[](huge, std::align_val_t{64}));
        } catch (const std::bad_alloc &) {
            caught++;
        }
        if (::operator new(huge, std::nothrow) == nullptr) caught++;
    }
    reserve = ::operator new(4000);
    std::set_new_handler(release_reserve);
    try {
        ::operator delete(::operator new(huge));
    } catch (const std::bad_alloc &) {
        caught++;
    }
    std::set_new_handler(nullptr);
    return caught;
}
} // namespace

int main(int count, char **) {
    const std::align_val_t wide{128};
    for (int i = 0; i < 7; i++) {
        ::operator delete(::operator new(1003));
        ::operator delete[](::operator new[](1005));
        ::operator delete(::operator new(1007, std::nothrow), std::nothrow);
        ::operator delete[](::operator new[](1009, std::nothrow), std::nothrow);
        ::operator delete(::operator new(1003), std::size_t{1003});
        ::operator delete[](::operator new[](1005), std::size_t{1005});
        ::operator delete(::operator new(1011, wide), wide);
        ::operator delete[](::operator new[](1013, wide), wide);
        ::operator delete(::operator new(1015, wide, std::nothrow), wide, std::nothrow);
        ::operator delete[](::operator new[](1017, wide, std::nothrow), wide, std::nothrow);
        ::operator delete(::operator new(1011, wide), std::size_t{1011}, wide);
        ::operator delete[](::operator new[](1013, wide), std::size_t{1013}, wide);
        ::operator delete(::operator new(0));
    }
    std::vector<std::unique_ptr<Aligned>> many;
    std::vector<std::string> texts;
    for (int i = 0; i < 1000; i++) {
        many.push_back(std::make_unique<Aligned>());
        texts.push_back(std::string(static_cast<std::size_t>(20 + i), 'x'));
    }
    // mimalloc ends the program where a throwing operator fails.
    std::printf("%d failed, %zu made\n", count > 1 ? 0 : failing(), many.size() + texts.size());
    return 0;
}
