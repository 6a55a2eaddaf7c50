// The sizes of a sliding filter, as fastconv._problem.Window has them.
#pragma once
#include <algorithm>
#include <cstdint>

namespace fc {

struct Window {
    int64_t N, C, H, W, FH, FW, OH, OW;
    int64_t stride_h, stride_w, pad_top, pad_bottom, pad_left, pad_right, dilation_h, dilation_w;

    // Rows and columns that one window spans.
    int64_t reach_h() const { return dilation_h * (FH - 1) + 1; }
    int64_t reach_w() const { return dilation_w * (FW - 1) + 1; }
};

// The taps t in [begin, end) of `count` whose position start + t*dilation lies in [0, extent).
struct Taps {
    int64_t begin, end;

    Taps(int64_t start, int64_t extent, int64_t count, int64_t dilation)
        : begin(start < 0 ? std::min(count, steps(-start, dilation)) : 0),
          end(std::max(begin, start < extent ? std::min(count, steps(extent - start, dilation)) : 0)) {}

private:
    static int64_t steps(int64_t distance, int64_t dilation) {
        return dilation == 1 ? distance : (distance + dilation - 1) / dilation;  // no division where none is needed
    }
};

}  // namespace fc
