// After the second step, training takes nothing large from the heap, and what it holds does not grow.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/support/allocation_counter.h"
#include "tests/support/tiny_training.h"

namespace annulus::test {
namespace {

TEST(Allocation, StepsTakeNothingLargeAndHoldNothingMore) {
  for (const RankLayout& layout : {RankLayout{1, 1, "zigzag"}, {1, 3, "zigzag"}, {2, 2, "striped"}}) {
    Config config = tiny_config(layout);
    config.data.sequence_length = 1500;  // a vector with an entry per token would be large
    config.data.global_batch = 5;
    with_trainers(config, [&](Trainer& trainer, Group& world) {
      // While nobody computes or waits in a message: then what is held is what lasts.
      auto at_rest = [&](auto&& look) {
        world.barrier("the counting");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        look();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        world.barrier("the counting");
      };
      for (int step = 0; step < 2; ++step) trainer.step();
      int64_t large = 0, held = 0;
      at_rest([&] { large = num_large_allocations(), held = heap_in_use(); });
      for (int step = 0; step < 4; ++step) {
        trainer.step();
        at_rest([&] {
          EXPECT_EQ(num_large_allocations(), large) << layout.name() << " step " << step;
          EXPECT_EQ(heap_in_use(), held) << layout.name() << " step " << step;
        });
      }
      trainer.begin_recording();  // which takes its memory now, and not inside the step
      at_rest([&] { large = num_large_allocations(); });
      trainer.step();
      at_rest([&] { EXPECT_EQ(num_large_allocations(), large) << layout.name() << " recorded"; });
      trainer.end_recording();
      at_rest([&] { EXPECT_EQ(heap_in_use(), held) << layout.name() << " recorded"; });
    });
  }
}

TEST(Allocation, TheCounterCounts) {
  const int64_t large = num_large_allocations(), held = heap_in_use();
  {
    const std::vector<char> memory(kLargeAllocation);
    EXPECT_EQ(num_large_allocations(), large + 1);
    EXPECT_GE(heap_in_use(), held + kLargeAllocation);
  }
  EXPECT_EQ(heap_in_use(), held);
}

}  // namespace
}  // namespace annulus::test
