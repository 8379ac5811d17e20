// The metrics of several pipelines as one text.
#include "../c/check.h"

#include <capture_pipeline.hpp>

namespace cp = capture_pipeline;

int main() {
    cp::Config config;
    config.name = "first";
    cp::Pipeline first(config, cp::Storage([](const cp::Batch &) {}));
    config.name = "second";
    cp::Pipeline second(config, cp::Storage([](const cp::Batch &) {}));
    CHECK_STATUS(second.capture(1, std::string("x")).code(), PIPELINE_OK);
    CHECK_STATUS(second.flush(std::chrono::milliseconds(PATIENCE_MS)).code(), PIPELINE_OK);
    const std::string text = cp::metrics_text({&first, &second});
    CHECK_HAS(text.c_str(), "# TYPE capture_pipeline_events_stored_total counter\n"
                            "capture_pipeline_events_stored_total{pipeline=\"first\",storage=\"custom\"} 0\n"
                            "capture_pipeline_events_stored_total{pipeline=\"second\",storage=\"custom\"} 1\n");
    CHECK(cp::metrics_text({}).empty());
    CHECK(cp::metrics_text({}, PIPELINE_METRICS_OPENMETRICS) == "# EOF\n");
#if CAPTURE_PIPELINE_EXCEPTIONS
    try {
        cp::metrics_text({&first, &first});
        CHECK(false);
    } catch (const cp::Error &error) {
        CHECK_STATUS(error.status().code(), PIPELINE_ERR_INVALID);
        CHECK_HAS(error.what(), "pipelines[1]");
    }
#endif
    return SUMMARY();
}
